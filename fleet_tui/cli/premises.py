"""The part of the command line's tree that is about zones, hosts, VMs and maintenance."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from fleet_tui.backend.machines.states import VmState
from fleet_tui.cli import branches, cloud_images, hosts, machines, maintenance, networks, serial
from fleet_tui.cli.tree import Tree, Verb, count, named, natural, one_of, ratio, seconds

_SSH_PORT = 22
_ROOM_S = 300.0


def grow(tree: Tree) -> None:
    """Add these groups."""
    _zone(tree)
    _pod(tree)
    _cluster(tree)
    _host(tree)
    _patch(tree)
    _offering(tree)
    _cloud_image(tree)
    _vm(tree)
    _maintain(tree)
    _physnet(tree)
    _vlan(tree)
    _network(tree)


def _branch(verb: Verb, kind: str, create: Callable[..., int]) -> argparse.ArgumentParser:
    """The verbs that zones, pods and clusters share. Returns ``create``, which differs."""

    def own(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        parser.set_defaults(branch=kind)
        return parser

    listed = own(verb("list", branches.find, f"{kind}s by name"))
    if kind != "zone":
        listed.add_argument("--zone", default="", metavar="ZONE")
    named(own(verb("show", branches.show, f"one {kind}")))
    named(own(verb("enable", branches.allocate, "let it take VMs")))
    named(own(verb("disable", branches.allocate, "take no new VM here; those that run go on")))
    named(own(verb("delete", branches.delete, f"remove an empty {kind}")))
    if kind != "pod":
        named(own(verb("capacity", branches.capacity, "its room: used, reserved, free")))
    return named(own(verb("create", create, f"a new {kind}, disabled at first")))


def _zone(tree: Tree) -> None:
    create = _branch(tree.group("zone", "zones: places of their own"), "zone", branches.create_zone)
    create.add_argument("--network-type", choices=("advanced", "basic"), default="advanced")
    create.add_argument("--dns", action="append", default=[], metavar="ADDRESS")
    create.add_argument("--guest-cidr", default="", metavar="CIDR")


def _pod(tree: Tree) -> None:
    create = _branch(tree.group("pod", "pods: parts of a zone with their management addresses"), "pod", branches.create_pod)
    create.add_argument("--zone", required=True, metavar="ZONE")
    for flag in ("gateway", "netmask", "start-ip", "end-ip"):
        create.add_argument(f"--{flag}", default="", metavar="ADDRESS")


def _cluster(tree: Tree) -> None:
    verb = tree.group("cluster", "clusters: hosts of one hypervisor that VMs move between")
    create = _branch(verb, "cluster", branches.create_cluster)
    create.add_argument("--zone", default="", metavar="ZONE")
    create.add_argument("--pod", default="", metavar="POD")
    create.add_argument("--hypervisor", default="kvm")
    create.add_argument("--arch", default="x86_64")
    create.add_argument("--dedicated-account", default="", metavar="ACCOUNT", help="take VMs of this account only")
    ratios = named(verb("set-ratio", branches.set_ratio, "over-provisioning; its capacity is counted again"))
    ratios.add_argument("--cpu", type=ratio, default=None, metavar="X", help="0 inherits the global one again")
    ratios.add_argument("--ram", type=ratio, default=None, metavar="Y", help="0 inherits the global one again")
    password = named(verb("set-password", branches.set_password, "one password on every host; typed, or one line of standard input"))
    password.add_argument("--record", action="store_true", help="it was changed outside already: check it on each host, and store it")
    named(verb("unmanage", branches.manage, "send no more commands to its hosts"))
    named(verb("manage", branches.manage, "send commands to its hosts again"))


def _host(tree: Tree) -> None:
    verb = tree.group("host", "hosts: the machines that VMs run on")
    add = verb("add", hosts.add, "reach a machine over SSH and take it in")
    add.add_argument("address", metavar="ADDRESS")
    add.add_argument("--cluster", required=True, metavar="CLUSTER")
    add.add_argument("--user", required=True, metavar="USER", help="who logs in there")
    add.add_argument("--ssh-key", default="", metavar="FILE", help="private key; stored encrypted")
    add.add_argument("--ask-password", action="store_true", help="log in by a password: typed, or one line of standard input")
    add.add_argument("--ssh-port", type=count, default=_SSH_PORT, metavar="N")
    add.add_argument("--accept-fingerprint", default="", metavar="SHA256:...", help="of the host key, as compared on the host itself")
    add.add_argument("--name", default="", help="what it is called here; its own host name when left out")
    add.add_argument("--tag", action="append", default=[])
    verb("list", hosts.find, "hosts by name").add_argument("--wide", action="store_true", help="every column")
    named(verb("show", hosts.show, "one host"))
    for name, text in (("enable", "let it take VMs"), ("disable", "take no new VM; those that run go on")):
        named(verb(name, branches.allocate, text)).set_defaults(branch="host")
    remove = named(verb("remove", hosts.remove, "take it out of the fleet, once it is empty"))
    remove.add_argument("--force", action="store_true", help="also one that is dead or holds VMs: they restart elsewhere or stop")
    room = verb("capacity", branches.capacity, "room of a host, or of each: used, reserved, free")
    room.add_argument("name", metavar="HOST", nargs="?", default="")
    room.add_argument("--weights", action="store_true", help="what each VM on it gets of its CPU when all want it")
    room.set_defaults(branch="host")
    edit = named(verb("edit", hosts.edit, "change tags, note and log-in"))
    edit.add_argument("--tags", default=None, metavar="A,B")
    edit.add_argument("--note", default=None, metavar="TEXT")
    edit.add_argument("--user", default=None, metavar="USER")
    edit.add_argument("--ssh-port", type=count, default=None, metavar="N")
    edit.add_argument("--ssh-key", default="", metavar="FILE", help="another private key")
    edit.add_argument("--version", type=int, default=0, help="refuse if it was changed since this version")
    for name, (_, text) in hosts.VERBS.items():
        named(verb(name, hosts.operate_on, text))
    again = named(verb("reinstall", hosts.reinstall, "take it out, wait for SSH, add it again with its old settings"))
    again.add_argument("--accept-fingerprint", default="", metavar="SHA256:...", help="of its new host key; any-once takes whichever it shows")
    again.add_argument("--wait-for", type=seconds, default=3600.0, metavar="SECONDS", help="how long it may take to install (an hour)")
    _out_of_service(verb)


def _out_of_service(verb: Verb) -> None:
    forecast = named(verb("forecast", maintenance.forecast, "where each VM would go, and what stands in the way; changes nothing"))
    forecast.add_argument("--explain", action="store_true", help="with the reason for every host not chosen")
    maintain = named(verb("maintain", maintenance.maintain, "move its VMs away, then hold it out of service"))
    maintain.add_argument("--reason", required=True, metavar="TEXT", help="shown to everybody")
    maintain.add_argument("--ticket", default="", metavar="TEXT")
    maintain.add_argument("--allow-stop", action="store_true", help="VMs that cannot be moved may be stopped (admins); without it they block")
    maintain.add_argument("--until", type=maintenance.moment, default=None, metavar="TIME", help="planned end: 04:30, +2h, or ISO 8601")
    named(verb("cancel-maintain", maintenance.cancel, "bring it back into service; moves in flight end first"))
    back = named(verb("migrate-back", maintenance.migrate_back, "move the VMs of its last maintenance back to it"))
    back.add_argument("--vm", action="append", default=[], metavar="VM", help="only this one; may be given several times")
    session = named(verb("session", maintenance.session, "its maintenance: state, VMs, checklist, notes; with flags, changed first"))
    session.add_argument("--reason", default=None, metavar="TEXT")
    session.add_argument("--ticket", default=None, metavar="TEXT")
    session.add_argument("--until", type=maintenance.moment, default=None, metavar="TIME", help="new planned end")
    session.add_argument("--step", choices=maintenance.STEPS, default=None, help="where you are, once the host is ready")
    session.add_argument("--check", type=count, default=None, metavar="N", help="tick, or untick, the N-th item of the checklist")
    named(verb("note", maintenance.note, "write down what was done")).add_argument("text", metavar="TEXT")
    tell = named(verb("announce", maintenance.announce, "mail the owners of its VMs"))
    tell.add_argument("--reason", default="", metavar="TEXT")
    tell.add_argument("--until", type=maintenance.moment, default=None, metavar="TIME")
    tell.add_argument("--text", default="", help="added to the mail")
    named(verb("retry-moves", maintenance.retry_moves, "try what failed or waits again now, with new attempts"))
    named(verb("close", maintenance.close, "end its maintenance session; where its VMs came from is forgotten"))


def _patch(tree: Tree) -> None:
    verb = tree.group("patch", "the ledger of hypervisors' patches")
    verb("list", hosts.list_patches, "patches, and on how many hosts they are missing").add_argument("--hypervisor", default="")
    take = verb("import", hosts.import_patches, "take in a list from a file; - for standard input")
    take.add_argument("file", metavar="FILE")
    take.add_argument("--format", choices=("csv", "json"), default="", help="by the file's name when left out")
    take.add_argument("--replace", action="store_true", help="forget what the ledger holds now")


def _offering(tree: Tree) -> None:
    verb = tree.group("offering", "sizes that VMs come in")
    create = named(verb("create", machines.create_offering, "a new size"))
    create.add_argument("--cores", type=count, required=True, metavar="N")
    create.add_argument("--mhz", type=count, required=True, metavar="N", help="of each core: a weight when there is not enough for all")
    create.add_argument("--memory-mib", type=count, required=True, metavar="N")
    create.add_argument("--limit-cpu", action="store_true", help="the MHz are a limit")
    create.add_argument("--ha", action="store_true", help="its VMs restart elsewhere when their host dies")
    create.add_argument("--tag", action="append", default=[])
    verb("list", machines.list_offerings, "offerings by name").add_argument("--wide", action="store_true", help="every column")
    named(verb("delete", machines.delete_offering, "remove one that no VM has"))


def _cloud_image(tree: Tree) -> None:
    verb = tree.group("cloud-image", "operating systems that instances on own hosts start from")
    take = named(verb("register", cloud_images.register, "a qcow2 with cloud-init, on storage that all hosts of a zone share"))
    take.add_argument("--zone", required=True, metavar="ZONE")
    take.add_argument("--path", required=True, metavar="FILE", help="on the hosts; machines and their disks will stand beside it")
    verb("list", cloud_images.find, "cloud images by zone and name")
    named(verb("remove", cloud_images.remove, "from the register; its file stays"))


def _vm(tree: Tree) -> None:
    verb = tree.group("vm", "VMs on our own hosts")
    _new_vm(named(verb("create", machines.create, "make a VM where it fits, and start it")))
    found = verb("list", machines.find, "VMs by name")
    found.add_argument("--host", default="", metavar="HOST")
    found.add_argument("--cluster", default="", metavar="CLUSTER")
    one_of(found, "--state", VmState)
    found.add_argument("--wide", action="store_true", help="every column")
    named(verb("show", machines.show, "one VM"))
    start = named(verb("start", machines.start, "start it where it fits"))
    start.add_argument("--host", default="", metavar="HOST", help="there, if it fits")
    _for_room(start)
    stop = named(verb("stop", machines.stop, "ask it to shut down, then kill it"))
    stop.add_argument("--grace", type=seconds, default=15.0, metavar="SECONDS", help="how long it may take to shut down (15)")
    named(verb("reboot", machines.reboot, "restart it where it is"))
    named(verb("destroy", machines.destroy, "remove it and its disks for ever")).add_argument("--keep-disks", action="store_true")
    migrate = named(verb("migrate", machines.migrate, "move it to another host while it runs"))
    migrate.add_argument("--host", default="", metavar="HOST", help="placement chooses when left out")
    migrate.add_argument("--bandwidth-mib-s", type=natural, default=0, metavar="N", help="no faster than this")
    migrate.add_argument("--copy-local-disks", action="store_true", help="take disks on the host's own storage along")
    resize = named(verb("resize", machines.resize, "give it another offering; it must be stopped"))
    resize.add_argument("--offering", required=True, metavar="OFFERING")
    edit = named(verb("edit", machines.edit, "change tags, owners and protection"))
    edit.add_argument("--tags", default=None, metavar="A,B")
    edit.add_argument("--owners", default=None, metavar="A,B")
    edit.add_argument("--protect", action=argparse.BooleanOptionalAction, default=None, help="against being destroyed")
    edit.add_argument("--ha", action=argparse.BooleanOptionalAction, default=None, help="restart it elsewhere when its host dies")
    edit.add_argument("--version", type=int, default=0, help="refuse if it was changed since this version")
    named(verb("console", serial.console, "its serial line on this terminal; ctrl+] leaves"))
    logs = named(verb("logs", serial.logs, "what its serial line said"))
    logs.add_argument("--follow", "-f", action="store_true")
    logs.add_argument("--since", type=natural, default=0, metavar="BYTE", help="only what came after this position")


def _new_vm(create: argparse.ArgumentParser) -> None:
    create.add_argument("--cluster", required=True, metavar="CLUSTER")
    create.add_argument("--offering", required=True, metavar="OFFERING")
    create.add_argument("--image", default="", metavar="IMAGE", help="a registered cloud image, or a file on the hosts; a copy becomes its disk")
    create.add_argument("--disk-mib", type=natural, default=0, metavar="N", help="an empty disk of this size")
    create.add_argument("--kernel", default="", metavar="FILE", help="on the hosts; boot this instead")
    create.add_argument("--initrd", default="", metavar="FILE")
    create.add_argument("--cmdline", default="", metavar="TEXT")
    create.add_argument("--placement", default="balanced", metavar="POLICY",
                        help="balanced, emptiest, fullest, random, any, adjacent:VM or command:PROGRAM")  # fmt: skip
    create.add_argument("--host", default="", metavar="HOST", help="there, if it fits")
    create.add_argument("--stopped", action="store_true", help="do not start it")
    create.add_argument("--tag", action="append", default=[])
    create.add_argument("--owner", action="append", default=[])
    create.add_argument("--network", action="append", default=[], metavar="NETWORK", help="guest network it gets a card on; again for more")
    create.add_argument("--exclusion-tag", action="append", default=[], metavar="TAG", help="never on one host with another VM of this tag")
    create.add_argument("--account", default="")
    create.add_argument("--protect", action=argparse.BooleanOptionalAction, default=True, help="against being destroyed (the default)")
    create.add_argument("--local-disk", action="store_true", help="its disk on the host's own storage")
    _for_room(create)


def _for_room(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--wait-for-room", type=seconds, nargs="?", const=_ROOM_S, default=0.0, metavar="SECONDS",
                      help="when it fits nowhere now, wait so long for room (5 minutes when no number is given)")  # fmt: skip


def _maintain(tree: Tree) -> None:
    verb = tree.group("maintain", "maintenance of many hosts")
    rolling = verb("rolling", maintenance.rolling, "every host of a cluster in turn, group by group; stops at the first failure")
    rolling.add_argument("--cluster", required=True, metavar="CLUSTER")
    rolling.add_argument("--group-size", type=natural, default=0, metavar="N", help="most hosts out at once; 0 for what placement allows")
    rolling.add_argument("--reason", default="", metavar="TEXT", help="shown to everybody")
    rolling.add_argument("--work", choices=("wait", "none"), default="wait", help="wait until somebody cancels a host's maintenance, or go on")
    rolling.add_argument("--plan", action="store_true", help="only show the groups")
    listed = verb("list", maintenance.find, "maintenance sessions, newest first")
    listed.add_argument("--open", action="store_true", help="only those that are not closed")
    listed.add_argument("--limit", type=count, default=200)


def _physnet(tree: Tree) -> None:
    verb = tree.group("physnet", "physical networks: fabrics of a zone, whose IDs guest networks take")
    create = named(verb("create", networks.create_physical, "a new fabric, disabled at first"))
    create.add_argument("--zone", required=True, metavar="ZONE")
    create.add_argument("--isolation", choices=networks.ISOLATIONS, default="VLAN")
    create.add_argument("--ranges", default="", metavar="TEXT", help="such as 600-799,820")
    verb("list", networks.find_physical, "physical networks by zone and name").add_argument("--zone", default="", metavar="ZONE")
    named(verb("show", networks.show_physical, "one, with its ranges and counts"))
    enable = named(verb("enable", networks.edit_physical, "let guest networks use it"))
    edit = named(verb("edit", networks.edit_physical, "change the labels of its network cards"))
    for one in (create, enable, edit):
        one.add_argument("--nic-label", action="append", type=networks.label, default=[], metavar="HYPERVISOR=CARD", help="such as kvm=eth1")
    named(verb("disable", networks.edit_physical, "take no new guest network; those there are go on")).set_defaults(nic_label=[])
    named(verb("delete", networks.delete_physical, "forget one that nothing uses"))


def _vlan(tree: Tree) -> None:
    verb = tree.group("vlan", "IDs of a physical network: VLANs, VXLANs, GRE keys")

    def of(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        parser = verb(name, run, text)
        parser.add_argument("name", metavar="NETWORK")
        return parser

    for name, text in (("set-ranges", "the ranges from now on; what is not listed is removed"), ("add-ranges", "more IDs, the others stay"),
                       ("remove-ranges", "take away IDs that nothing uses")):  # fmt: skip
        of(name, networks.ranges, text).add_argument("text", metavar="TEXT", help="such as 600-799,820")
    scope = of("scope", networks.set_scope, "who may use these IDs")
    scope.add_argument("ids", type=networks.ids, metavar="A-B")
    scope.add_argument("scope", choices=networks.SCOPES)
    of("template", networks.apply_template, "scopes of the usual scheme; no ID is added or removed")
    listed = of("list", networks.find_vlans, "IDs that are taken, dedicated or in trouble")
    listed.add_argument("--state", default="", help="only these, free ones too")
    listed.add_argument("--owner", default="")
    listed.add_argument("--limit", type=count, default=10_000)
    of("show", networks.show_vlan, "one ID: who has it, since when, on which hosts").add_argument("id", type=natural, metavar="ID")
    _owned(given := of("dedicate", networks.dedicate, "keep IDs for one account, project or domain"))
    for one in (given, of("release", networks.release, "everybody's again; IDs in use stay with their networks")):
        one.add_argument("ids", type=networks.ids, metavar="A-B")
    of("drift", networks.drift, "ask every host which interfaces it has")
    repair = of("repair", networks.repair, "make what is missing again, put right what hangs in a wrong bridge")
    repair.add_argument("--remove-extra", action="store_true", help="remove interfaces that nothing expects, too")
    repair.add_argument("--host", default="", metavar="HOST", help="only there")
    of("sweep", networks.sweep, "remove interfaces that no VM uses where they are never removed by themselves")
    of("export", networks.export, "the whole map on standard output").add_argument("--format", choices=("text", "csv", "json"), default="")


def _owned(parser: argparse.ArgumentParser) -> None:
    for kind in networks.OWNERS:
        parser.add_argument(f"--{kind}", default="", metavar=kind.upper())


def _network(tree: Tree) -> None:
    verb = tree.group("network", "guest networks: what VMs are plugged into")
    create = named(verb("create", networks.create, "a new network; it takes an ID when the first VM needs it"))
    create.add_argument("--offering", required=True, metavar="OFFERING")
    create.add_argument("--physnet", required=True, metavar="NETWORK", help="the physical network it is on")
    create.add_argument("--vlan", type=natural, default=None, metavar="ID", help="for life; where the offering wants one")
    create.add_argument("--cidr", default="", metavar="CIDR")
    create.add_argument("--gateway", default="", metavar="ADDRESS")
    _owned(create)
    verb("list", networks.find, "guest networks by name").add_argument("--physnet", default="", metavar="NETWORK")
    named(verb("show", networks.show, "one guest network"))
    named(verb("restart", networks.restart, "shut it down and give its ID back; the next VM takes it into use again"))
    named(verb("delete", networks.delete, "remove one that no VM is plugged into"))
    offering = tree.group("network-offering", "kinds of guest networks")
    make = named(offering("create", networks.create_offering, "a new kind"))
    make.add_argument("--guest-type", choices=networks.GUEST_TYPES, default="isolated")
    make.add_argument("--specify-vlan", action="store_true", help="its networks are given an ID when they are made, for life")
    make.add_argument("--persistent", action="store_true", help="never shut down for want of VMs")
    offering("list", networks.find_offerings, "network offerings by name")
    named(offering("delete", networks.delete_offering, "remove one that no network has"))
