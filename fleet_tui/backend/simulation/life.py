"""What goes on in a simulated site while it is looked at: operations, outages, filling disks, hosts that work more or less."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from sqlalchemy import ColumnElement, select

from fleet_tui.backend import instances as face
from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.hosts.register import record_figures
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.machines import MigrateVm
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.operations.engine import Engine
from fleet_tui.backend.providers import Provider
from fleet_tui.backend.providers.fake import FakeProvider
from fleet_tui.backend.store import Store

log = logging.getLogger("fleetd.simulation")

USER = "sim"
EVERY_S = 7.0
"""Something happens about so often."""
MOST_ACTIVE = 6
"""With so many operations under way, whoever asked for them, it submits none itself."""
CAST = 60
"""It works on no more instances than these; the others are left to the person who looks."""

Request = Callable[[str], OperationRequest]

_CHOICES: tuple[tuple[float, str, InstanceState, Request], ...] = (
    (5, "restart-app", InstanceState.RUNNING, lambda t: face.RestartApplication(target=t, confirmed=True)),
    (3, "snapshot", InstanceState.RUNNING, lambda t: face.SnapshotDisk(target=t, reason="before the change window")),
    (3, "replay-actions", InstanceState.RUNNING, lambda t: face.ReplayActions(target=t)),
    (2, "reprovision", InstanceState.RUNNING, lambda t: face.ReprovisionInstance(target=t, confirmed=True)),
    (2, "stop", InstanceState.RUNNING, lambda t: face.StopInstance(target=t, confirmed=True)),
    (3, "start", InstanceState.STOPPED, lambda t: face.StartInstance(target=t)),
    (2, "deprovision", InstanceState.RUNNING, lambda t: face.DeprovisionInstance(target=t, confirmed=True)),
    (3, "provision", InstanceState.DEPROVISIONED, lambda t: face.ProvisionInstance(target=t)),
    (2, "provision", InstanceState.NEW, lambda t: face.ProvisionInstance(target=t)),
    (2, "retry", InstanceState.FAILED, lambda t: face.RetryStartup(target=t)),
)
_FAULTY_PHASES = ("phase:start", "phase:install-or-upgrade", "phase:actions:after_startup")
_SHARE_FAULTY = 0.12
"""So many of its provisions meet a fault."""


class Life:
    """One thread that does something now and then, as the user ``sim``. What is refused is left alone."""

    def __init__(self, store: Store, engine: Engine, provider: Provider, *, seed: int = 7, every_s: float = EVERY_S,
                 clock: Clock | None = None, world: FakeWorld | None = None) -> None:
        self._store, self._engine, self._provider, self._world = store, engine, provider, world
        self._rng = random.Random(f"life:{seed}")
        self._every_s, self._clock = every_s, clock or SystemClock()
        self._cast: frozenset[str] = frozenset()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulated-life", daemon=True)

    def start(self) -> None:
        """Wake the agents, and begin with something to see."""
        if isinstance(self._provider, FakeProvider):
            self._provider.wake()
        with self._store.read() as tx:
            everybody = tx.scalars(select(InstanceRow.id).order_by(InstanceRow.id)).all()
        self._cast = frozenset(self._rng.sample(everybody, min(CAST, len(everybody), max(8, len(everybody) // 4))))
        self._open()
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def step(self) -> str:
        """Let one thing happen; says what, for the curious and for tests."""
        kind = self._rng.choices(("operation", "outage", "fill", "empty", "hosts", "move", "vcenter"), (10, 1, 1, 2, 3, 1.5, 1.5))[0]
        acts = {
            "operation": self._operate, "outage": self._disturb, "fill": self._fill, "empty": self._empty, "hosts": self._measure,
            "move": self._move, "vcenter": self._work_in_vcenter,
        }
        return acts[kind]()

    # --- what can happen -----------------------------------------------------------------------------------------

    def _open(self) -> None:
        """A few operations that run when the first console opens, one of which will fail."""
        if (doomed := self._pick(InstanceState.NEW)) is not None and isinstance(self._provider, FakeProvider):
            self._provider.faults.fail("phase:start", doomed)
            self._submit("provision", face.ProvisionInstance(target=doomed))
        for state in (InstanceState.DEPROVISIONED, InstanceState.NEW):
            if (label := self._pick(state)) is not None:
                self._submit("provision", face.ProvisionInstance(target=label))
        if (label := self._pick(InstanceState.RUNNING)) is not None:
            self._submit("reprovision", face.ReprovisionInstance(target=label, confirmed=True))

    def _operate(self) -> str:
        if self._engine.active() >= MOST_ACTIVE:
            return "enough is under way"
        _, action, state, request = self._rng.choices(_CHOICES, [weight for weight, *_ in _CHOICES])[0]
        label = self._pick(state, cast=True)
        if label is None:
            return f"nothing to {action}"
        if action == "provision" and self._rng.random() < _SHARE_FAULTY and isinstance(self._provider, FakeProvider):
            self._provider.faults.fail(self._rng.choice(_FAULTY_PHASES), label)
        return self._submit(action, request(label))

    def _move(self) -> str:
        """A VM goes to a better place; which, placement says."""
        with self._store.read() as tx:
            query = select(VmRow.name).where(VmRow.state == VmState.RUNNING.value, VmRow.kind == "guest", VmRow.has_device.is_(False))
            names = tx.scalars(query.where(VmRow.has_local_disk.is_(False)).order_by(VmRow.id).limit(400)).all()
        if not names or self._engine.active() >= MOST_ACTIVE:
            return "nothing to migrate"
        return self._submit("migrate", MigrateVm(target=self._rng.choice(names)), "vm")

    def _work_in_vcenter(self) -> str:
        """Somebody does there what a vSphere host waits for: its own mode is entered once ours is ready, and left when the work is done."""
        ready = (HostRow.resource_state == ResourceState.MAINTENANCE.value, ClusterRow.hypervisor == "vsphere")
        with self._store.read() as tx:
            name = tx.scalar(select(HostRow.name).join(ClusterRow, HostRow.cluster_id == ClusterRow.id).where(*ready).order_by(HostRow.state_since))
        if name is None or self._world is None:
            return "nothing to do in vCenter"
        enters = not self._world.host(name).in_mode
        self._world.change_host(name, in_mode=enters)
        return f"{name} {'enters' if enters else 'leaves'} vCenter's maintenance mode"

    def _submit(self, action: str, request: OperationRequest, family: str = "instance") -> str:
        try:
            self._engine.submit(f"{family}.{action}", request, USER)
        except FleetError as refusal:
            return f"{action} of {request.target} was refused: {refusal.message}"
        return f"{action} of {request.target}"

    def _disturb(self) -> str:
        row = self._well()
        if row is None or row.machine is None or not isinstance(self._provider, FakeProvider):
            return "nothing to disturb"
        self._provider.disturb(row.machine, self._rng.uniform(25.0, 90.0))
        return f"{row.label} goes down"

    def _fill(self) -> str:
        row = self._well()
        if row is None or not isinstance(self._provider, FakeProvider):
            return "nothing to fill"
        self._provider.fill(row.disk_id, self._rng.choice((0.81, 0.84, 0.91)))
        return f"the disk of {row.label} fills"

    def _empty(self) -> str:
        """Somebody cleans up, so that in the long run not every disk is full."""
        row = self._row(InstanceRow.health.in_((Health.DISK_WARNING.value, Health.DISK_CRITICAL.value)))
        if row is None or not isinstance(self._provider, FakeProvider):
            return "nothing to empty"
        self._provider.fill(row.disk_id, self._rng.uniform(0.3, 0.6))
        return f"the disk of {row.label} is cleaned up"

    def _measure(self) -> str:
        """A few hosts report new figures."""
        with self._store.write() as tx:
            connected = list(tx.scalars(select(HostRow).where(HostRow.connection_state == "up").order_by(HostRow.name)))
            chosen = self._rng.sample(connected, min(3, len(connected)))
            for host in chosen:
                load = round(min(0.98, max(0.02, host.load + self._rng.uniform(-0.12, 0.12))), 2)
                record_figures(tx, host.name, {"load": load}, self._clock)
                if self._world is not None:
                    self._world.change_host(host.name, load=load)
        return f"{len(chosen)} hosts measured"

    # --- whom it meets -------------------------------------------------------------------------------------------

    def _pick(self, state: InstanceState, cast: bool = False) -> str | None:
        with self._store.read() as tx:
            query = select(InstanceRow.id, InstanceRow.label).where(InstanceRow.state == state.value).order_by(InstanceRow.id)
            found = tx.execute(query).all()
        labels = [label for identity, label in found if not cast or identity in self._cast]
        return self._rng.choice(labels) if labels else None

    def _well(self) -> InstanceRow | None:
        """One of its cast that runs and lacks nothing."""
        return self._row(InstanceRow.id.in_(self._cast), InstanceRow.state == InstanceState.RUNNING.value, InstanceRow.health == Health.OK.value)

    def _row(self, *conditions: ColumnElement[bool]) -> InstanceRow | None:
        with self._store.read() as tx:
            rows = tx.scalars(select(InstanceRow).where(*conditions).order_by(InstanceRow.id).limit(200)).all()
        return self._rng.choice(rows) if rows else None

    def _run(self) -> None:
        while not self._ended.wait(self._every_s * self._rng.uniform(0.5, 1.5)):
            try:
                log.debug("simulated: %s", self.step())
            except Exception:
                log.exception("the simulated life stumbled; it goes on")
