"""The small forms of places, hosts and VMs: what each asks, and the request that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet_tui.actions import may_set
from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as m
from fleet_tui.backend.errors import FleetError, InvalidInput, Problem
from fleet_tui.backend.operations import Submitted
from fleet_tui.columns import percent, plural, size
from fleet_tui.screens import dialogs
from fleet_tui.screens.ask import Form, Line, ask, entry, planned

if TYPE_CHECKING:
    from fleet_tui.screens.branches import Branch
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session

HYPERVISORS = ("kvm", "xenserver", "vsphere", "lxc")
MOST_FILE = 2_000_000
"""Bytes of a file that a form reads; more is a mistake in the name."""
SHORTEST, LONGEST = 8, 128
"""Characters of a cluster's password (spec 7.6)."""


def read_file(name: str, field: str, most: int = MOST_FILE) -> str:
    """A file that a person named, of the machine the console runs on; at most so many bytes of it. Raises `InvalidInput` beside that field."""
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            raise OSError(2, "there is no such file" if not path.exists() else "it is not a file")
        with path.open("rb") as file:
            found = file.read(most + 1)
        if len(found) > most:
            raise OSError(27, f"it is larger than {size(most)}")
        text = found.decode("utf-8")
        if "\0" in text:
            raise ValueError
        return text
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "it is not text"
        raise InvalidInput(f"{path}: {said}", problems=[Problem(field, f"{path}: {said}")]) from None


def _made(screen: FleetScreen, what: str, name: str = "") -> Any:
    """What is said when it was saved, or where its operation is watched."""

    def done(reply: Any) -> None:
        if isinstance(reply, Submitted) and reply.operation is not None:
            screen.say(f"{what}: accepted")
            screen.console.open("operation", f"operation:{reply.operation.id}")
        else:
            screen.say(getattr(reply, "text", "") or f"{what} {name or getattr(reply, 'name', '')}: saved".replace(" :", ":"))
            screen.is_loaded = False
            screen.shown()

    return done


def new_zone(screen: FleetScreen) -> None:
    def make(v: Mapping[str, Any]) -> Any:
        return h.CreateZone(v["name"], v["network_type"], tuple(v["dns"]), v["guest_cidr"])

    fields = (
        entry("name", "Name"), entry("network_type", "Network", "choice", "advanced", choices=("advanced", "basic")),
        entry("dns", "DNS servers", "list", ()), entry("guest_cidr", "Guest CIDR", help="10.1.0.0/16"),
    )  # fmt: skip
    ask(screen, Form("New zone", fields, make, _made(screen, "zone"), "Create"))


def new_pod(screen: FleetScreen, at: Branch | None) -> None:
    def opened(zones: Sequence[h.ZoneRecord]) -> None:
        if not zones:
            screen.say("a pod stands in a zone, and there is none · :new-zone makes one", "warning")
            return
        names = tuple(z.name for z in zones)
        zone = at.place[0] if at is not None and at.place else names[0]
        fields = (
            entry("name", "Name"), entry("zone", "Zone", "choice", zone, choices=names), entry("gateway", "Gateway"),
            entry("netmask", "Netmask"), entry("start_ip", "First address"), entry("end_ip", "Last address"),
        )  # fmt: skip
        ask(screen, Form("New pod", fields, lambda v: h.CreatePod(**v), _made(screen, "pod"), "Create"))

    screen.fetch(h.ListZones(), opened, "new")


def new_cluster(screen: FleetScreen, at: Branch | None) -> None:
    def opened(pods: Sequence[h.PodRecord]) -> None:
        if not pods:
            screen.say("a cluster stands in a pod, and there is none · :new-pod makes one", "warning")
            return
        places = tuple(f"{p.zone}/{p.name}" for p in pods)
        wanted = "/".join(at.place[:2]) if at is not None else ""

        def make(v: Mapping[str, Any]) -> Any:
            zone, _, pod = v["place"].partition("/")
            return h.CreateCluster(v["name"], zone, pod, v["hypervisor"], v["arch"], v["dedicated_account"])

        fields = (
            entry("name", "Name"), entry("place", "Zone / pod", "choice", wanted if wanted in places else places[0], choices=places),
            entry("hypervisor", "Hypervisor", "choice", "kvm", choices=HYPERVISORS), entry("arch", "Architecture", default="x86_64"),
            entry("dedicated_account", "Only for account", help="empty: for everybody"),
        )  # fmt: skip
        ask(screen, Form("New cluster", fields, make, _made(screen, "cluster"), "Create", names={"pod": "place", "zone": "place"}))

    screen.fetch(h.ListPods(), opened, "new")


def add_host(screen: FleetScreen, at: Branch | None) -> None:
    """First the machine and the way in; then the fingerprint it shows, to be compared and accepted."""

    def opened(clusters: Sequence[h.ClusterRecord]) -> None:
        if not clusters:
            screen.say("a host stands in a cluster, and there is none · :new-cluster makes one", "warning")
            return
        names = tuple(c.name for c in clusters)
        wanted = at.place[2] if at is not None and len(at.place) > 2 else ""
        fields = (
            entry("target", "Address", help="name or IP address"),
            entry("cluster", "Cluster", "choice", wanted if wanted in names else names[0], choices=names),
            entry("user", "User", default="root"), entry("port", "SSH port", "int", 22, rule="1 to 65535", minimum=1, maximum=65535),
            entry("key_file", "Private key file", help="~/.ssh/id_ed25519"), entry("password", "or password", "secret"),
            entry("name", "Name here", help="empty: its own host name"), entry("tags", "Tags", "list", ()),
        )  # fmt: skip
        names_of = {"address": "target", "private_key": "key_file", "host_key": "target"}
        ask(screen, Form("Add a host", fields, _host_of, _made(screen, "add host"), "Show its key", before=_accept, names=names_of))

    screen.fetch(h.ListClusters(), opened, "new")


def _host_of(v: Mapping[str, Any]) -> h.AddHost:
    problems = [Problem(name, said) for name, said in (("target", "where is it?"), ("user", "who logs in?")) if not v[name]]
    if not v["key_file"] and not v["password"]:
        problems.append(Problem("key_file", "a key file or a password is needed"))
    if problems:
        raise InvalidInput("the host cannot be reached so", problems=problems)
    key = read_file(v["key_file"], "key_file") if v["key_file"] else ""
    return h.AddHost(
        target=v["target"], cluster=v["cluster"], user=v["user"], port=v["port"], name=v["name"], password=v["password"], private_key=key,
        tags=tuple(v["tags"]),
    )  # fmt: skip


def _accept(session: Session, request: h.AddHost) -> tuple[dialogs.Question, Any]:
    shown: h.HostKeyRecord = session.submit(h.ProbeHostKey(request.target, request.port))
    said = [
        f"{request.target} shows this key:", shown.fingerprint,
        "Compare it with what the machine itself says: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        "It is stored with the host; another one later is an error.",
    ]  # fmt: skip
    question = dialogs.Question(f"Is this {request.target}?", "Accept and add", said)
    return question, replace(request, accept_fingerprint=shown.fingerprint)


def edit_host(screen: FleetScreen, row: h.HostRecord) -> None:
    def make(v: Mapping[str, Any]) -> Any:
        key = read_file(v["key_file"], "key_file") if v["key_file"] else None
        return h.EditHost(row.id, tuple(v["tags"]), v["location_note"], v["ssh_user"], v["ssh_port"], key, row.version_number)

    fields = (
        entry("tags", "Tags", "list", row.tags), entry("location_note", "Note", default=row.location_note),
        entry("ssh_user", "User", default=row.ssh_user),
        entry("ssh_port", "SSH port", "int", row.ssh_port, rule="1 to 65535", minimum=1, maximum=65535),
        entry("key_file", "New private key", help="file; empty keeps the one stored"),
    )  # fmt: skip
    ask(screen, Form(f"Edit {row.name}", fields, make, _made(screen, "host", row.name), names={"private_key": "key_file"}))


def new_offering(screen: FleetScreen) -> None:
    fields = (
        entry("name", "Name"), entry("cores", "Cores", "int", 1, rule="1 to 1024", minimum=1, maximum=1024),
        entry("mhz", "MHz of each", "int", 1000, rule="100 to 10000", minimum=100, maximum=10_000),
        entry("memory_mib", "Memory", "int", 1024, unit="MiB", rule="at least 64", minimum=64, maximum=64 * 1024**2),
        entry("limit_cpu", "Hard CPU limit", "bool", False), entry("ha", "Highly available", "bool", False),
    )  # fmt: skip
    ask(screen, Form("New offering", fields, lambda v: m.CreateOffering(**v), _made(screen, "offering"), "Create"))


def new_vm(screen: FleetScreen) -> None:
    def opened(found: tuple[Sequence[h.ClusterRecord], Sequence[m.OfferingRecord]]) -> None:
        clusters, offerings = tuple(c.name for c in found[0]), tuple(o.name for o in found[1] if not o.system_kind)
        if not clusters or not offerings:
            screen.say(f"there is no {'cluster' if not clusters else 'offering'} yet · :new-{'cluster' if not clusters else 'offering'}", "warning")
            return

        def make(v: Mapping[str, Any]) -> Any:
            return m.CreateVm(**{**v, "tags": tuple(v["tags"]), "owners": tuple(v["owners"])})

        fields = (
            entry("target", "Name"), entry("cluster", "Cluster", "choice", clusters[0], choices=clusters),
            entry("offering", "Offering", "choice", offerings[0], choices=offerings),
            entry("image", "Image", help="registered, or file on the hosts"),
            entry("disk_mib", "or empty disk", "int", 0, unit="MiB", rule="0 or more", minimum=0, maximum=2**40),
            entry("kernel", "or kernel", help="file on the hosts"), entry("initrd", "Initrd"), entry("cmdline", "Command line"),
            entry("placement", "Placement", "choice", "balanced", choices=("balanced", "emptiest", "fullest", "random", "any")),
            entry("host", "On host", help="empty: placement chooses"), entry("owners", "Owners", "list", ()), entry("tags", "Tags", "list", ()),
        )  # fmt: skip

        def where(v: Mapping[str, Any]) -> Any:
            return m.PlanPlacement(v["cluster"], v["offering"], policy=v["placement"])

        refused = may_set("vm.create", "kernel", screen.console.record)
        locked = dict.fromkeys(("kernel", "initrd", "cmdline"), refused) if refused else {}
        form = Form(
            "New VM", fields, make, _made(screen, "new VM"), "Create", preview=where, shown=placed, names={"name": "target"}, locked=locked,
        )
        ask(screen, form)

    screen.ask(lambda session: (session.fetch(h.ListClusters()), session.fetch(m.ListOfferings())), opened, group="new")


def placed(reply: m.Placement) -> list[Line]:
    """Where it would go, and why nowhere else."""
    head = f" goes to {reply.host}" if reply.host else " fits nowhere now" if reply.can_ever_fit else " can never fit: no host is large enough"
    lines: list[Line] = [[(head, "well" if reply.host else "failed"), (f"   policy {reply.policy}", "muted")]]
    lines += [[(f" {reply.note}", "attention")]] if reply.note else []
    return lines + [[(f"   {v.host:<14}", "muted"), (v.why or "fits", "muted")] for v in reply.verdicts if v.host != reply.host]


def resize_vm(screen: FleetScreen, row: m.VmRecord) -> None:
    def opened(offerings: Sequence[m.OfferingRecord]) -> None:
        items = [
            dialogs.Item(o.name, o.name, "", f"{plural(o.cores, 'core')} at {o.mhz:,} MHz, {size(o.memory_mib * 1024**2)}")
            for o in offerings if o.name != row.offering
        ]  # fmt: skip

        def chosen(name: str) -> None:
            submit(screen, m.ResizeVm(target=row.id, offering=name), f"Resize {row.name}")

        dialogs.choose(screen.app, f"Resize {row.name}, now {row.offering}, to", items, chosen)

    screen.fetch(m.ListOfferings(), opened, "new")


def submit(screen: FleetScreen, request: Any, said: str) -> None:
    """Send a request that needs no confirmation, and say how it went."""
    screen.ask(lambda session: session.submit(request), lambda _reply: screen.say(f"{said}: accepted"))


def edit_vm(screen: FleetScreen, row: m.VmRecord) -> None:
    def make(v: Mapping[str, Any]) -> Any:
        return m.EditVm(row.id, tuple(v["tags"]), tuple(v["owners"]), v["destroy_protected"], v["ha"], row.version)

    fields = (
        entry("tags", "Tags", "list", row.tags), entry("owners", "Owners", "list", row.owners),
        entry("destroy_protected", "Destroy protection", "bool", row.destroy_protected), entry("ha", "Highly available", "bool", row.ha),
    )  # fmt: skip
    ask(screen, Form(f"Edit {row.name}", fields, make, _made(screen, "VM", row.name)))


def import_patches(screen: FleetScreen) -> None:
    def make(v: Mapping[str, Any]) -> Any:
        if not v["file"]:
            raise InvalidInput("nothing was taken in", problems=[Problem("file", "which file?")])
        return h.ImportPatches(read_file(v["file"], "file"), "json" if v["file"].lower().endswith(".json") else "csv", v["replace"])

    fields = (entry("file", "File", help="CSV or JSON, on this machine"), entry("replace", "Replace the ledger", "bool", False))
    ask(screen, Form("Import patches", fields, make, _made(screen, "patches"), "Take in", names={"text": "file", "format": "file"}))


def set_password(screen: FleetScreen, row: Branch) -> None:
    """Twice, masked; set on every host, or only recorded when it was changed outside already."""

    def make(v: Mapping[str, Any]) -> Any:
        problems = []
        if v["password"] != v["again"]:
            problems.append(Problem("again", "it is not the same"))
        if not SHORTEST <= len(v["password"]) <= LONGEST or not v["password"].isprintable():
            problems.append(Problem("password", f"{SHORTEST} to {LONGEST} printable characters"))
        if problems:
            raise InvalidInput("the password was not changed", problems=problems)
        return h.SetClusterPassword(target=row.name, password=v["password"], record=v["how"] == RECORD)

    fields = (
        entry("password", "Password", "secret"), entry("again", "Once more", "secret"),
        entry("how", "How", "choice", APPLY, choices=(APPLY, RECORD)),
    )  # fmt: skip
    first = planned("Change password of")
    ask(screen, Form(f"Password of cluster {row.name}", fields, make, _made(screen, "cluster password"), "Change", before=first))


APPLY, RECORD = "set it on every host", "it is changed already: store it"


def set_ratio(screen: FleetScreen, row: Branch) -> None:
    """Ratios of a cluster, with the room before and after while one types."""
    cluster = row.record

    def number(text: str, name: str) -> float:
        try:
            value = float(text.strip().replace(",", ".") or "0")
        except ValueError:
            raise InvalidInput("the ratios were not changed", problems=[Problem(name, f"{text!r} is not a number")]) from None
        if value and not 1 <= value <= 100:
            raise InvalidInput("the ratios were not changed", problems=[Problem(name, "must be at least 1" if value < 1 else "at most 100")])
        return value

    def make(v: Mapping[str, Any]) -> Any:
        return m.SetRatio(target=row.name, cpu=number(v["cpu"], "cpu"), ram=number(v["ram"], "ram"))

    def preview(v: Mapping[str, Any]) -> Any:
        try:
            return m.PreviewRatio(row.name, number(v["cpu"], "cpu") or None, number(v["ram"], "ram") or None)
        except FleetError:
            return None

    fields = (
        entry("cpu", "CPU ratio", default=f"{cluster.cpu_ratio:g}", help="empty: as the fleet's factor"),
        entry("ram", "Memory ratio", default=f"{cluster.ram_ratio:g}", help="empty: as the fleet's factor"),
    )  # fmt: skip
    title = f"Over-provisioning of cluster {row.name} ({cluster.ratio_origin})"
    names = {"cpu_ratio": "cpu", "ram_ratio": "ram"}
    first = planned("Change ratios of")
    ask(screen, Form(title, fields, make, _made(screen, "ratios"), "Change", before=first, preview=preview, shown=compared, names=names))


def compared(reply: m.RatioPreview) -> list[Line]:
    """Room before and after, and what has to be restarted for it."""
    lines: list[Line] = [[(f" {'':<8}{'capacity':>21}{'used':>16}{'free after restarts':>22}", "title")]]
    rows = (
        ("cpu", reply.before.cpu, reply.after.cpu, reply.room_after_restarts.cpu, lambda n: f"{n / 1000:,.0f} GHz"),
        ("memory", reply.before.ram, reply.after.ram, reply.room_after_restarts.ram, size),
    )
    for name, before, after, later, said in rows:
        capacity = f"{said(before.capacity)} -> {said(after.capacity)}"
        used = f"{percent(before.share)} -> {percent(after.share)}"
        lines.append([(f" {name:<8}", "muted"), (f"{capacity:>21}{used:>16}{said(later.free):>22}", "")])
    for said, names in (
        ("keep the old ratio until they are stopped and started:", reply.old_ratio_vms), ("would not fit again once stopped:", reply.not_restartable),
        ("not known to have a balloon device:", reply.balloon_unknown),
    ):  # fmt: skip
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            lines.append([(f" {len(names)} {said} ", "attention"), (f"{', '.join(names[:8])}{more}", "")])
    return lines

