"""What the methods about VMs, offerings and room do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend import machines
from fleet_tui.backend.api import Done
from fleet_tui.backend.api.consoles import Consoles
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.errors import PermissionDenied, WrongState
from fleet_tui.backend.hosts.hierarchy import find_cluster
from fleet_tui.backend.identity import Permission, Role
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.permissions import allows
from fleet_tui.backend.machines import editing, offerings, preview, queries, ratios, vms, weights
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.tenants import Engine as Submits
from fleet_tui.backend.operations import Submitted
from fleet_tui.backend.providers import cloud_images
from fleet_tui.backend.store import Store
from fleet_tui.backend.text import clean

_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
"""What a guest says to its terminal alone: colours, cursor, titles."""


class MachineAnswers:
    """The verbs of VMs that are no operations, by method name."""

    def __init__(self, store: Store, engine: Submits, drivers: Machines, consoles: Consoles) -> None:
        self._store, self._engine, self._drivers, self._consoles = store, engine, drivers, consoles

    def table(self) -> Mapping[str, Handler]:
        """Every method this object answers."""
        return {
            "offerings.list": lambda caller, r: self._query(lambda tx: queries.list_offerings(tx, r.limit)),
            "vms.list": lambda caller, r: self._query(lambda tx: queries.list_vms(tx, r)),
            "vms.show": lambda caller, r: self._query(lambda tx: queries.describe(tx, r.target)),
            "vms.log": self._log,
            "vms.console": self._console,
            "capacity.show": lambda caller, r: self._query(lambda tx: queries.show_capacity(tx, r, self._drivers.rules, self._drivers.clock.now())),
            "weights.show": lambda caller, r: self._query(lambda tx: weights.show_weights(tx, r.host)),
            "placement.plan": lambda caller, r: preview.plan_placement(self._store, self._drivers, r, as_root=caller.role is Role.ROOT_ADMIN),
            "ratio.preview": lambda caller, r: self._query(lambda tx: ratios.preview(tx, r, self._drivers.rules, self._drivers.clock.now())),
            "offerings.create": lambda caller, r: self._change(lambda tx: queries.offering_record(offerings.create_offering(tx, r, caller.user))),
            "offerings.delete": self._delete_offering,
            "vms.edit": self._edit,
            "vm.create": self._create,
            **{kind: self._placed(kind) for kind in ("vm.start", "vm.migrate")},
        }

    def owners(self, target: str) -> frozenset[str]:
        """Who may drive a VM because it is theirs (VM-4)."""
        found: frozenset[str] = self._query(lambda tx: vms.owners(tx, target))
        return found

    def _create(self, caller: Caller, request: machines.CreateVm) -> Submitted:
        """From an image on the register, by name or path. Any other file may be another's disk, or a host's own: not for everybody to read."""
        image = self._query(lambda tx: cloud_images.known(tx, find_cluster(tx, request.cluster), request.image)) if request.image else None
        if request.image and image is None and not allows(caller.role, Permission.HOSTS_EDIT):
            raise PermissionDenied(
                f"{caller.user} is {caller.role.value} here and may make VMs only from registered cloud images, of which none in the zone of "
                f"cluster {clean(request.cluster, 100)} is {clean(request.image, 200)}",
                hint="`fleet cloud-image list` shows them; an admin can register one, or name any file", role=caller.role.value,
                needed=Permission.HOSTS_EDIT.value,
            )
        reply: Submitted = self._placed("vm.create")(caller, replace(request, image=image.path) if image is not None else request)
        return reply

    def _placed(self, kind: str) -> Handler:
        """A verb that placement has a say in: its dry run names the host."""

        def submit(caller: Caller, request: Any) -> Submitted:
            submitted = self._engine.submit(kind, request, caller.user)
            plan = submitted.plan
            if plan is None or plan.refusals:
                return submitted
            return replace(submitted, plan=preview.foretold(self._store, self._drivers, request, plan, as_root=caller.role is Role.ROOT_ADMIN))

        return submit

    def _log(self, caller: Caller, request: machines.ReadGuestLog) -> machines.GuestLog:
        """A guest's serial log, asked of its host. Foreign text: cleaned line by line, so that nothing in it reaches a terminal."""
        vm = self._vm(request.target)
        if vm.host_id is None:
            return machines.GuestLog(request.after, "")
        hypervisor = self._drivers.links.hypervisor(vm.host_id)
        position, text = hypervisor.log_of(vm.guest_id, max(0, request.after), max(1, min(request.limit, 1_000_000)))
        lines = _SEQUENCES.sub("", text).replace("\r\n", "\n").split("\n")
        return machines.GuestLog(position, "\n".join(clean(line) for line in lines))

    def _console(self, caller: Caller, request: machines.OpenConsole) -> machines.ConsoleTicket:
        vm = self._vm(request.target)
        if vm.host_id is None or vm.state not in machines.TAKING_ROOM:
            raise WrongState(f"{vm.name} is {vm.state}: it has no console now", hint=f"`fleet vm start {vm.name}`, or read its log", state=vm.state)
        host_id, guest_id = vm.host_id, vm.guest_id
        return self._consoles.issue(caller, vm.name, lambda: self._drivers.links.hypervisor(host_id).console(guest_id))

    def _edit(self, caller: Caller, request: machines.EditVm) -> machines.VmRecord:
        def act(tx: Session) -> machines.VmRecord:
            vm = editing.edit(tx, request, self._drivers.clock.now(), caller.user)
            tx.flush()
            return queries.records(tx, [vm])[0]

        return self._change(act)  # type: ignore[no-any-return]

    def _delete_offering(self, caller: Caller, request: machines.DeleteOffering) -> Done:
        name = self._change(lambda tx: offerings.delete_offering(tx, request.target, request.confirm, caller.user))
        return Done(f"offering {name} was deleted")

    def _vm(self, target: str) -> Any:
        return self._query(lambda tx: vms.find(tx, target))

    def _query(self, ask: Callable[[Session], Any]) -> Any:
        with self._store.read() as tx:
            return ask(tx)

    def _change(self, act: Callable[[Session], Any]) -> Any:
        with self._store.write() as tx:
            return act(tx)
