"""What the methods about maintenance do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend import maintenance
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.identity import Permission
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.permissions import allows
from fleet_tui.backend.maintenance import queries, rolling, sessions
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.evacuation import try_again
from fleet_tui.backend.maintenance.forecast import forecast
from fleet_tui.backend.store import Store


class MaintenanceAnswers:
    """The verbs of maintenance that are no operations, by method name."""

    def __init__(self, store: Store, drivers: Drivers) -> None:
        self._store, self._drivers = store, drivers

    def table(self) -> Mapping[str, Handler]:
        """Every method this object answers."""
        return {
            "maintenance.show": lambda caller, r: self._query(lambda tx: queries.show(tx, r.target, self._drivers)),
            "maintenance.list": lambda caller, r: self._query(lambda tx: queries.find(tx, r, self._drivers)),
            "maintenance.forecast": self._forecast,
            "maintenance.plan-rolling": self._plan_rolling,
            "maintenance.edit": lambda caller, r: self._change(lambda tx: sessions.edit(tx, r, caller.user, self._drivers.clock.now()).id),
            "maintenance.close": lambda caller, r: self._change(lambda tx: sessions.close(tx, r, caller.user, self._drivers.clock.now()).id),
            "maintenance.retry": self._retry,
        }

    def _forecast(self, caller: Caller, request: maintenance.ForecastHost) -> maintenance.ForecastRecord:
        def ask(tx: Session) -> maintenance.ForecastRecord:
            host = sessions.find_host(tx, request.target)
            return forecast(tx, host, self._drivers, explain=request.explain).record()

        return self._query(ask)  # type: ignore[no-any-return]

    def _plan_rolling(self, caller: Caller, request: maintenance.PlanRolling) -> maintenance.RollingPlan:
        def ask(tx: Session) -> maintenance.RollingPlan:
            return rolling.plan(tx, rolling.find_cluster(tx, request.cluster), self._drivers, request.group_size)

        return self._query(ask)  # type: ignore[no-any-return]

    def _retry(self, caller: Caller, request: maintenance.RetryMoves) -> maintenance.MaintenanceRecord:
        """New attempts, due now; where the operation has ended already, by asking for maintenance again with what was asked for before."""
        with self._store.read() as tx:
            session, host = sessions.find(tx, request.target)
            state = ResourceState(host.resource_state)
        if session.closed_at is not None:
            raise WrongState(f"the maintenance of {host.name} is closed", hint="ask for it anew", state="closed", allowed=["open"])
        if state is ResourceState.ERROR_IN_MAINTENANCE:
            again = maintenance.MaintainHost(
                target=host.id, reason=session.reason, ticket=session.ticket, confirmed=True, request_id=request.request_id,
                allow_stop=session.allow_stop and allows(caller.role, Permission.HOSTS_FORCE),
            )
            self._drivers.engine().submit("host.maintain", again, caller.user)
            return self._query(lambda tx: queries.show(tx, session.id, self._drivers))  # type: ignore[no-any-return]
        return self._change(lambda tx: try_again(tx, session.id, caller.user))

    def _query(self, ask: Callable[[Session], Any]) -> Any:
        with self._store.read() as tx:
            return ask(tx)

    def _change(self, act: Callable[[Session], str]) -> maintenance.MaintenanceRecord:
        """Change, and show what became of it."""
        with self._store.write() as tx:
            session_id = act(tx)
            tx.flush()
            return queries.show(tx, session_id, self._drivers)
