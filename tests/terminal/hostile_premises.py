"""A site of hosts and VMs where hypervisors, guests and people attack whoever looks: simulated machines under a real daemon.

People write hostile text into everything that they may fill in. Then the machines themselves turn: while the daemon is away every host is given
a hostile version, serial number, patch level and interfaces, and every guest a hostile name, with which it greets on its serial line and
which its shell says when it is asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import select, update

from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as v
from fleet_tui.backend import maintenance as mt
from fleet_tui.backend import telemetry as t
from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PatchRow, PodRow, ZoneRow
from fleet_tui.backend.hypervisors.fake_ledger import WorldLedger
from fleet_tui.backend.machines.rows import MoveRow, OfferingRow, VmRow
from fleet_tui.backend.maintenance.rows import AnnouncementRow, EvacueeRow, SessionRow
from fleet_tui.backend.operations.rows import OperationRow, StepRow
from fleet_tui.backend.telemetry.rows import LineRow, StreamRow
from tests.journeys.site import Site, site
from tests.terminal.hostile import MARK
from tests.terminal.hostile_site import LINES, NASTY, SHORT
from tests.waiting import until

FLAGS = ("--site", "siege", "--simulate", "--instances", "2", "--hosts", "12", "--seed", "7")
SPOKEN = "\r\n".join(text for name, text in LINES.items() if name != "lone surrogate")
"""What a guest says: every payload that bytes can carry, a megabyte among them."""


class Premises:
    """What the tests name: a host that works, one in maintenance, a VM that runs and one that does not."""

    def __init__(self, site: Site) -> None:
        self.site = site
        rows: tuple[h.HostRecord, ...] = site.call(h.ListHosts())
        self.kept = next(row for row in rows if row.resource_state == "Maintenance")
        session: mt.MaintenanceRecord = site.call(mt.ShowMaintenance(self.kept.id))
        self.session = session.id
        lists = (("ZONE", h.ListZones()), ("POD", h.ListPods()), ("CLUSTER", h.ListClusters()))
        self.branches = {word: site.call(request)[0].id for word, request in lists}
        vms = site.call(v.ListVms()).vms
        running = [vm for vm in vms if vm.state.value == "running" and not vm.has_device]
        self.stopped = next(vm for vm in vms if vm.state.value == "stopped")
        taken = {vm.host for vm in running}
        self.host = next(row for row in rows if row.name in taken and row.connection_state == "up" and row.allocatable)
        self.vm = next(vm for vm in running if vm.host == self.host.name)

    def accepted(self) -> int:
        """Fill in everything that takes free words; gives how much was taken, cleaned. What is refused for its form does not come in."""
        words = NASTY[:400]
        patches = [{"hypervisor": "kvm", "version": "9.0.0", "patch": "evil-1", "released": "2026-01-02", "severity": "critical", "note": NASTY}]
        requests: list[Any] = [
            h.EditHost(self.host.id, location_note=words), h.EditHost(self.host.id, tags=(SHORT,)),
            h.ImportPatches(json.dumps(patches), "json"), h.CreateCluster("evil", dedicated_account=SHORT, zone="zone-a", pod="pod-a1", request_id="c"),
            v.EditVm(self.vm.id, tags=(SHORT,)), v.EditVm(self.vm.id, owners=(SHORT,)),
            v.CreateOffering("evil", 1, 100, 128, tags=(SHORT,), request_id="o"),
            mt.EditMaintenance(self.session, words, SHORT), mt.EditMaintenance(self.session, note=NASTY),
            mt.EditMaintenance(self.session, checklist=(words, SHORT)),
        ]  # fmt: skip
        taken = 0
        for request in requests:
            with suppress(InvalidInput):
                self.site.call(request)
                taken += 1
        return taken

    def turn(self) -> None:
        """The machines turn hostile while the daemon is away."""
        self.site.stop()
        ledger = WorldLedger(self.site.places.state / "fake")
        for host in list(ledger.hosts.values()):
            host.version, host.serial, host.patch_level, host.arch = SHORT, NASTY, NASTY, SHORT
            host.nics, host.storage = ["eth1", SHORT, NASTY], [SHORT]  # networks of VMs need the first
            ledger.put(host)
        for guests in list(ledger.on_host.values()):
            for guest in list(guests.values()):
                guest.name = SPOKEN
                guest.arrived = guest.booted = time.time()  # its log begins with its greeting, and is short yet
                ledger.put(guest)
        ledger.close()
        self.site.start(1)
        until(lambda: MARK in self.site.call(h.ShowHost(self.host.id)).version, 60.0, "the host to tell of itself")
        until(lambda: MARK in self.site.call(v.ReadGuestLog(self.vm.id)).text, 60.0, "the guest's log")

    def poison(self) -> None:
        """Payloads past the daemon's cleaning into every column of hosts and VMs that is shown, as if an older daemon had stored them."""
        said: dict[Any, dict[str, Any]] = {
            ZoneRow: {"dns": [SHORT], "guest_cidr": SHORT}, PodRow: {"gateway": SHORT, "netmask": SHORT, "start_ip": SHORT},
            ClusterRow: {"arch": SHORT, "dedicated_account": SHORT, "mismatch": {SHORT: NASTY}},
            HostRow: {"address": SHORT, "reason": SHORT, "health": SHORT, "error": NASTY, "ssh_user": SHORT, "host_key": NASTY, "hypervisor_version": SHORT,
                      "arch": SHORT, "serial": NASTY, "patch_level": NASTY, "facts": {SHORT: NASTY, "nics": ["eth1", SHORT, NASTY]}, "tags": [SHORT],
                      "location_note": NASTY},
            PatchRow: {"hypervisor_version": SHORT, "note": NASTY, "released": SHORT, "superseded_by": SHORT},
            OfferingRow: {"tags": [SHORT]},
            VmRow: {"tags": [SHORT], "owners": [SHORT], "account": SHORT, "ips": [SHORT], "error": NASTY,
                    "boot": {"kernel": SHORT, "initrd": SHORT, "cmdline": NASTY}},
            MoveRow: {"detail": NASTY[:120], "error": NASTY, "outcome": "failed"},
            SessionRow: {"reason": NASTY, "ticket": SHORT, "owner": SHORT, "announced_to": [SHORT, NASTY], "own_mode": SHORT,
                         "checklist": [{"text": NASTY, "done": True, "by": SHORT}, {"text": SHORT, "done": False, "by": ""}],
                         "notes": [{"time": "2026-11-20T10:00:00+00:00", "user": SHORT, "text": NASTY}]},
            EvacueeRow: {"error": NASTY, "hint": SHORT},
            AnnouncementRow: {"error": NASTY},
            OperationRow: {"title": SHORT, "user": SHORT, "error_message": NASTY, "error_hint": SHORT, "waiting_for": [NASTY], "result": {SHORT: NASTY}},
            StepRow: {"error_message": NASTY, "error_hint": SHORT, "progress": NASTY[:200]},
            EventRow: {"text": NASTY, "user": SHORT}, LineRow: {"text": NASTY, "phase": SHORT}, StreamRow: {"label": SHORT},
        }  # fmt: skip
        with self.site.store().write() as tx:
            for table, values in said.items():
                tx.execute(update(table).values(**values))
            for table in (ZoneRow, PodRow, ClusterRow, HostRow, OfferingRow, VmRow):
                for row in tx.scalars(select(table)).all():
                    row.name = f"{row.name} {SHORT}"
            for vm in tx.scalars(select(VmRow)).all():
                vm.exclusion_tags = [f"{vm.id} {SHORT}"]  # one that two had would keep them apart
            tx.execute(update(OfferingRow).where(OfferingRow.system_kind != "").values(system_kind=SHORT))
            for patch in tx.scalars(select(PatchRow)).all():
                patch.patch = f"{patch.patch} {SHORT}"
            for number, evacuee in enumerate(tx.scalars(select(EvacueeRow)).all()):
                evacuee.name = f"{evacuee.name} {SHORT}"
                evacuee.state = ("failed", "blocked", "retry", "lost")[number] if number < 4 else evacuee.state
                evacuee.back = f"failed: {SHORT}" if number == 5 else ""

    def stored(self) -> str:
        """Everything that the daemon says of hosts and VMs, as one string."""
        from fleet_tui.backend.api import wire

        up = {row.name for row in self.site.call(h.ListHosts()) if row.connection_state == "up"}
        heard = [vm for vm in self.site.call(v.ListVms()).vms if vm.state.value == "running" and vm.host in up][:5]
        single: list[Any] = [request for host in (self.host, self.kept) for request in (
            h.ShowHost(host.id), v.ShowCapacity(host.id), mt.ForecastHost(host.id, explain=True), t.ReadLines(f"host:{host.id}", tail=5000),
        )]  # fmt: skip
        whole = (h.ListZones(), h.ListPods(), h.ListClusters(), h.ListHosts(), h.ListPatches(), v.ListVms(), v.ListOfferings(), mt.ListMaintenance())
        asked = [*whole, *single, mt.ShowMaintenance(self.session), *(v.ReadGuestLog(vm.id) for vm in heard)]
        return "".join(json.dumps(wire.encode(self.site.call(request)), ensure_ascii=False) for request in asked)


@contextmanager
def hostile_premises() -> Iterator[Premises]:
    """Such a site while the block runs: people have written, machines have turned, nothing is poisoned yet."""
    with site(flags=FLAGS) as found:
        until(lambda: all(row.measured_at for row in found.call(h.ListHosts()) if row.connection_state == "up"), 60.0, "the hosts")
        premises = Premises(found)
        assert premises.accepted() >= 5
        premises.turn()
        yield premises
