"""The verbs of instances, as operations of named steps (spec 4.4)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend import instances as face
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import Busy, ConfirmationRequired, FleetError, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.instances import hooks, orphans, prerequisites, renewals, ssl_settings, startup
from fleet_tui.backend.instances import steps as s
from fleet_tui.backend.instances.document import actions_document, made_with
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.links import VALIDATE
from fleet_tui.backend.instances.network_fields import SHARED_MACHINES
from fleet_tui.backend.instances.refusals import of_state
from fleet_tui.backend.instances.rows import InstanceRow, SnapshotRow
from fleet_tui.backend.instances.settings import find_row
from fleet_tui.backend.instances.snapshots import (
    check_disk,
    chosen_deleted,
    copy_disk,
    delete_chosen,
    delete_disk,
    delete_snapshots,
    grow_disk,
    leaving,
    prepare_deletion,
    prune_automatic,
    remove_unfinished,
    restore_disk,
    thaw,
)
from fleet_tui.backend.instances.stillness import freeze
from fleet_tui.backend.instances.templates import find_template, provision_refusal
from fleet_tui.backend.instances.virtual_networks import find_network
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.operations.catalogue import Lease, OperationKind, Prepared, Step, planned

_clock = SystemClock()
RENEWAL_S = 420.0
"""Longest renewal; the agent gives up earlier."""
_RUN_ACTIONS = frozenset({"provision", "reprovision", "retry", "replay-actions"})
"""Verbs that run the template's setup actions as they are now."""
Words = Callable[[Session, InstanceRow, Any], Iterable[str]]
Rule = Callable[[Session, InstanceRow, Any], Iterable[FleetError]]


def _prepare(action: str, changes: Words, consequences: Words = lambda tx, row, request: (), rule: Rule = lambda tx, row, request: (),
             keep: tuple[str, ...] = ()) -> Callable[[Session, Any, str], Prepared]:
    """Checks of a verb inside the submit transaction. ``keep`` names request fields the steps need."""

    def prepare(tx: Session, request: Any, user: str) -> Prepared:
        row = find_row(tx, request.target)
        refusals = [*of_state(action, row), *rule(tx, row, request)]
        network = find_network(tx, row.settings["virtual_network"])
        if action in _RUN_ACTIONS and (why := provision_refusal(find_template(tx, row.settings["template"]), network)):
            hint = "switch those actions off, or use a template or a virtual network that fits"
            refusals.append(InvalidInput(f"{action} of {row.label} is refused: {why}", problems=[Problem("template", why)], hint=hint))
        return Prepared(
            target=row.label, target_ref=f"instance:{row.id}",
            plan=planned(row.label, changes=changes(tx, row, request), consequences=consequences(tx, row, request), refusals=refusals),
            leases=(Lease("zone", network.provider, shared=True), Lease("instance", row.id)),
            parameters={name: getattr(request, name) for name in keep},
        )

    return prepare


def _confirmed(tx: Session, row: InstanceRow, request: Any) -> Iterable[FleetError]:
    if not request.confirmed and not request.dry_run:
        yield ConfirmationRequired(f"this interrupts {row.label}", hint="confirm in the dialog, or give --yes")


def _typed(tx: Session, row: InstanceRow, request: face.DeleteInstance) -> Iterable[FleetError]:
    if request.confirm != row.label and not request.dry_run:
        yield ConfirmationRequired(f"deleting {row.label} cannot be undone", hint=f"type its name: --confirm {shlex.quote(row.label)}")


def _snapshot_exists(tx: Session, row: InstanceRow, request: face.ReprovisionInstance) -> Iterable[FleetError]:
    yield from _confirmed(tx, row, request)
    if request.snapshot:
        found = tx.get(SnapshotRow, request.snapshot, with_for_update=True)
        if found is None or found.disk_id != row.disk_id:
            yield NotFound(f"{row.label} has no snapshot {request.snapshot!r}", hint=f"`fleet snapshot list {shlex.quote(row.label)}` shows them")
        elif (deletion := leaving(tx, found)) is not None:
            yield Busy(f"snapshot {found.id} of {row.label} is being deleted ({deletion.id})", hint="choose another one", holders=[deletion.id])


def _larger(tx: Session, row: InstanceRow, request: face.GrowDisk) -> Iterable[FleetError]:
    now, most = row.settings["data_disk.size_gb"], row.settings["data_disk.size_max_gb"]
    if request.size_gb <= now:
        why = f"{request.size_gb} GiB is not more than it has ({now}); a disk only grows"
    elif request.size_gb > most:
        why = f"{request.size_gb} GiB is more than its settings allow ({most}); raise data_disk.size_max_gb first"
    else:
        return
    yield InvalidInput(f"the data disk of {row.label} cannot become that large: {why}", problems=[Problem("size_gb", why)])


def _servable(tx: Session, row: InstanceRow, request: Any) -> Iterable[FleetError]:
    """Spec 4.8: what a certificate lacks is said before anything is done, all of it."""
    if problems := ssl_settings.missing(tx, row, _clock.now()):
        yield prerequisites.lacking(row.label, problems)


def _makeable(tx: Session, row: InstanceRow, request: Any) -> Iterable[FleetError]:
    """A machine, before the one there is goes."""
    try:
        prerequisites.check_application(tx, row)
    except FleetError as refused:
        yield refused
    yield from _servable(tx, row, request)


def _rebuildable(tx: Session, row: InstanceRow, request: face.ReprovisionInstance) -> Iterable[FleetError]:
    yield from _snapshot_exists(tx, row, request)
    yield from _makeable(tx, row, request)


def _reason(tx: Session, row: InstanceRow, request: face.SnapshotDisk) -> Iterable[FleetError]:
    if len(request.reason) > 200:
        yield InvalidInput("the reason is too long", problems=[Problem("reason", f"{len(request.reason)} characters; 200 are allowed")])
    if not row.disk_made:
        yield WrongState(f"{row.label} has no data disk yet", hint="provision it first", state=row.state)


def _second_deployer(tx: Session, row: InstanceRow, request: Any) -> Iterable[str]:
    """INS-1: allowed, after a warning that names the first."""
    if row.kind == "deployer":
        first = tx.scalar(select(InstanceRow.label).where(InstanceRow.kind == "deployer", InstanceRow.id != row.id))
        if first is not None:
            yield f"the fleet already has a deployer, {first}"


def _doubtful(tx: Session, row: InstanceRow, request: Any) -> Iterable[str]:
    """What may keep a certificate away, said before a machine is made or thrown away."""
    yield from (problem.message for problem in ssl_settings.doubts(tx, row))


def _warned(tx: Session, row: InstanceRow, request: Any) -> Iterable[str]:
    yield from _second_deployer(tx, row, request)
    yield from _doubtful(tx, row, request)


def _made(tx: Session, row: InstanceRow, request: Any) -> Iterable[str]:
    yield f"a machine for {row.label}, running {row.image or 'the newest image'}"
    yield "its data disk, kept from before" if row.disk_made else f"a data disk of {row.settings['data_disk.size_gb']} GiB"


def _grown(tx: Session, row: InstanceRow, request: face.GrowDisk) -> Iterable[str]:
    yield f"the data disk of {row.label} grows from {row.settings['data_disk.size_gb']} to {request.size_gb} GiB, for good"
    yield "its application goes on meanwhile"


def _removed(tx: Session, row: InstanceRow, request: Any) -> Iterable[str]:
    yield f"the machine of {row.label} and its OS disk go"
    yield "the data disk stays, and goes on taking room"


def _down(tx: Session, row: InstanceRow, request: Any) -> Iterable[str]:
    yield f"{row.label} stops answering{f' at {row.url}' if row.url else ''}"


def _down_meanwhile(tx: Session, row: InstanceRow, request: Any) -> Iterable[str]:
    yield from _down(tx, row, request)
    yield from _doubtful(tx, row, request)


def _rebuilt(tx: Session, row: InstanceRow, request: face.ReprovisionInstance) -> Iterable[str]:
    yield f"{row.label} gets a new machine; its data disk {f'is set back to snapshot {request.snapshot}' if request.snapshot else 'is kept as it is'}"
    if row.pending:
        yield f"{len(row.pending)} waiting changes apply: {', '.join(row.pending)}"


def _erased(tx: Session, row: InstanceRow, request: face.DeleteInstance) -> Iterable[str]:
    yield f"the record of {row.label}"
    if row.disk_made:
        used = f", {row.disk_used_bytes / 1024**2:.0f} MiB used" if row.disk_used_bytes else ""
        yield f"its data disk ({row.settings['data_disk.size_gb']} GiB{used}) {'is kept' if request.keep_disk else 'is erased'}"


def _says(template: str) -> Words:
    return lambda tx, row, request: (template.format(row.label),)


def _actions(tx: Session, row: InstanceRow, drivers: Drivers) -> Mapping[str, Any]:
    template, network = made_with(tx, row)
    return {"actions": actions_document(template, drivers), "machine": {"is_whole": network["provider"] not in SHARED_MACHINES}}


def _stop_s(drivers: Drivers) -> float:
    return drivers.timeouts.stop_s + 15.0


_STOP_APPLICATION = Step(hooks.STOP_STEP, s.tell_agent("shutdown", _stop_s, needed=False))
_STARTUP = (Step("boot", startup.boot), Step("start-up", startup.start_up), Step("health-check", startup.health_check))


def _provisioning(remove: s.Undo) -> tuple[Step, ...]:
    return (
        Step(VALIDATE, s.validate),
        Step("ensure-data-disk", s.ensure_disk, undo=s.remove_new_disk, undo_begun=True, attempts=2),
        Step("create-machine", s.create_machine, undo=remove, undo_begun=True, attempts=2),
        Step("attach-data-disk", s.attach_disk),
        Step("assign-address", s.assign_address),
        *_STARTUP,
    )


_DEPROVISIONING = (
    _STOP_APPLICATION,
    Step("unmount", s.power_off, attempts=2),
    Step("detach-data-disk", s.detach_disk, attempts=2),
    Step("terminate-machine", s.terminate_machine, attempts=2),
    Step("release-address", s.release_address),
)


def _kind(action: str, title: str, steps: tuple[Step, ...], request: type[OperationRequest], prepare: Callable[[Session, Any, str], Prepared],
          extra: hooks.Extra | None = None, danger: str = "changes", undo: str = "") -> OperationKind:
    return OperationKind(
        kind=f"instance.{action}", title=title, steps=steps, prepare=prepare, request=request, danger=danger, undo_text=undo,
        began=hooks.begin(action), succeeded=hooks.succeed(action, extra), failed=hooks.fail(action), cancelled=hooks.cancel(action),
    )


OPERATIONS: tuple[OperationKind, ...] = (
    _kind("provision", "provision", _provisioning(s.remove_machine_unless_started), face.ProvisionInstance,
          _prepare("provision", _made, _warned, _makeable, keep=("skip_dns_check",)), hooks.applied,
          undo="deprovision (D) takes the machine away again; the data stays"),
    _kind("deprovision", "deprovision", (*_DEPROVISIONING, Step("note-storage", s.note_storage)), face.DeprovisionInstance,
          _prepare("deprovision", _removed, _down, _confirmed, keep=("force",)), hooks.deprovisioned, "disruptive", "provision (P) brings it back"),
    _kind("reprovision", "reprovision", (
              Step(hooks.CHECK_STEP, prerequisites.check), *_DEPROVISIONING, Step("restore-data-disk", restore_disk),
              *_provisioning(s.remove_machine)),
          face.ReprovisionInstance,
          _prepare("reprovision", _rebuilt, _down_meanwhile, _rebuildable, keep=("snapshot", "skip_dns_check")), hooks.applied, "disruptive"),
    _kind("stop", "stop", (_STOP_APPLICATION, Step("power-off", s.power_off, attempts=2)), face.StopInstance,
          _prepare("stop", _says("{} stops; machine and data stay"), _down, _confirmed), danger="disruptive", undo="start (S) brings it back"),
    _kind("start", "start", _STARTUP, face.StartInstance, _prepare("start", _says("{} starts")), hooks.applied),
    _kind("restart-app", "restart application", (
              Step("restart-application", s.tell_agent("restart-app", lambda d: d.timeouts.stop_s + d.timeouts.start_s)),
              Step("health-check", startup.health_check)),
          face.RestartApplication, _prepare("restart-app", _says("the application of {} restarts"), _down, _confirmed), danger="disruptive"),
    _kind("replay-actions", "replay setup actions", (
              Step("replay-actions", s.tell_agent("replay-actions", lambda d: d.timeouts.action_s * 4, _actions)),),
          face.ReplayActions, _prepare("replay-actions", _says("the setup actions of {} run again"))),
    _kind("retry", "retry start-up", (_STOP_APPLICATION, Step("power-off", s.power_off, attempts=2), *_STARTUP), face.RetryStartup,
          _prepare("retry", _says("{} goes through its start-up again, on the same machine"), rule=_servable), hooks.applied),
    _kind("grow", "grow data disk", (
              Step("grow-disk", grow_disk, attempts=2),
              Step("grow-file-system", s.tell_agent("grow-disk", lambda d: 300.0, needed=False, lasting=True))),
          face.GrowDisk, _prepare("grow", _grown, rule=_larger, keep=("size_gb",)), hooks.grown),
    replace(
        _kind("renew-certificate", "renew certificate", (
                  Step("renew", s.tell_agent("renew-certificate", lambda d: RENEWAL_S)), Step("look", renewals.look_for_it)),
              face.RenewCertificate,
              renewals.remembering(
                  _prepare("renew-certificate", _says("{} has a new certificate issued, and serves with it"), rule=renewals.refusals)),
              renewals.renewed),
        failed=renewals.failed,
    ),
    _kind("snapshot", "snapshot", (
              Step("freeze", freeze, undo=thaw),
              Step("copy", copy_disk, undo=remove_unfinished, undo_begun=True), Step("thaw", thaw), Step("prune", prune_automatic)),
          face.SnapshotDisk, _prepare(
              "snapshot", _says("a copy of the data disk of {} is kept"), _says("{} pauses while its disk is copied"), _reason, keep=("reason",)),
          hooks.snapshot_taken),
    _kind("delete", "delete", (
              Step(hooks.CHECK_DISK_STEP, check_disk, attempts=2), Step("delete-snapshots", delete_snapshots),
              Step("delete-data-disk", delete_disk, attempts=2)),
          face.DeleteInstance, _prepare("delete", _erased, rule=_typed, keep=("keep_disk", "keep_snapshots")), hooks.deleted, "destructive"),
    OperationKind(
        kind="snapshot.delete", title="delete snapshot", steps=(Step("delete-snapshot", delete_chosen, attempts=2),), prepare=prepare_deletion,
        request=face.DeleteSnapshot, danger="destructive", succeeded=chosen_deleted,
    ),
    *orphans.OPERATIONS,
)
"""Every kind this slice adds to the catalogue."""
