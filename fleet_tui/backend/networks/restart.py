"""``network.restart``: a network that is up is shut down on request and its VLAN given back; the next VM brings it up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InUse, WrongState
from fleet_tui.backend.networks import RestartNetwork, guest, interfaces
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.rows import NetworkRow
from fleet_tui.backend.networks.states import NetworkState
from fleet_tui.backend.networks.tenants import Tenants
from fleet_tui.backend.operations.catalogue import Lease, OperationKind, Prepared, Step, StepContext, planned

_RESTARTED = frozenset({NetworkState.IMPLEMENTED, NetworkState.IMPLEMENTING, NetworkState.SHUTDOWN})


def operations(drivers: Networks) -> tuple[OperationKind, ...]:
    """The kinds of this module, with what their preparation asks."""

    def prepare(tx: Session, request: RestartNetwork, user: str) -> Prepared:
        row = guest.find(tx, request.target)
        plan = planned(
            row.name, changes=(f"network {row.name} is shut down and gives its VLAN back",),
            consequences=("the next VM brings it up again, maybe with another one",), refusals=_refusals(tx, row, request, drivers.tenants),
        )
        leases = (Lease("guest-network", row.id), Lease("physical-network", row.physical_id, shared=True))
        return Prepared(target=row.name, target_ref=f"network:{row.id}", plan=plan, leases=leases, parameters={"network": row.id})

    return (
        OperationKind(
            "network.restart", "restart", (Step("shut down", _shut_down, attempts=3, cancellable=False),), prepare, danger="disruptive",
            request=RestartNetwork,
        ),
    )


def _refusals(tx: Session, row: NetworkRow, request: RestartNetwork, tenants: Tenants) -> Iterator[FleetError]:
    state = NetworkState(row.state)
    if state is NetworkState.SETUP:
        yield WrongState(f"network {row.name} keeps the VLAN it was made with for life", hint="nothing needs to be done", state=row.state, allowed=[])
    elif state not in _RESTARTED:
        yield WrongState(
            f"network {row.name} is {row.state}: it is not up", hint="the first VM on it brings it up", state=row.state,
            allowed=sorted(known.value for known in _RESTARTED),
        )
    if running := tenants.running(tx, [row.id]).get(row.id, 0):
        yield InUse(
            f"{running} VM{'s'[: running != 1]} on network {row.name} run{'s' if running == 1 else ''}", hint="stop them first",
            users=list(tenants.names(tx, row.id)),
        )
    if not request.confirmed and not request.dry_run:
        yield ConfirmationRequired(f"this shuts network {row.name} down", hint="confirm in the dialog, or give --yes")


def _shut_down(ctx: StepContext) -> Mapping[str, Any]:
    drivers, network_id = ctx.use(Networks), str(ctx.operation.parameters["network"])
    with ctx.write() as tx:
        row = guest.lock(tx, network_id)
        if running := drivers.tenants.running(tx, [row.id]).get(row.id, 0):
            raise InUse(f"{running} VMs on network {row.name} run by now", hint="stop them, then restart it again")
        if NetworkState(row.state) in _RESTARTED:
            guest.shut_down(tx, row, drivers.clock.now(), f"network {row.name} is shut down on request", ctx.operation.user)
    guest.shut(ctx.write, network_id, drivers.clock, segments=interfaces.leaving(ctx, drivers))
    ctx.say(f"{ctx.operation.target} is down; its VLAN was given back")
    return {"down": True}
