"""What the methods about certificates do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.certificates import BoardEntry, ListBoard
from fleet_tui.backend.errors import FleetError, Problem, WrongState
from fleet_tui.backend.identity import Permission
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.permissions import allows
from fleet_tui.backend.instances import ShowSsl, SslRecord, certified, vault_looks
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.looks import Looks
from fleet_tui.backend.instances.prerequisites import domain_problem, literal_address
from fleet_tui.backend.instances.settings import find_row
from fleet_tui.backend.instances.supplies import Supplies
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import Store


class CertificateAnswers:
    """The verbs of certificates, by method name."""

    def __init__(self, store: Store, drivers: Drivers, looks: Looks, vault: Sealer, own: Callable[[], Sequence[BoardEntry]] = tuple) -> None:
        """``own``: entries of the fleet's own certificates."""
        self._store, self._drivers, self._looks, self._own = store, drivers, looks, own
        self._supplies = Supplies(store, drivers, vault)

    def table(self) -> Mapping[str, Handler]:
        return {
            "instances.ssl": self._show, "certificates.board": self._board,
            "agent.material": lambda caller, r: self._supplies.material(r), "agent.order": lambda caller, r: self._supplies.order(r),
        }

    def _show(self, caller: Caller, request: ShowSsl) -> SslRecord:
        record = self._found(request)
        return record if allows(caller.role, Permission.SETTINGS_READ) else replace(record, key_storage="", key="", secret_id="")

    def _found(self, request: ShowSsl) -> SslRecord:
        if not request.test:
            with self._store.read() as tx:
                return certified.show(tx, request.target, self._drivers)
        with self._store.read() as tx:
            row = find_row(tx, request.target)
            wanted = vault_looks.named(tx, row)
            ref, expected = f"instance:{row.id}", literal_address(str(row.settings.get("public_ip_allocation") or "")) or row.public_ip or ""
        with contextlib.suppress(WrongState):  # it does not run: there is nothing to look at
            self._looks.look_now(ref)
        with self._store.read() as tx:
            record = certified.show(tx, ref, self._drivers)
        seen = list(vault_looks.look(self._drivers.providers, wanted)) if wanted is not None else []
        lacking = [problem for problem, is_certain in seen if is_certain]
        unknown = [problem for problem, is_certain in seen if not is_certain]
        refusals = (*record.refusals, *lacking, *self._domains(record.domains, expected))
        return replace(record, refusals=refusals, warnings=(*record.warnings, *unknown))

    def _domains(self, domains: Sequence[str], expected: str) -> Sequence[Problem]:
        found = []
        for domain in domains if expected else ():
            try:
                found.append(domain_problem(self._drivers, domain, expected))
            except FleetError as problem:
                found.append(Problem("domains", problem.message))
        return [problem for problem in found if problem is not None]

    def _board(self, caller: Caller, request: ListBoard) -> tuple[BoardEntry, ...]:
        with self._store.read() as tx:
            found = certified.board(tx, request, self._drivers)
        most = timedelta(days=request.within_days) if request.within_days > 0 else timedelta.max
        now = self._drivers.clock.now()
        own = [entry for entry in self._own() if entry.not_after - now <= most]
        return tuple(sorted((*found, *own), key=lambda entry: (entry.not_after, entry.owner))[: request.limit])
