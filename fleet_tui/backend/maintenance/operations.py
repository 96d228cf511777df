"""The verbs of maintenance, as operations of named steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend import maintenance as face
from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.hosts import transitions
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import MAINTENANCE_STATES, ConnectionState, HostEvent, ResourceState
from fleet_tui.backend.maintenance import announce, comeback, homecoming, preparing, rolling, sessions
from fleet_tui.backend.maintenance.drivers import Drivers
from fleet_tui.backend.maintenance.evacuation import evacuate
from fleet_tui.backend.maintenance.forecast import Forecast, forecast
from fleet_tui.backend.maintenance.preconditions import error_of, single_error
from fleet_tui.backend.operations import ErrorRecord
from fleet_tui.backend.operations.catalogue import Lease, OperationFacts, OperationKind, Prepared, Step, planned
from fleet_tui.backend.operations.submission import active_on, ask_to_stop
from fleet_tui.backend.text import clean


def operations(drivers: Drivers) -> tuple[OperationKind, ...]:
    """Every kind this slice adds to the catalogue. Refusals at submit follow the drivers' policy, so it is given here."""
    maintain = Maintain(drivers)
    cancel = OperationKind(
        kind="host.cancel-maintenance", title="cancel maintenance", request=face.CancelMaintenance, danger="disruptive",
        prepare=lambda tx, request, user: _prepare_cancel(tx, request, user, maintain.kind),
        steps=(
            Step("reach", comeback.reach, attempts=2), Step("leave-own-mode", comeback.leave_own_mode, attempts=2),
            Step("verify", comeback.verify, attempts=2), Step("lead-back", comeback.lead_back),
        ),
        began=_at_work, succeeded=lambda tx, op, results: _forget(tx, op), failed=lambda tx, op, error, step: _forget(tx, op), cancelled=_forget,
        undo_text="ask for maintenance (m) again",
    )
    return (maintain.kind, cancel, *homecoming.operations(drivers), _announcing(drivers), *rolling.operations(drivers))


class Maintain:
    """``host.maintain``: its rules at submit, at its beginning and at its end."""

    def __init__(self, drivers: Drivers) -> None:
        self._drivers = drivers
        self.kind = OperationKind(
            kind="host.maintain", title="maintain", request=face.MaintainHost, danger="disruptive", prepare=self._prepare,
            steps=(
                Step("check", preparing.check, attempts=2),
                Step("own-mode", preparing.enter_own_mode, undo=preparing.leave_own_mode, undo_begun=True, attempts=2),
                Step("evacuate", evacuate),
                Step("ready", preparing.ready),
            ),
            began=self._began, succeeded=self._succeeded, failed=self._failed, cancelled=self._cancelled,
            undo_text="cancel maintenance (C) brings it back; VMs are migrated back by hand (B)",
        )

    def _prepare(self, tx: Session, request: face.MaintainHost, user: str) -> Prepared:
        now = self._drivers.clock.now()
        problems = list(sessions.reason_problems(request.reason))
        if len(request.ticket) > sessions.TICKET_LIMIT:
            problems.append(Problem("ticket", f"{len(request.ticket)} characters; {sessions.TICKET_LIMIT} are allowed"))
        host = sessions.find_host(tx, request.target)
        if problems:
            raise InvalidInput(f"maintenance of {host.name} was not accepted", problems=problems)
        until = sessions.parse_end(request.until, now)
        found = forecast(tx, host, self._drivers, allow_stop=request.allow_stop)
        if found.refusals and not request.dry_run:
            raise error_of(host, found.refusals)
        if not request.confirmed and not request.dry_run:
            what = f"stop {', '.join(found.stops)} and " if found.stops else ""
            raise ConfirmationRequired(f"this will {what}move {len(found.moves)} VMs off {host.name}", hint="confirm in the dialog, or give --yes")
        return Prepared(
            target=host.name, target_ref=f"host:{host.id}", plan=_plan(host, found, request.allow_stop),
            leases=(Lease("cluster", host.cluster_id, shared=True), Lease("host", host.id)),
            parameters={
                "reason": clean(request.reason.strip(), sessions.REASON_LIMIT), "ticket": clean(request.ticket.strip(), sessions.TICKET_LIMIT),
                "until": until.isoformat() if until else "", "allow_stop": request.allow_stop,
            },
        )

    def _began(self, tx: Session, op: OperationFacts) -> None:
        preparing.begin(tx, op, self._drivers)

    def _succeeded(self, tx: Session, op: OperationFacts, results: Mapping[str, Any]) -> None:
        _forget(tx, op)

    def _failed(self, tx: Session, op: OperationFacts, error: ErrorRecord, step: str) -> None:
        """A host is never left preparing without somebody at work on it (ENG-7)."""
        session = _forget(tx, op)
        host = transitions.lock(tx, _host_id(op))
        if session is not None and host.resource_state in (ResourceState.PREPARE.value, ResourceState.ERROR_IN_PREPARE.value):
            transitions.move(
                tx, host, HostEvent.EXHAUSTED, self._drivers.clock.now(), level="error", operation_id=op.id,
                text=f"{host.name} could not be prepared for maintenance: {error.message}",
            )
            host.error = error.message

    def _cancelled(self, tx: Session, op: OperationFacts) -> None:
        """Back to where it began (MNT-1), if its link is up and its own mode could be left; else it waits for that in error."""
        session = _forget(tx, op)
        host = transitions.lock(tx, _host_id(op))
        if session is None or host.resource_state not in {state.value for state in MAINTENANCE_STATES}:
            return
        stuck = "" if host.connection_state == ConnectionState.UP.value else f"its link is {host.connection_state}"
        if preparing.own_mode_is_left(tx, op) is False:
            stuck = "its hypervisor's own maintenance mode could not be left"
        if not stuck:
            comeback.come_back(tx, host.id, self._drivers.clock.now(), operation_id=op.id)
        elif host.resource_state in (ResourceState.PREPARE.value, ResourceState.ERROR_IN_PREPARE.value):
            host.error = f"its preparation was cancelled, but {stuck}; cancel its maintenance once that is mended"
            transitions.move(tx, host, HostEvent.EXHAUSTED, self._drivers.clock.now(), text=f"{host.name}: {host.error}", level="error",
                             operation_id=op.id)


def _plan(host: HostRow, found: Forecast, allow_stop: bool) -> Any:
    changes = [f"{host.name} takes no new VM, and is emptied"]
    changes += [f"{move.vm} moves to {move.destination}" for move in found.moves if move.destination]
    consequences = [blocker.text for blocker in found.warnings]
    if found.moves:
        consequences.append(f"about {found.estimate_s:.0f} s, {found.parallel} migrations at once")
    return planned(host.name, changes=changes, consequences=consequences, refusals=[single_error(one, host) for one in found.refusals])


def _prepare_cancel(tx: Session, request: face.CancelMaintenance, user: str, maintain: OperationKind) -> Prepared:
    host = sessions.find_host(tx, request.target)
    refusals: list[FleetError] = []
    running = active_on(tx, maintain.kind, f"host:{host.id}")
    if running is None and ResourceState(host.resource_state) not in MAINTENANCE_STATES:
        refusals.append(WrongState(
            f"{host.name} is {host.resource_state}; there is no maintenance to cancel", state=host.resource_state,
            allowed=sorted(state.value for state in MAINTENANCE_STATES),
        ))
    if not request.confirmed and not request.dry_run:
        refusals.append(ConfirmationRequired(f"this ends the maintenance of {host.name}", hint="confirm in the dialog, or give --yes"))
    back = ResourceState.DISABLED.value if host.came_from == ResourceState.DISABLED.value else ResourceState.ENABLED.value
    plan = planned(
        host.name, changes=[f"{host.name} becomes {back}"], refusals=refusals,
        consequences=["migrations in flight end first, queued ones are dropped", "VMs that were moved stay where they are; B migrates them back"],
    )
    is_ready = host.resource_state == ResourceState.MAINTENANCE.value  # then it is at its very end, and is waited for
    if running is not None and not is_ready and not refusals and not request.dry_run:
        ask_to_stop(tx, running, maintain, user)
    return Prepared(
        target=host.name, target_ref=f"host:{host.id}", plan=plan,
        leases=(Lease("cluster", host.cluster_id, shared=True), Lease("host", host.id)),
    )


def _announcing(drivers: Drivers) -> OperationKind:
    def prepare(tx: Session, request: face.AnnounceMaintenance, user: str) -> Prepared:
        now, host = drivers.clock.now(), sessions.find_host(tx, request.target)
        session = sessions.open_of(tx, host.id)
        if (session is None or request.reason.strip()) and (problems := list(sessions.reason_problems(request.reason))):
            raise InvalidInput(f"maintenance of {host.name} was not announced", problems=problems)
        if len(request.text) > announce.TEXT_LIMIT:
            raise InvalidInput("the text is too long", problems=[Problem("text", f"{announce.TEXT_LIMIT} characters are allowed")])
        until = sessions.parse_end(request.until, now)
        owners = announce.recipients(tx, host.id, drivers.mail)
        refusals = list(_no_mail(drivers, host, owners))
        if not refusals and not request.dry_run:
            if session is None:
                hypervisor = tx.get_one(ClusterRow, host.cluster_id).hypervisor
                session = sessions.begin(
                    tx, host, hypervisor, step=face.Step.ANNOUNCE, reason=clean(request.reason.strip(), sessions.REASON_LIMIT), ticket="",
                    owner=user, now=now, planned_end=until,
                )
            elif until is not None or request.reason.strip():
                session.reason = clean(request.reason.strip(), sessions.REASON_LIMIT) or session.reason
                session.planned_end, session.overrun_told = until or session.planned_end, session.overrun_told and until is None
        vms = {vm.name for owned in owners.values() for vm in owned}
        return Prepared(
            target=host.name, target_ref=f"host:{host.id}",
            plan=planned(host.name, changes=[f"mail to {to} about {len(owned)} VMs" for to, owned in owners.items()],
                         consequences=[f"{len(owners)} owners of {len(vms)} running VMs get a mail"], refusals=refusals),
            parameters={"session": session.id if session is not None else "", "text": clean_text(request.text)},
        )

    return OperationKind(
        kind="host.announce", title="announce maintenance", request=face.AnnounceMaintenance, prepare=prepare,
        steps=(Step("send", announce.send, attempts=3, retry_s=5.0),),
    )


def clean_text(text: str) -> str:
    """Several lines, each without control characters."""
    return "\n".join(clean(line) for line in text.splitlines())


def _no_mail(drivers: Drivers, host: HostRow, owners: Mapping[str, Any]) -> Iterable[FleetError]:
    if not drivers.mail.server or not drivers.mail.sender:
        yield WrongState("no mail server is set", hint="start fleetd with --smtp-server and --mail-from", state="no-mail", allowed=[])
    if not owners:
        yield NotFound(f"no owner of a VM that runs on {host.name} has a mail address", hint="give the VMs owners, or set --mail-domain")


def _host_id(op: OperationFacts) -> str:
    return op.target_ref.removeprefix("host:")


def _at_work(tx: Session, op: OperationFacts) -> None:
    session = sessions.open_of(tx, _host_id(op))
    if session is not None:
        session.operation_id = op.id
        session.step = face.Step.CANCEL.value
        sessions.changed(tx, session, operation_id=op.id)


def _forget(tx: Session, op: OperationFacts) -> Any:
    return comeback.forget_operation(tx, op.id)


__all__ = ["Maintain", "operations"]
