"""The fake provider: behaves like a real one, in memory and in one small folder. It drives ``fleet demo`` and tests at scale.

Same errors, same repeatability, same agents as seen from the daemon; a contract suite runs over it and the real one alike.
One daemon at a time may hold its folder.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import Busy, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.faults import Faults
from fleet_tui.backend.providers import (
    ANY_DISK,
    Amiss,
    BootConfiguration,
    DiskInfo,
    DiskSpec,
    MachineInfo,
    MachineSpec,
    MachineState,
    Placement,
    SnapshotInfo,
    folders,
)
from fleet_tui.backend.providers.faults import VOCABULARY
from fleet_tui.backend.providers.ledger import Disk, Ledger, Machine, Snapshot
from fleet_tui.backend.providers.simulated_agents import REPORTS_PER_S, REST_S, SimulatedAgents
from fleet_tui.backend.telemetry import AgentLine
from fleet_tui.backend.telemetry.agents import Agents

_SECONDS: Mapping[str, float] = {
    "ensure_disk": 0.8, "delete_disk": 0.4, "create_machine": 1.6, "attach_disk": 0.5, "detach_disk": 0.4, "boot": 0.6, "shut_down": 0.8,
    "terminate": 0.9, "snapshot_disk": 1.4, "restore_disk": 1.6, "delete_snapshot": 0.2,
}
"""How long each verb takes at pace 1."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,100}\Z")
_RUNNING = (MachineState.ON.value, MachineState.BROKEN.value)

Say = Callable[[str], None]


class FakeProvider:
    """The provider protocol without anything behind it.

    Args:
        directory: where it keeps its journal and disk folders; a throw-away one when empty.
        agents: whom simulated agents talk to; without it machines are on but silent.
        pace: factor on every delay; 0 for none.
    """

    name = "fake"
    is_elsewhere = False
    look_s = 1.0
    copies_over_time = False

    def __init__(self, directory: Path | None = None, agents: Agents | None = None, faults: Faults | None = None, *, pace: float = 1.0,
                 clock: Clock | None = None, seed: int = 7, reports_per_s: float = REPORTS_PER_S,
                 rest_s: float = REST_S) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="fleet-fake-") if directory is None else None
        self.directory = Path(self._scratch.name) if self._scratch else Path(directory or ".").absolute()
        self.faults = faults or Faults(VOCABULARY)
        self.hosts: tuple[str, ...] = ("localhost",)
        """Where machines are put: each on the one that has fewest."""
        self.label_of: Callable[[str], str] = lambda disk_id: ""
        """What a person calls the owner of a disk, for faults by label."""
        self.gone: Mapping[str, str] = {}
        """Id that a virtual network may name -> what became of it, as if somebody had taken it away."""
        self._pace = pace
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._ledger = Ledger(self.directory)
        self._agents: SimulatedAgents | None = None
        if agents is not None:
            self._agents = SimulatedAgents(
                agents, self._ledger, self._lock, self.faults, clock or SystemClock(), pace=pace, seed=seed, reports_per_s=reports_per_s,
                rest_s=rest_s,
            )

    # --- the simulation's own --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let the agents that were on when the last daemon ended go on. The first verb does it too."""
        if self._agents is not None and not self._closed.is_set():
            self._agents.wake()

    def close(self) -> None:
        """Stop every agent and let go what hangs. What is on stays on, for the next one."""
        self._closed.set()
        self.faults.release()
        if self._agents is not None:
            self._agents.close()
        with self._lock:
            self._ledger.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def adopt(self, machines: Iterable[Machine] = (), disks: Iterable[Disk] = (), snapshots: Iterable[Snapshot] = ()) -> None:
        """Take over a ready-made fleet, before anything runs."""
        with self._lock:
            self._ledger.put(*machines, *disks, *snapshots)

    def disk_path(self, disk_id: str) -> str:
        """Where a disk's content is or would be."""
        return str(self._ledger.folder_of(Disk(disk_id, 0)))

    def disturb(self, machine_id: str, seconds: float) -> None:
        """The application of a machine goes down for so long."""
        if self._agents is not None:
            self._agents.disturb(machine_id, seconds)

    def fill(self, disk_id: str, fraction: float) -> None:
        """Make a disk seem so full; its agent tells with its next report."""
        with self._lock:
            if (disk := self._ledger.disks.get(disk_id)) is not None:
                disk.used_bytes = int(disk.size_gb * 1024**3 * fraction)
                self._ledger.put(disk)

    def survey(self, placement: Placement) -> Sequence[Amiss]:
        """What a virtual network names that is gone."""
        named = {
            "vpc_id": (placement.vpc_id,), "subnet_id": (placement.subnet_id,), "second_subnet_id": (placement.second_subnet_id,),
            "security_groups": placement.security_groups, "private_zone_id": (placement.private_zone_id,),
            "public_zone_id": (placement.public_zone_id,),
        }
        return [Amiss(field, f"{name} {self.gone[name]}") for field, names in named.items() for name in names if name in self.gone]

    # --- disks -----------------------------------------------------------------------------------------------------

    def ensure_disk(self, disk_id: str, size_gb: int, token: str, say: Say, spec: DiskSpec = ANY_DISK) -> DiskInfo:
        with self._verb("ensure_disk", _checked(disk_id), self.label_of(disk_id)), self._lock:
            disk = self._ledger.disks.get(disk_id)
            if disk is None:
                disk = Disk(disk_id, size_gb, token)
                folders.drop(self._ledger.folder_of(disk))
                say(f"made data disk {disk_id}, {size_gb} GB")
            elif disk.attached_to is not None:
                raise self._attached(disk, "deprovision that first")
            else:
                disk.size_gb = max(disk.size_gb, size_gb)
                say(f"found data disk {disk_id}, {disk.size_gb} GB")
            folders.settle(self._ledger.folder_of(disk))
            folders.make(disk, self._ledger.folder_of(disk))
            self._ledger.put(disk)
            return self._disk_info(disk)

    def grow_disk(self, disk_id: str, size_gb: int, say: Say) -> DiskInfo:
        with self._verb("grow_disk", _checked(disk_id), self.label_of(disk_id)), self._lock:
            disk = self._disk(disk_id)
            if size_gb > disk.size_gb:
                say(f"data disk {disk_id} grows from {disk.size_gb} to {size_gb} GB")
                disk.size_gb = size_gb
                self._ledger.put(disk)
            return self._disk_info(disk)

    def find_disk(self, disk_id: str) -> DiskInfo | None:
        with self._verb("find_disk", _checked(disk_id), self.label_of(disk_id)), self._lock:
            disk = self._ledger.disks.get(disk_id)
            return None if disk is None else self._disk_info(disk)

    def delete_disk(self, disk_id: str) -> None:
        with self._verb("delete_disk", _checked(disk_id), self.label_of(disk_id)), self._lock:
            disk = self._ledger.disks.get(disk_id)
            if disk is not None and disk.attached_to is not None:
                raise self._attached(disk, "deprovision the instance first")
            if disk is not None:
                self._ledger.drop(disk)
                folders.drop(self._ledger.folder_of(disk))

    def attach_disk(self, machine_id: str, disk_id: str) -> None:
        with self._verb("attach_disk", machine_id, disk_id, self._label(machine_id)), self._lock:
            machine, disk = self._machine(machine_id), self._disk(disk_id)
            if disk.attached_to not in (None, machine_id):
                raise self._attached(disk, "detach it there first")
            if machine.disk not in ("", disk_id):
                raise Busy(f"machine {machine_id} has data disk {machine.disk} attached", hint="detach that first", holders=[machine.disk])
            folders.make(disk, self._ledger.folder_of(disk))
            disk.attached_to, machine.disk = machine_id, disk_id
            self._ledger.put(disk, machine)

    def detach_disk(self, machine_id: str, disk_id: str) -> None:
        with self._verb("detach_disk", machine_id, _checked(disk_id), self._label(machine_id)), self._lock:
            disk, machine = self._ledger.disks.get(disk_id), self._ledger.machines.get(machine_id)
            if disk is None or disk.attached_to != machine_id:
                return
            if machine is not None and machine.state in _RUNNING:
                holders = [f"agent of {machine_id}" if machine.state == MachineState.ON.value else f"application of {machine_id}"]
                raise WrongState(f"the data disk is in use by {holders[0]}", hint="stop the application, or force it", holders=holders)
            self._free(disk, machine)

    def unsent_lines(self, machine_id: str) -> Iterator[tuple[str, Sequence[AgentLine]]]:
        """None: simulated agents live here and lose nothing."""
        return iter(())

    def snapshot_disk(self, disk_id: str, snapshot_id: str, say: Say) -> SnapshotInfo:
        with self._verb("snapshot_disk", _checked(snapshot_id), disk_id, self.label_of(disk_id)), self._lock:
            disk = self._disk(disk_id)
            snapshot = self._ledger.snapshots.get(snapshot_id)
            if snapshot is None:
                folder = self._ledger.folder_of(disk)
                folders.make(disk, folder)
                snapshot = Snapshot(snapshot_id, disk_id, max(disk.used_bytes, folders.size(folder)), dict(disk.facts))
                folders.replace(folder, self._ledger.folder_of(snapshot) / "content")
                self._ledger.put(snapshot)
                say(f"made snapshot {snapshot_id} of data disk {disk_id}")
            return self._snapshot_info(snapshot)

    def restore_disk(self, disk_id: str, snapshot_id: str, say: Say, token: str = "") -> None:
        with self._verb("restore_disk", disk_id, snapshot_id, self.label_of(disk_id)), self._lock:
            snapshot = self._ledger.snapshots.get(_checked(snapshot_id))
            if snapshot is None:
                raise NotFound(f"there is no snapshot {snapshot_id}", hint="list the instance's snapshots")
            if snapshot.disk_id != disk_id:
                problem = Problem("snapshot", f"belongs to data disk {snapshot.disk_id}")
                raise InvalidInput(f"snapshot {snapshot_id} is not one of data disk {disk_id}", problems=[problem])
            disk = self._disk(disk_id)
            if disk.attached_to is not None:
                raise self._attached(disk, "deprovision the instance first")
            content = self._ledger.folder_of(snapshot) / "content"
            content.mkdir(mode=0o700, parents=True, exist_ok=True)
            folders.replace(content, self._ledger.folder_of(disk))
            disk.used_bytes, disk.facts, disk.folder_made = snapshot.used_bytes, dict(snapshot.facts), True
            self._ledger.put(disk)
            say(f"data disk {disk_id} is as snapshot {snapshot_id} has it")

    def delete_snapshot(self, snapshot_id: str, region: str = "") -> None:
        with self._verb("delete_snapshot", _checked(snapshot_id)), self._lock:
            snapshot = self._ledger.snapshots.get(snapshot_id)
            if snapshot is not None:
                self._ledger.drop(snapshot)
                folders.drop(self._ledger.folder_of(snapshot))

    # --- machines --------------------------------------------------------------------------------------------------

    def create_machine(self, spec: MachineSpec, say: Say) -> MachineInfo:
        with self._verb("create_machine", _checked(spec.id), spec.label), self._lock:
            machine = self._ledger.machines.get(spec.id)
            if machine is not None and machine.token != spec.token:
                raise WrongState(
                    f"machine {spec.id} exists already and was made by something else", hint="terminate it first", state="present"
                )
            if machine is None:
                host = self._emptiest_host()
                machine = Machine(
                    spec.id, spec.instance_id, spec.label, spec.token, host, private_ip=self._free_address(spec.id),
                    host_name=f"{re.sub(r'[^a-z0-9-]+', '-', spec.label.lower())}.sim.internal", machine_type=spec.machine_type,
                    root_disk_gb=spec.root_disk_gb,
                )
                self._ledger.put(machine)
                say(f"made machine {spec.id} on {host}, OS disk {spec.root_disk_gb} GB")
            return self._machine_info(machine)

    def find_machine(self, machine_id: str) -> MachineInfo:
        self.wake()
        with self._verb("find_machine", _checked(machine_id), self._label(machine_id)), self._lock:
            machine = self._ledger.machines.get(machine_id)
            return MachineInfo(machine_id, MachineState.ABSENT) if machine is None else self._machine_info(machine)

    def boot(self, machine_id: str, configuration: BootConfiguration, bundle: str, say: Say) -> None:
        self.wake()
        with self._verb("boot", machine_id, self._label(machine_id)), self._lock:
            machine = self._machine(machine_id)
            if machine.state == MachineState.ON.value:
                say(f"the agent of machine {machine_id} runs already")
                return
            if bundle and not Path(bundle).is_file():
                raise NotFound(f"the application bundle {bundle} is gone", hint="register the image again")
            machine.state, machine.silent = MachineState.ON.value, False
            machine.boot, machine.boot_token = secrets.token_hex(8), configuration.token
            machine.key, machine.stage, machine.said = "", "starting", 0
            self._ledger.put(machine)
            if self._agents is not None:
                self._agents.begin(machine)
            say(f"booted machine {machine_id} on {machine.host}")

    def shut_down(self, machine_id: str, grace_s: float, say: Say) -> None:
        with self._verb("shut_down", _checked(machine_id), self._label(machine_id)), self._lock:
            self._switch_off(machine_id)

    def terminate(self, machine_id: str, say: Say) -> None:
        with self._verb("terminate", _checked(machine_id), self._label(machine_id)), self._lock:
            self._switch_off(machine_id)
            machine = self._ledger.machines.get(machine_id)
            if machine is not None:
                if (disk := self._ledger.disks.get(machine.disk)) is not None:
                    self._free(disk, machine)
                self._ledger.drop(machine)
                say(f"removed machine {machine_id} and its OS disk")

    def machines(self) -> Sequence[MachineInfo]:
        with self._verb("machines"), self._lock:
            return tuple(self._machine_info(machine) for machine in sorted(self._ledger.machines.values(), key=lambda m: m.id))

    def disks(self) -> Sequence[DiskInfo]:
        with self._verb("disks"), self._lock:
            return tuple(self._disk_info(disk) for disk in sorted(self._ledger.disks.values(), key=lambda disk: disk.id))

    def snapshots(self) -> Sequence[SnapshotInfo]:
        with self._verb("snapshots"), self._lock:
            return tuple(self._snapshot_info(snapshot) for snapshot in sorted(self._ledger.snapshots.values(), key=lambda snapshot: snapshot.id))

    def measure_host(self) -> Mapping[str, Any]:
        with self._verb("measure_host"):
            return {}

    # --- inside ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _verb(self, verb: str, *names: str) -> Iterator[None]:
        self._pause(_SECONDS.get(verb, 0.0) * self._pace)
        with self.faults.at(verb, *(name for name in names if name), pause=self._pause):
            yield

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._closed.wait(seconds)

    def _label(self, machine_id: str) -> str:
        machine = self._ledger.machines.get(machine_id)
        return machine.label if machine is not None else ""

    def _machine(self, machine_id: str) -> Machine:
        machine = self._ledger.machines.get(_checked(machine_id))
        if machine is None:
            raise NotFound(f"there is no machine {machine_id}", hint="reprovision the instance: its data disk is kept")
        return machine

    def _disk(self, disk_id: str) -> Disk:
        disk = self._ledger.disks.get(_checked(disk_id))
        if disk is None:
            raise NotFound(f"there is no data disk {disk_id}", hint="provision the instance")
        folders.settle(self._ledger.folder_of(disk))
        return disk

    def _attached(self, disk: Disk, hint: str) -> Busy:
        return Busy(f"data disk {disk.id} is attached to machine {disk.attached_to}", hint=hint, holders=[disk.attached_to])

    def _free(self, disk: Disk, machine: Machine | None) -> None:
        disk.attached_to = None
        if machine is None:
            self._ledger.put(disk)
        else:
            machine.disk = ""
            self._ledger.put(disk, machine)

    def _switch_off(self, machine_id: str) -> None:
        if self._agents is not None:
            self._agents.end(machine_id)
        machine = self._ledger.machines.get(machine_id)
        if machine is not None and machine.state != MachineState.OFF.value:
            machine.state = MachineState.OFF.value
            self._ledger.put(machine)

    def _emptiest_host(self) -> str:
        load = dict.fromkeys(self.hosts, 0)
        for machine in self._ledger.machines.values():
            if machine.host in load:
                load[machine.host] += 1
        return min(load, key=lambda host: (load[host], host))

    def _free_address(self, machine_id: str) -> str:
        """One of 10.40.0.0/16 that follows from the id, or the next that is free."""
        taken = {machine.private_ip for machine in self._ledger.machines.values()}
        start = int(hashlib.sha256(machine_id.encode()).hexdigest()[:8], 16)
        addresses = (f"10.40.{n // 254 % 256}.{n % 254 + 1}" for n in range(start, start + 65024))
        return next(address for address in addresses if address not in taken)

    def _machine_info(self, machine: Machine) -> MachineInfo:
        return MachineInfo(
            machine.id, MachineState(machine.state), private_ip=machine.private_ip, public_ip=machine.public_ip,
            host_name=machine.host_name, host=machine.host,
        )

    def _disk_info(self, disk: Disk) -> DiskInfo:
        return DiskInfo(disk.id, disk.size_gb, disk.used_bytes or None, str(self._ledger.folder_of(disk)), disk.attached_to)

    def _snapshot_info(self, snapshot: Snapshot) -> SnapshotInfo:
        return SnapshotInfo(snapshot.id, snapshot.disk_id, snapshot.used_bytes, str(self._ledger.folder_of(snapshot)))


def _checked(name: str) -> str:
    """The id itself, if it can be one."""
    if not _ID.match(name):
        raise InvalidInput(f"{name!r} cannot be an id here", problems=[Problem("id", "letters, digits, dash, underscore")])
    return name
