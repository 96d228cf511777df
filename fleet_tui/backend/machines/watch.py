"""Keeping what is shown of VMs true: what hypervisors report, against what the rows say.

A sweep only finds what does not agree; each VM it finds is asked about again before anything is written, and left alone while an operation
holds it or its host. So a guest that ended by itself becomes ``crashed``, one on a host that does not answer ``unknown``, one that somebody
moved by hand is found where it is, and no state that should have ended outlives the operation that died with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ConnectionState
from fleet_tui.backend.hypervisors import GuestInfo, GuestState
from fleet_tui.backend.machines import vms
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.rows import MoveRow, VmRow
from fleet_tui.backend.machines.settling import settle
from fleet_tui.backend.machines.states import ON_HOST, TRANSITIONAL, VmState
from fleet_tui.backend.operations.queries import ACTIVE
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.store import Store
from fleet_tui.backend.store.turn import Turn

log = logging.getLogger("fleetd.vms")

SWEEP_S = 10.0
_TURN = 0x766D73  # "vms"
_ASKERS = 8
_ALIVE = (GuestState.RUNNING, GuestState.PAUSED)
_HALTED = (GuestState.OFF, GuestState.CRASHED)
_SILENT = (ConnectionState.ALERT.value, ConnectionState.DISCONNECTED.value, ConnectionState.DOWN.value)
_SETTLED = (VmState.RUNNING, VmState.DEBUGGING)


@dataclass(frozen=True, slots=True)
class Report:
    """What the hosts of a cluster said."""

    seen: Mapping[str, Mapping[str, GuestState]]
    """By guest id: host id and state there."""
    heard: frozenset[str]
    """Hosts that answered."""
    silent: frozenset[str]
    """Hosts of which the rows say that they do not answer; others are merely being connected."""


class Watch:
    """Sweeps by itself, in one daemon of a site, once it is started; ``sweep`` does it now."""

    def __init__(self, store: Store, drivers: Machines, every_s: float = SWEEP_S) -> None:
        self._store, self._drivers, self._every_s = store, drivers, every_s
        self._turn = Turn(store, _TURN)
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(_ASKERS, thread_name_prefix="vms-ask")
        self._thread = threading.Thread(target=self._run, name="vms-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._turn.close()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                if self._turn.held():
                    self.sweep()
            except Exception:
                log.exception("the watch over VMs failed; it is tried again in %.0f s", self._every_s)

    def sweep(self) -> None:
        """Ask every connected host what runs on it, and put right what does not agree."""
        with self._store.read() as tx:
            hosts: dict[str, list[tuple[str, str]]] = {}
            for host_id, cluster_id, state in tx.execute(select(HostRow.id, HostRow.cluster_id, HostRow.connection_state)):
                hosts.setdefault(cluster_id, []).append((host_id, state))
            with_vms = set(tx.scalars(select(VmRow.cluster_id).distinct()))
        for cluster_id in sorted(with_vms & hosts.keys()):
            if self._stopped.is_set():
                return
            self._sweep(cluster_id, hosts[cluster_id])

    def _sweep(self, cluster_id: str, hosts: Sequence[tuple[str, str]]) -> None:
        report = self._ask(hosts)
        with self._store.read() as tx:
            rows = tx.scalars(select(VmRow).where(VmRow.cluster_id == cluster_id)).all()
            odd = [(vm, where) for vm in rows if (where := _disagrees(vm, report)) is not None and is_free(tx, vm)]
            stale = [(vm, host_id) for vm in rows for host_id in _stale(vm, report) if is_free(tx, vm)]
        for vm, where in odd:
            try:
                self._correct(vm, where, report)
            except FleetError as problem:
                log.info("%s could not be looked after: %s", vm.name, problem.message)
        for vm, host_id in stale:
            self._tidy(vm, host_id)

    def _ask(self, hosts: Sequence[tuple[str, str]]) -> Report:
        up = [host_id for host_id, _ in hosts if self._drivers.links.is_up(host_id)]
        seen: dict[str, dict[str, GuestState]] = {}
        heard = set()
        for host_id, guests in zip(up, self._pool.map(self._guests, up), strict=True):
            if guests is None:
                continue
            heard.add(host_id)
            for guest in guests:
                seen.setdefault(guest.id, {})[host_id] = guest.state
        return Report(seen, frozenset(heard), frozenset(host_id for host_id, state in hosts if state in _SILENT and host_id not in heard))

    def _guests(self, host_id: str) -> Sequence[GuestInfo] | None:
        try:
            return self._drivers.links.hypervisor(host_id).guests()
        except FleetError:
            return None

    def _correct(self, vm: VmRow, where: str, report: Report) -> None:
        """``where``: the one host it was seen alive on although it should be elsewhere; empty to ask where it should be."""
        if where and self._adopt(vm, where):
            return
        alive = sorted(host_id for host_id, state in report.seen.get(vm.guest_id, {}).items() if state is GuestState.RUNNING)
        if len(alive) > 1 and vm.destination_id is None:
            self._tell(vm, VmState(vm.state), lambda tx: f"{vm.name} runs on {' and '.join(vms.host_name(tx, host) for host in alive)} at once: "
                       "stop one of them by hand, its disks are in danger")
            return
        here = report.seen.get(vm.guest_id, {}).get(vm.host_id or "")
        if here is None and vm.host_id in report.heard and report.silent and VmState(vm.state) in ON_HOST:
            self._doubt(vm)
            return
        settle(self._store, self._drivers, vm.id, free=is_free)

    def _adopt(self, vm: VmRow, host_id: str) -> bool:
        """It lives on another host than its row says: somebody moved it, or started it, by hand."""
        if self._drivers.links.hypervisor(host_id).find(vm.guest_id).state is not GuestState.RUNNING:
            return False
        now = self._drivers.clock.now()
        with self._store.write() as tx:
            row = vms.locked(tx, vm.id)
            if (row.state, row.host_id, row.destination_id) != (vm.state, vm.host_id, vm.destination_id) or not is_free(tx, row):
                return True
            vms.settle_at(row, VmState.RUNNING, now, host_id=host_id)
            vms.changed(tx, row, now, f"{row.name} was found running on {vms.host_name(tx, host_id)}", "warn")
        return True

    def _doubt(self, vm: VmRow) -> None:
        """Its host does not know it any more, and another does not answer: it may have been moved there by hand."""
        self._tell(vm, VmState.UNKNOWN, lambda tx: f"{vms.host_name(tx, vm.host_id)} does not know {vm.name} any more, "
                   "and not every host of its cluster answers")

    def _tell(self, vm: VmRow, state: VmState, words: Callable[[Session], str]) -> None:
        """Put that on its row, once, if it is still as it was seen and nobody holds it."""
        now = self._drivers.clock.now()
        with self._store.write() as tx:
            row, text = vms.locked(tx, vm.id), words(tx)
            if (row.state, row.host_id) == (vm.state, vm.host_id) and (row.state, row.error) != (state.value, text) and is_free(tx, row):
                row.state, row.error = state.value, text
                vms.changed(tx, row, now, text, "error")

    def _tidy(self, vm: VmRow, host_id: str) -> None:
        """A definition left where the VM does not live any more."""
        try:
            hypervisor = self._drivers.links.hypervisor(host_id)
            if hypervisor.find(vm.guest_id).state in _HALTED:
                hypervisor.remove(vm.guest_id, with_disks=False)
        except FleetError as problem:
            log.info("the old definition of %s could not be removed: %s", vm.name, problem.message)


def is_free(tx: Session, vm: VmRow) -> bool:
    """Whether no operation that lives holds the VM, or its host for itself, or moves it."""
    held = select(LeaseRow.operation_id).where(
        ((LeaseRow.level == "vm") & (LeaseRow.name == vm.id))
        | ((LeaseRow.level == "host") & LeaseRow.name.in_([vm.host_id, vm.destination_id]) & ~LeaseRow.shared)
    )
    if tx.scalar(held.limit(1)) is not None:
        return False
    moves = select(MoveRow.id).join(OperationRow, OperationRow.id == MoveRow.operation_id)
    moves = moves.where(MoveRow.vm_id == vm.id, MoveRow.outcome == "", OperationRow.state.in_(ACTIVE))
    if tx.scalar(moves.limit(1)) is not None:
        return False
    submitted = select(OperationRow.id).where(OperationRow.target_ref == f"vm:{vm.id}", OperationRow.state.in_(ACTIVE))
    return VmState(vm.state) not in TRANSITIONAL or tx.scalar(submitted.limit(1)) is None


def _disagrees(vm: VmRow, report: Report) -> str | None:
    """``None`` when row and hosts agree as far as anybody can say; else the one other host it was seen alive on, or an empty string."""
    state, here = VmState(vm.state), vm.host_id or ""
    places = report.seen.get(vm.guest_id, {})
    alive = [host_id for host_id, seen in places.items() if seen in _ALIVE]
    elsewhere = [host_id for host_id in alive if host_id != here]
    if state in TRANSITIONAL or vm.destination_id is not None:
        return ""  # looked at only if nobody holds it
    if len(alive) == 1 and elsewhere:
        return elsewhere[0]
    if state in _SETTLED:
        if here in report.heard:
            return "" if places.get(here) not in _ALIVE or elsewhere else None
        return "" if here in report.silent or not here else None
    if state is VmState.UNKNOWN:
        return "" if here in report.heard or here in report.silent else None
    return "" if here in alive else None


def _stale(vm: VmRow, report: Report) -> Iterator[str]:
    """Hosts that still know a VM which runs on another one."""
    places: Mapping[str, Any] = report.seen.get(vm.guest_id, {})
    if vm.state == VmState.RUNNING.value and vm.destination_id is None and places.get(vm.host_id or "") is GuestState.RUNNING:
        yield from (host_id for host_id, state in places.items() if host_id != vm.host_id and state in _HALTED)


