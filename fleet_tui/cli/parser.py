"""The command line as a tree. Each leaf names the function that does it; shell completion is generated from here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from fleet_tui import __version__
from fleet_tui.backend.identity import Role
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations.states import OperationState
from fleet_tui.backend.text import clean
from fleet_tui.cli import console
from fleet_tui.cli.tree import Tree, count, days, named, natural, one_of, seconds

_BARE_FLAGS = ("--read-only", "--no-start", "--ascii")
_KINDS = ("design", "execution", "deployer")
_PANES = ("dashboard", "instances", "hosts", "vms", "maintenance", "vlans", "operations", "events", "certificates", "logs")


class Parser(argparse.ArgumentParser):
    """As in the standard library, but complaining in one line like everything else here; exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fleet: {clean(message)}\n  `{self.prog} --help` shows what there is\n")


def build(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of everything; of the console and its panes alone when ``words`` plainly ask for no more.

    Those are opened more often than all else, and the other commands would be a good part of what they load.
    """
    common = _common()
    top = Parser(prog="fleet", description="The console and command line of a fleet. Alone it opens the console.", parents=[common])
    top.add_argument("--version", action="version", version=f"fleet {__version__}")
    top.set_defaults(run=console.open_console)
    groups = top.add_subparsers(metavar="COMMAND", title="commands")
    tree = Tree(groups, common)
    _pane(tree)
    if words is not None and (not (rest := [word for word in words if word not in _BARE_FLAGS]) or rest[0] == "pane"):
        return top
    from fleet_tui.cli import premises

    _console(tree)
    _daemon(tree)
    _instance(tree)
    _operation(tree)
    premises.grow(tree)
    _profiles(tree)
    _registers(tree)
    _cloud(tree)
    _people(tree)
    return top


def _common() -> argparse.ArgumentParser:
    """Flags that may stand anywhere. None has a default here, or the inner parser would undo what the outer one read."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    flags = common.add_argument_group("common flags")
    flags.add_argument("--site", metavar="PLACE", help="socket, or home directory, of the daemon to use (FLEET_SITE)")
    flags.add_argument("--read-only", action="store_true", help="a session that can change nothing")
    flags.add_argument("--output", choices=("table", "json", "text"), help="table on a terminal, JSON otherwise")
    flags.add_argument("--yes", "-y", action="store_true", help="confirm what is disruptive")
    flags.add_argument("--confirm", metavar="NAME", help="confirm what is destructive by its name")
    flags.add_argument("--wait", action=argparse.BooleanOptionalAction, help="wait until the operation has ended (the default)")
    flags.add_argument("--timeout", type=seconds, metavar="SECONDS", help="wait no longer than this; the operation goes on")
    flags.add_argument("--dry-run", action="store_true", help="show what would happen, do nothing")
    flags.add_argument("--no-start", action="store_true", help="fail rather than start a daemon when none answers")
    flags.add_argument("--ascii", action="store_true", help="only ASCII glyphs")
    flags.add_argument("--theme", metavar="NAME", help="colours of the console")
    return common


def _pane(tree: Tree) -> None:
    pane = tree.leaf("pane", console.open_pane, "one panel as a small read-only program, for a split of a terminal multiplexer")
    pane.add_argument("pane", choices=_PANES)
    of = "instance whose log is shown, host whose maintenance is, physical network whose IDs are"
    pane.add_argument("target", nargs="?", default="", metavar="NAME", help=of)


def _console(tree: Tree) -> None:
    from fleet_tui.cli import sheets

    demo = tree.leaf("demo", console.demo, "the console on a simulated fleet that is thrown away at the end")
    demo.add_argument("--instances", type=count, default=200, metavar="N")
    demo.add_argument("--hosts", type=count, default=24, metavar="N")
    demo.add_argument("--seed", type=int, default=7, metavar="N", help="the same seed gives the same fleet")
    tree.leaf("keys", sheets.keys, "the keys of every screen")
    completion = tree.leaf("completion", sheets.completion, "a completion script for the shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))


def _daemon(tree: Tree) -> None:
    from fleet_tui.cli import daemon

    verb = tree.group("daemon", "the fleetd of this user")
    start = verb("start", daemon.start, "start fleetd unless it runs")
    start.add_argument("flags", nargs="*", metavar="-- FLAG", help="flags for fleetd")
    verb("stop", daemon.stop, "end fleetd; operations go on when it starts again")
    verb("status", daemon.status, f"is it running; exit code {daemon.STOPPED_EXIT} when not")
    logs = verb("logs", daemon.logs, "the last lines of its log")
    logs.add_argument("--follow", "-f", action="store_true")
    logs.add_argument("--lines", "-n", type=natural, default=50, metavar="N", help="0 for all")


def _instance(tree: Tree) -> None:
    from fleet_tui.cli import certificates, instances

    verb = tree.group("instance", "instances: one application node each")
    create = verb("create", instances.create, "save a new instance; nothing is made but the record")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--kind", default="design")
    create.add_argument("--template", default="hello")
    create.add_argument("--network", default="local")
    create.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    create.add_argument("--set-file", action="append", default=[], metavar="FIELD=FILE", help="what is in a file; - for standard input")
    found = verb("list", instances.find, "instances by label")
    one_of(found, "--state", InstanceState)
    found.add_argument("--kind", default="", choices=_KINDS, metavar="KIND")
    found.add_argument("--wide", action="store_true", help="every column")
    named(verb("show", instances.show, "one instance")).add_argument("--settings", action="store_true", help="its settings, field by field")
    edit = named(verb("edit", instances.edit, "change settings"))
    edit.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    edit.add_argument("--set-file", action="append", default=[], metavar="FIELD=FILE", help="what is in a file; - for standard input")
    edit.add_argument("--version", type=int, default=0, help="refuse if it was changed since this version")
    for name, kind in instances.VERBS.items():
        one = named(verb(name, instances.operate, kind.help))
        for flag in kind.flags:
            option = f"--{flag.replace('_', '-')}"
            if flag == "size_gb":
                one.add_argument("--size", dest=flag, type=count, required=True, metavar="GIB")
                continue
            if flag in ("snapshot", "reason"):
                one.add_argument(option, default="", metavar="ID" if flag == "snapshot" else "TEXT")
            else:
                one.add_argument(option, action="store_true")
    gone = named(verb("delete-snapshot", instances.delete_snapshot, "remove a copy of its data disk, for good"))
    gone.add_argument("snapshot", metavar="SNAPSHOT", help="its id; `fleet snapshot list NAME` shows them, also of a deleted instance")
    ssl = named(verb("ssl", certificates.show, "its certificate: what is saved, in use, and served"))
    ssl.add_argument("--test", action="store_true", help=f"look at it now, check everything again; exit code {certificates.MISSING_EXIT} when amiss")
    ssl.add_argument("--pem", action="store_true", help="the certificate itself, with its chain")
    logs = named(verb("logs", instances.logs, "its log"))
    logs.add_argument("--follow", "-f", action="store_true")
    logs.add_argument("--since", type=natural, default=0, metavar="SEQ", help="only lines after this number")
    logs.add_argument("--timestamps", action="store_true")


def _operation(tree: Tree) -> None:
    from fleet_tui.cli import operations

    verb = tree.group("op", "operations")
    found = verb("list", operations.find, "operations, active ones first")
    found.add_argument("--active", action="store_true")
    one_of(found, "--state", OperationState)
    found.add_argument("--limit", type=count, default=200)
    verb("show", operations.show, "one operation with its steps").add_argument("id", metavar="ID")
    follow = verb("follow", operations.follow, "its lines until it ends; ends as it did")
    follow.add_argument("id", metavar="ID")
    follow.add_argument("--timestamps", action="store_true")
    verb("cancel", operations.cancel, "stop it at the next safe point").add_argument("id", metavar="ID")
    verb("retry", operations.retry, "submit a failed one again, as a new one").add_argument("id", metavar="ID")


def _profiles(tree: Tree) -> None:
    from fleet_tui.cli import profiles

    template = tree.group("template", "instance templates: application, setup actions, access")
    template("list", profiles.list_templates, "templates by label")
    named(template("show", profiles.show_template, "one template, and its instances with what waits for them"))
    create = named(template("create", profiles.create_template, "save a new template"))
    edit = named(template("edit", profiles.edit_template, "change a template; running instances go on as they are"))
    put = named(template("put", profiles.put_template, "create a template, or replace its application and actions"))
    for verb in (create, edit, put):
        verb.add_argument("--application", default="", help="what its instances run")
        verb.add_argument("--actions", default="", metavar="FILE", help="setup actions as YAML or JSON; - for standard input")
    edit.add_argument("--enable", action="append", default=[], metavar="ACTION", help="switch an action on, by its name")
    edit.add_argument("--disable", action="append", default=[], metavar="ACTION", help="switch an action off, by its name")
    render = named(template("render", profiles.render_template, "what the setup actions would do; nothing is done"))
    render.add_argument("--instance", default="", metavar="NAME", help="on this instance")
    render.add_argument("--actions", default="", metavar="FILE", help="of these actions, which are not saved")
    vnet = tree.group("vnet", "virtual networks: where instances run and how they are reached")
    vnet("list", profiles.list_networks, "virtual networks by label")
    named(vnet("show", profiles.show_network, "one virtual network, and its instances with what waits for them"))
    new = named(vnet("create", profiles.create_network, "save a new virtual network, when its place has what it names"))
    new.add_argument("--provider", default="", help="what runs its instances")
    changed = named(vnet("edit", profiles.edit_network, "change a virtual network; running instances go on as they are"))
    named(vnet("check", profiles.check_network, "compare it with what is there; exit code 1 when something is missing"))
    for verb in (create, edit, new, changed):
        verb.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
        verb.add_argument("--set-file", action="append", default=[], metavar="FIELD=FILE", help="from a file; secrets are taken in no other way")
    for verb in (edit, changed):
        verb.add_argument("--version", type=int, default=0, help="refuse if it was changed since this version")
    for group, of, clone, delete in (
        (template, "template", profiles.clone_template, profiles.delete_template), (vnet, "vnet", profiles.clone_network, profiles.delete_network),
    ):
        named(group("clone", clone, "make another one with the same content")).add_argument("new", metavar="NEW")
        named(group("delete", delete, "remove one that no instance is linked to"))
        export = named(group("export", profiles.export_blueprint, "write a blueprint, without secrets, to standard output"))
        other = "network" if of == "template" else "template"
        export.add_argument(f"--{other}", default="", metavar="LABEL", help=f"with this {'virtual network' if other == 'network' else other} in it")
        export.set_defaults(of=of)
        taken = group("import", profiles.import_blueprint, "take a blueprint in: its template and its virtual network, both or none")
        taken.add_argument("file", metavar="FILE", help="- for standard input")
        taken.add_argument("--template", default="", metavar="LABEL", help="label of the template, instead of the blueprint's")
        taken.add_argument("--network", default="", metavar="LABEL", help="label of the virtual network, instead of the blueprint's")
        taken.add_argument("--replace", action="store_true", help="replace what has the label already")


def _registers(tree: Tree) -> None:
    from fleet_tui.cli import certificates, instances, orphans, registers

    board = tree.group("cert", "certificates of the fleet")("board", certificates.board, "every certificate, the one that ends first at the top")
    board.add_argument("--within", type=days, default=0, metavar="DAYS", help="only those that end so soon")
    image = tree.group("image", "application bundles")
    image("list", registers.list_images, "registered images")
    image("register", registers.register_image, "take a bundle into the register").add_argument("file", metavar="FILE")
    gone = image("remove", registers.remove_image, "with its bundle; not while an instance uses it")
    gone.add_argument("name", metavar="IMAGE", help="name and version in one word, or its id")
    named(tree.group("snapshot", "snapshots of data disks")("list", instances.snapshots, "snapshots of an instance"))
    orphan = tree.group("orphan", "what is at a provider and no instance has")
    orphan("list", orphans.find, "machines, data disks and snapshots without an owner; asks every provider")
    gone = orphan("remove", orphans.remove, "for good; data disks of a machine are let go")
    gone.add_argument("id", metavar="ID", help="as `fleet orphan list` shows it")
    tree.group("schedule", "what the clock submits")("list", registers.list_schedules, "scheduled operations")
    events = tree.group("event", "what happened")("list", registers.list_events, "the newest events")
    events.add_argument("--follow", "-f", action="store_true")
    events.add_argument("--limit", type=count, default=200)


def _cloud(tree: Tree) -> None:
    from fleet_tui.cli import cloud

    verb = tree.group("cloud", "the site's account with a cloud")
    verb("show", cloud.show, "the account").add_argument("--steps", action="store_true", help="how to make key, role and secret")
    setup = verb("setup", cloud.set_up, "register the account, or change it; it is tried before it is saved")
    setup.add_argument("--region", metavar="REGION")
    setup.add_argument("--auth", dest="authentication", choices=("same_as_control_plane", "iam_role", "keypair"), help="as whom fleetd calls")
    setup.add_argument("--role", dest="role_arn", metavar="ARN", help="the role to take, with iam_role")
    setup.add_argument("--access-key", dest="access_key_id", metavar="ID", help="with keypair; its secret is typed, or one line of standard input")
    setup.add_argument("--secret", action="store_true", help="give another secret to the access key")
    setup.add_argument("--cmk", dest="aws_cmk_id", metavar="KEY", help="id, ARN or alias of the key secrets are sealed under")
    setup.add_argument("--machine-image", metavar="IMAGE", help="ami-… or resolve:ssm:/path, where machines have none of their own")
    setup.add_argument("--machine-type", metavar="TYPE")
    setup.add_argument("--endpoint", metavar="URL", help="another address than Amazon's, for every service")
    verb("test", cloud.test, "try the account as it is: identity, machines, key; exit code 1 when something fails")
    verb("test-key", cloud.test_key, "encrypt and decrypt with a key; exit code 1 when that fails").add_argument(
        "key", nargs="?", default="", metavar="KEY", help="the one that is set up when left out"
    )
    verb("rewrap", cloud.rewrap, "move every stored secret to the key that is set up")
    verb("remove", cloud.remove, "forget the account, once nothing is in it any more").add_argument("account", metavar="ACCOUNT", help="its number")


def _people(tree: Tree) -> None:
    from fleet_tui.cli import registers

    user = tree.group("user", "who may do what")
    user("list", registers.list_users, "users by name")
    put = named(user("put", registers.put_user, "add or change a user"))
    put.add_argument("--role", required=True, choices=[role.value for role in Role])
    put.add_argument("--uid", type=int, default=None, help="operating-system user; that of the same name when left out")
    put.add_argument("--display-name", default="")
    put.add_argument("--disabled", action="store_true")
    named(user("remove", registers.remove_user, "remove a user"))
    audit = tree.group("audit", "who asked for what")
    listed = audit("list", registers.list_audit, "audit records, newest first")
    listed.add_argument("--limit", type=count, default=200)
    listed.add_argument("--before", type=int, default=None, metavar="SEQ")
    listed.add_argument("--user", default="")
    listed.add_argument("--object", default="")
    audit("verify", registers.verify_audit, "recompute the hash chain; exit code 1 when it is broken")
