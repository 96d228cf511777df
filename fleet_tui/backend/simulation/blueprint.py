"""The plan of a simulated site: which hosts and instances there are and how each stands. Follows from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fleet_tui.backend.instances.states import Health, InstanceState

GIB = 1024**3
_ALPHABET = "0123456789bcdfghjkmnpqrstvwxyz"
_HOSTS_IN_CLUSTER, _CLUSTERS_IN_POD = 4, 2


@dataclass(frozen=True, slots=True)
class Role:
    """A sort of instance: what it is called, runs and needs."""

    name: str
    weight: float
    kind: str
    application: str
    versions: tuple[str, ...]
    """Oldest first; the last is the newest image."""
    sizes: tuple[int, ...]
    is_padded: bool = True


ROLES: tuple[Role, ...] = (
    Role("web", 0.34, "design", "webshop", ("2.7.4", "2.8.1"), (20, 50, 50, 100)),
    Role("db", 0.16, "execution", "postgres-node", ("15.6", "16.2"), (100, 200, 200, 500)),
    Role("ci", 0.16, "execution", "runner", ("3.1.9", "3.2.0"), (50, 100)),
    Role("cache", 0.12, "execution", "cache-node", ("7.2.4",), (20, 50)),
    Role("design", 0.12, "design", "studio", ("12.3.1", "12.4.0"), (50, 100, 200)),
    Role("mail", 0.10, "execution", "mailrelay", ("1.9.4",), (20, 50, 100), is_padded=False),
)
DEPLOYER = Role("deployer", 0.0, "deployer", "deployer", ("2.1.0",), (50,), is_padded=False)
BY_NAME: Mapping[str, Role] = {role.name: role for role in (*ROLES, DEPLOYER)}

GIVEN, ORDERED = "shop-net", "world-net"
"""Virtual networks whose instances have a certificate of their own, and one of an ACME directory."""
IN_NETWORK = 5

FAILED_STAGES = (
    "startup:start", "resources", "startup:install-or-upgrade", "startup:certificate", "startup:actions:after_install", "startup:data-disk",
)
"""Stages at which failed instances failed, in turn."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    id: str
    name: str
    zone: str
    pod: str
    cluster: str
    hypervisor: str
    address: str
    resource_state: str
    connection_state: str
    reason: str
    """Of a link that is broken."""
    cores: int
    memory_gib: int
    disk_gib: int
    disk_used: float
    load: float
    patches: int
    """How many of its hypervisor's patches it has, of the ledger's."""
    serial: str
    note: str

    @property
    def takes_machines(self) -> bool:
        return self.connection_state == "up" and self.resource_state == "Enabled"


@dataclass(slots=True)
class InstancePlan:
    """How one instance stands when the site opens."""

    id: str
    label: str
    role: Role
    state: InstanceState
    host: str
    zone: str
    address: str
    is_tls: bool
    size_gb: int
    used: float
    version: str
    age_days: float
    booted_days: float
    certificate_days: float
    health: Health | None = None
    failed_stage: str = ""
    pending: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    is_protected: bool = False
    seed: str = field(default="")
    network: str = ""
    """Virtual network it stands in; ``local`` and ``local-tls`` are not named."""

    @property
    def has_machine(self) -> bool:
        settled = self.state in (InstanceState.RUNNING, InstanceState.STOPPED)
        return settled or (self.state is InstanceState.FAILED and self.failed_stage != "resources")

    @property
    def has_disk(self) -> bool:
        return self.state is not InstanceState.NEW and self.failed_stage != "resources"

    @property
    def network_label(self) -> str:
        return self.network or ("local-tls" if self.is_tls else "local")

    @property
    def strategy(self) -> str:
        """HTTPS strategy of that network."""
        return {GIVEN: "per_instance", ORDERED: "letsencrypt"}.get(self.network, "self_signed" if self.is_tls else "none")

    @property
    def machine(self) -> str:
        return f"vm-{self.id[2:]}"

    @property
    def disk(self) -> str:
        return f"d-{self.id[2:]}"

    @property
    def boot(self) -> str:
        return f"boot-{self.id[2:]}"


def identity(rng: random.Random, prefix: str) -> str:
    """An id as the product makes them, from the seed."""
    return f"{prefix}-{''.join(rng.choices(_ALPHABET, k=8))}"


def hosts(count: int, seed: int) -> tuple[HostPlan, ...]:
    """Hosts of two zones, in clusters of four; of a dozen or more one does not answer and one is in maintenance.

    The last clusters of a larger site are of vSphere and a pool of XenServers, one of whose hosts is disabled.
    """
    rng = random.Random(f"hosts:{seed}")
    half = (count + 1) // 2
    odd = {half // 2: ("Enabled", "alert", "unreachable"), half + half // 3: ("Maintenance", "up", "")} if count >= 12 else {}
    if count >= 20:
        odd[count - 2] = ("Disabled", "up", "")
    if count >= 40:
        odd |= {count - 9: ("Enabled", "alert", "no-service"), count - 12: ("Enabled", "disconnected", "off")}
    return tuple(_host(n, half, count, *odd.get(n, ("Enabled", "up", "")), rng) for n in range(count))


def _host(number: int, half: int, count: int, resource: str, connection: str, reason: str, rng: random.Random) -> HostPlan:
    letter, within = ("a", number) if number < half else ("b", number - half)
    cluster = within // _HOSTS_IN_CLUSTER
    is_last = cluster == ((half if letter == "a" else count - half) - 1) // _HOSTS_IN_CLUSTER
    short, kind = ("kvm", "kvm") if count < 20 or not is_last else ("esx", "vsphere") if letter == "a" else ("xen", "xenserver")
    cores = rng.choice((32, 32, 48, 64))
    return HostPlan(
        id=identity(rng, "h"), name=f"{short}-{number + 1:0{max(2, len(str(count)))}}", zone=f"zone-{letter}",
        pod=f"pod-{letter}{cluster // _CLUSTERS_IN_POD + 1}", cluster=f"{short}-{letter}{cluster + 1}", hypervisor=kind,
        address=f"10.{10 + within // 250}.{1 if letter == 'a' else 2}.{within % 250 + 1}",
        resource_state=resource, connection_state=connection, reason=reason, cores=cores, memory_gib=cores * 8,
        disk_gib=rng.choice((3840, 7680)), disk_used=rng.uniform(0.25, 0.8), load=0.0 if reason else round(rng.uniform(0.08, 0.86), 2),
        patches=rng.choice((3,) * 8 + (2, 2, 1)), serial=f"CZ2{rng.randint(1, 9)}{identity(rng, '')[1:7].upper()}",
        note=f"row {'AB'[letter == 'b']}{cluster + 1}, rack unit {4 + within % _HOSTS_IN_CLUSTER * 2}",
    )


def instances(count: int, places: Sequence[HostPlan], seed: int) -> tuple[InstancePlan, ...]:
    """Instances with their states: most run, and a few of everything that can be wrong with one are among them."""
    rng = random.Random(f"instances:{seed}")
    taking = [host for host in places if host.takes_machines] or list(places)
    plans = [_instance(label, role, taking, rng, number) for number, (label, role) in enumerate(_labels(count, rng))]
    _spoil(plans, rng)
    _spread(plans)
    return tuple(plans)


def _labels(count: int, rng: random.Random) -> Iterator[tuple[str, Role]]:
    """Labels by role: as many of each as its weight says, one deployer, shuffled so that places mix."""
    width = 2 if count <= 250 else len(str(count // 2))
    shares = {role.name: int(count * role.weight) for role in ROLES}
    deployers = 1 if count else 0
    shares["web"] += count - deployers - sum(shares.values())
    if shares["web"] < 0:
        shares, deployers = {"web": count}, 0
    named = [
        (f"{name}-{n:0{width}}" if BY_NAME[name].is_padded else f"{name}-{n}", BY_NAME[name])
        for name, share in shares.items() for n in range(1, share + 1)
    ]
    named += [("deployer-1", DEPLOYER)] * deployers
    rng.shuffle(named)
    yield from named


def _instance(label: str, role: Role, taking: Sequence[HostPlan], rng: random.Random, number: int) -> InstancePlan:
    host = taking[number % len(taking)]
    age = rng.uniform(3.0, 400.0)
    return InstancePlan(
        id=identity(rng, "i"), label=label, role=role, state=InstanceState.RUNNING, host=host.name, zone=host.zone,
        address=f"10.{20 if host.zone == 'zone-a' else 21}.{number // 250}.{number % 250 + 2}", is_tls=rng.random() < 0.6,
        size_gb=rng.choice(role.sizes), used=min(0.775, rng.betavariate(2.2, 3.0)),
        version=role.versions[-1] if rng.random() < 0.8 else role.versions[0], age_days=age, booted_days=min(age, rng.uniform(0.2, 24.0)),
        certificate_days=rng.uniform(30.0, 390.0), health=Health.OK, seed=identity(rng, "s"),
        tags=tuple(sorted({rng.choice(("prod", "prod", "staging", "dev")), rng.choice(("team-red", "team-blue", "team-green"))})),
        is_protected=role.name in ("db", "deployer") and rng.random() < 0.3,
    )


def _spoil(plans: list[InstancePlan], rng: random.Random) -> None:
    """Take some out of the many that are well. In a large fleet what is wrong stays a list a person can read."""
    total = len(plans)
    well = [plan for plan in plans if plan.role is not DEPLOYER]
    rng.shuffle(well)

    def some(share: float, least: int, most: int) -> list[InstancePlan]:
        wanted = max(least if total >= 40 else min(1, least), min(most, round(total * share)))
        taken, well[:] = well[:wanted], well[wanted:]
        return taken

    for turn, plan in enumerate(some(0.02, 4, 36)):
        _fail(plan, FAILED_STAGES[turn % len(FAILED_STAGES)], rng)
    for plan in some(0.04, 4, 400):
        plan.state, plan.health = InstanceState.STOPPED, None
    for plan in some(0.03, 4, 300):
        plan.state, plan.health = InstanceState.DEPROVISIONED, None
    for plan in some(0.02, 4, 200):
        plan.state, plan.health, plan.used = InstanceState.NEW, None, 0.0
    for plan in some(0.01, 2, 12):
        plan.health = Health.APP_DOWN
    for plan in some(0.005, 1, 8):
        plan.health = Health.AGENT_SILENT
    for plan in some(0.03, 3, 60):
        plan.health, plan.used = Health.DISK_WARNING, rng.uniform(0.805, 0.893)
    for plan in some(0.01, 2, 20):
        plan.health, plan.used = Health.DISK_CRITICAL, rng.uniform(0.903, 0.965)
    for plan in some(0.04, 4, 150):
        plan.pending = rng.choice((("ssl.sans",), ("template",), ("image",), ("image", "ssl.sans")))
        plan.version = plan.role.versions[0]
    for plan in some(0.02, 2, 100):
        plan.is_tls, plan.certificate_days = True, rng.uniform(1.5, 13.5)


def _spread(plans: Sequence[InstancePlan]) -> None:
    """Of a larger site a few that are well stand in virtual networks with other HTTPS strategies."""
    well = [p for p in plans if p.is_tls and p.health is Health.OK and not p.pending and p.certificate_days > 14 and p.role.name == "web"]
    for network, place in ((GIVEN, 0), (ORDERED, 1)) if len(plans) >= 40 else ():
        for plan in well[place::2][:IN_NETWORK]:
            plan.network = network


def _fail(plan: InstancePlan, stage: str, rng: random.Random) -> None:
    plan.state, plan.health, plan.failed_stage = InstanceState.FAILED, None, stage
    plan.booted_days = rng.uniform(0.01, 1.6)
    plan.is_tls = plan.is_tls or stage == "startup:certificate"
    if stage == "resources":
        plan.used = 0.0
