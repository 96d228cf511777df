"""The fake provider as a state machine: any verb, repeated, crashed after its effect, the daemon restarted in between."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fleet_tui.backend.errors import Busy, FleetError, NotFound, Unreachable, WrongState
from fleet_tui.backend.providers import BootConfiguration, MachineSpec, MachineState
from fleet_tui.backend.providers.fake import FakeProvider

# Mostly the same ones: what is wrong shows when several things happen to one of them.
MACHINES, DISKS = st.sampled_from(("vm-1", "vm-1", "vm-2")), st.sampled_from(("d-1", "d-1", "d-1", "d-2"))
SNAPSHOTS = st.sampled_from(("s-1", "s-1", "s-2"))
WAYS = st.sampled_from(("once", "twice", "crash"))


def hush(text: str) -> None:
    assert text


class FakeMachine(RuleBasedStateMachine):
    """The model is a few dictionaries; the provider must agree with it after every rule."""

    @initialize()
    def open(self) -> None:
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="fake-machine-", dir=memory if memory.is_dir() else None))
        self.provider = FakeProvider(self.folder, pace=0)
        self.states: dict[str, MachineState] = {}
        self.attached: dict[str, str | None] = {}
        self.content: dict[str, str] = {}
        self.snapshots: dict[str, tuple[str, str]] = {}
        # Things that meet: without them most runs never come to two machines and one disk.
        for machine in ("vm-1", "vm-2"):
            self.create_machine(machine, "once")
        self.ensure_disk("d-1", "once")
        self.attach_disk("vm-1", "d-1", "once")

    def teardown(self) -> None:
        if hasattr(self, "provider"):
            self.provider.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self) -> None:
        self.provider.close()
        self.provider = FakeProvider(self.folder, pace=0)

    def act(self, way: str, verb: str, call: Callable[[FakeProvider], Any]) -> type[FleetError] | None:
        """Do it once, twice, or crash after the effect and do it again; gives the refusal, if any."""
        if way == "crash":
            self.provider.faults.fail(verb, error=Unreachable("lost"), after=True)
            try:
                call(self.provider)
            except FleetError:
                self.restart()
        try:
            call(self.provider)
            if way == "twice":
                call(self.provider)
        except FleetError as error:
            return type(error)
        finally:
            self.provider.faults.clear()
        return None

    @rule(disk=DISKS, way=WAYS)
    def ensure_disk(self, disk: str, way: str) -> None:
        refused = self.act(way, "ensure_disk", lambda p: p.ensure_disk(disk, 20, f"o:{disk}", hush))
        assert refused is (Busy if self.attached.get(disk) else None)
        if refused is None:
            self.attached.setdefault(disk, None)
            self.content.setdefault(disk, "")

    @rule(disk=DISKS, way=WAYS)
    def delete_disk(self, disk: str, way: str) -> None:
        refused = self.act(way, "delete_disk", lambda p: p.delete_disk(disk))
        assert refused is (Busy if self.attached.get(disk) else None)
        if refused is None:
            self.attached.pop(disk, None)
            self.content.pop(disk, None)

    @rule(disk=DISKS, word=st.text("abc", min_size=1, max_size=3))
    def write(self, disk: str, word: str) -> None:
        found = self.provider.find_disk(disk)
        if found is not None:
            (Path(found.path) / "word").write_text(word)
            self.content[disk] = word

    @rule(machine=MACHINES, way=WAYS)
    def create_machine(self, machine: str, way: str) -> None:
        spec = MachineSpec(machine, "i-1", "web", token=f"o:{machine}")
        assert self.act(way, "create_machine", lambda p: p.create_machine(spec, hush)) is None
        self.states.setdefault(machine, MachineState.OFF)

    @rule(machine=MACHINES)
    def create_with_another_token(self, machine: str) -> None:
        if machine in self.states:
            spec = MachineSpec(machine, "i-1", "web", token="other")
            assert self.act("once", "create_machine", lambda p: p.create_machine(spec, hush)) is WrongState

    @rule(machine=MACHINES, disk=DISKS, way=WAYS)
    def attach_disk(self, machine: str, disk: str, way: str) -> None:
        refused = self.act(way, "attach_disk", lambda p: p.attach_disk(machine, disk))
        if machine not in self.states or disk not in self.attached:
            assert refused is NotFound
        elif self.attached[disk] not in (None, machine) or any(d != disk and m == machine for d, m in self.attached.items()):
            assert refused is Busy
        else:
            assert refused is None
            self.attached[disk] = machine

    @rule(machine=MACHINES, disk=DISKS, way=WAYS)
    def detach_disk(self, machine: str, disk: str, way: str) -> None:
        refused = self.act(way, "detach_disk", lambda p: p.detach_disk(machine, disk))
        if self.attached.get(disk) == machine and self.states.get(machine) is MachineState.ON:
            assert refused is WrongState
            return
        assert refused is None
        if self.attached.get(disk) == machine:
            self.attached[disk] = None

    @rule(machine=MACHINES, way=WAYS)
    def boot(self, machine: str, way: str) -> None:
        refused = self.act(way, "boot", lambda p: p.boot(machine, BootConfiguration(machine, "t", "unix:/x"), "", hush))
        assert refused is (None if machine in self.states else NotFound)
        if refused is None:
            self.states[machine] = MachineState.ON

    @rule(machine=MACHINES, way=WAYS)
    def shut_down(self, machine: str, way: str) -> None:
        assert self.act(way, "shut_down", lambda p: p.shut_down(machine, 1.0, hush)) is None
        if machine in self.states:
            self.states[machine] = MachineState.OFF

    @rule(machine=MACHINES, way=WAYS)
    def terminate(self, machine: str, way: str) -> None:
        assert self.act(way, "terminate", lambda p: p.terminate(machine, hush)) is None
        self.states.pop(machine, None)
        self.attached.update({disk: None for disk, holder in self.attached.items() if holder == machine})

    @rule(disk=DISKS, snapshot=SNAPSHOTS, way=WAYS)
    def snapshot_disk(self, disk: str, snapshot: str, way: str) -> None:
        if snapshot in self.snapshots and self.snapshots[snapshot][0] != disk:
            return
        refused = self.act(way, "snapshot_disk", lambda p: p.snapshot_disk(disk, snapshot, hush))
        assert refused is (None if disk in self.attached else NotFound)
        if refused is None:
            self.snapshots.setdefault(snapshot, (disk, self.content[disk]))

    @rule(disk=DISKS, snapshot=SNAPSHOTS, way=WAYS)
    def restore_disk(self, disk: str, snapshot: str, way: str) -> None:
        refused = self.act(way, "restore_disk", lambda p: p.restore_disk(disk, snapshot, hush))
        kept = self.snapshots.get(snapshot)
        if kept is None or (kept[0] == disk and disk not in self.attached):
            assert refused is NotFound
        elif kept[0] == disk and self.attached[disk] is None:
            assert refused is None
            self.content[disk] = kept[1]
        else:
            assert refused is not None

    @rule(snapshot=SNAPSHOTS, way=WAYS)
    def keep_change_and_set_back(self, snapshot: str, way: str) -> None:
        """What a reprovision from a snapshot does, in one go: chance alone seldom finds the way."""
        self.ensure_disk("d-1", "once")
        self.write("d-1", "kept")
        self.snapshot_disk("d-1", snapshot, way)
        self.write("d-1", "changed")
        for machine in ("vm-1", "vm-2"):
            self.shut_down(machine, "once")
            self.detach_disk(machine, "d-1", "once")
        self.restore_disk("d-1", snapshot, way)

    @rule(snapshot=SNAPSHOTS, way=WAYS)
    def delete_snapshot(self, snapshot: str, way: str) -> None:
        assert self.act(way, "delete_snapshot", lambda p: p.delete_snapshot(snapshot)) is None
        self.snapshots.pop(snapshot, None)

    @rule()
    def restart_the_daemon(self) -> None:
        self.restart()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "provider"):
            return
        assert {machine.id: machine.state for machine in self.provider.machines()} == self.states
        for disk in ("d-1", "d-2"):
            found = self.provider.find_disk(disk)
            assert (found is not None) == (disk in self.attached)
            if found is not None:
                assert found.attached_to == self.attached[disk]
                word = Path(found.path) / "word"
                assert (word.read_text() if word.exists() else "") == self.content[disk]


FakeMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestFakeMachine = FakeMachine.TestCase
