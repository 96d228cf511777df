"""How a verb is carried out: plan, confirmation after its danger, submission, and what the person then sees.

``changes`` on one thing is sent at once and the toast names its undo. Anything stronger, or on several things, first
fetches what would happen (a dry run) and states it; the request ids are made before the dialog opens, so that sending twice does it once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fleet_tui.actions import Action
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.operations import OperationRecord, OperationRequest, Plan, Submitted
from fleet_tui.screens import dialogs

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session


@dataclass(frozen=True, slots=True)
class Job:
    """One row and the request made for it."""

    label: str
    request: Any
    plan: Plan | None = None
    refusal: str = ""
    deed: str = ""
    """What is said of it where no plan does."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the requests sent."""

    submitted: tuple[Submitted, ...]
    refused: tuple[str, ...]


OPTIONS = {
    "instance.delete": (("keep_disk", "keep the data disk"), ("keep_snapshots", "keep its snapshots")),
    "vm.destroy": (("keep_disks", "keep its disks"),),
}
"""What can be ticked when a verb is confirmed: fields of its request."""

_DANGERS = ("safe", "changes", "disruptive", "destructive")


def begin(screen: FleetScreen, action: Action, rows: Sequence[Any], adjust: Callable[[Any], Any] | None = None) -> None:
    """Carry out ``action`` on these rows. ``adjust`` completes each request (a snapshot to go back to)."""
    assert action.request is not None
    jobs = []
    for row in rows:
        request = action.request(row, uuid.uuid4().hex)
        jobs.append(Job(_label(row), adjust(request) if adjust else request, deed=_deed(row) if isinstance(row, OperationRecord) else ""))
    danger = _danger(action, rows)
    if danger == "changes" and len(jobs) == 1:
        _send(screen, action, jobs, frozenset())
        return
    screen.ask(lambda session: _plan(session, jobs), lambda planned: _confirm(screen, action, planned, danger), group="plan")


def _danger(action: Action, rows: Sequence[Any]) -> str:
    """What is done again is as dangerous as it was; it may have been confirmed weeks ago, and by somebody else."""
    if action.method != "operations.retry":
        return action.danger
    return max((METHODS[row.kind].danger if row.kind in METHODS else action.danger for row in rows), key=_DANGERS.index)


def _deed(row: OperationRecord) -> str:
    return f"{row.title} {row.target}, as {row.user} asked for it on {row.submitted_at:%Y-%m-%d at %H:%M} UTC and with what was chosen then"


def _label(row: Any) -> str:
    return str(next((value for name in ("label", "target", "name", "host", "owner") if (value := getattr(row, name, None))), None) or row.id)


def _plan(session: Session, jobs: Sequence[Job]) -> list[Job]:
    """Ask for each what would happen; nothing is changed by it."""
    planned = []
    for job in jobs:
        if not isinstance(job.request, OperationRequest):
            planned.append(job)
            continue
        try:
            plan = session.submit(replace(job.request, dry_run=True)).plan
            refusal = plan.refusals[0].message if plan and plan.refusals else ""
            planned.append(replace(job, plan=plan, refusal=refusal))
        except FleetError as error:
            planned.append(replace(job, refusal=error.message))
    return planned


def _confirm(screen: FleetScreen, action: Action, jobs: list[Job], danger: str) -> None:
    accepted = [job for job in jobs if not job.refusal]
    refusals = [job.refusal if job.label in job.refusal else f"{job.label}: {job.refusal}" for job in jobs if job.refusal]
    if not accepted:
        screen.say(f"{action.title}: {refusals[0]}" + (f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""), "warning")
        return
    destructive = danger == "destructive"
    many = len(accepted) > 1
    options = OPTIONS.get(action.id, ())
    left_out = [f"{len(refusals)} of the {len(jobs)} left out:"] if refusals else []

    def retell(ticked: frozenset[str], tell: Callable[[Sequence[str]], None]) -> None:
        chosen = [replace(job, request=replace(job.request, **dict.fromkeys(ticked, True))) for job in accepted]
        screen.ask(lambda session: _plan(session, chosen), lambda planned: tell(_consequences(action, planned) + left_out), group="plan")

    dialogs.confirm(
        screen.app,
        dialogs.Question(
            title=f"{action.title} {len(accepted)} {_plural(action)}?" if many else f"{action.title} {accepted[0].label}?",
            verb=action.title,
            consequences=_consequences(action, accepted) + left_out,
            refusals=refusals[:6] + ([f"and {len(refusals) - 6} more"] if len(refusals) > 6 else []),
            typed=(str(len(accepted)) if many else accepted[0].label) if destructive else "",
            options=options,
            retell=retell if options else None,
            key="y",
            refuse="Leave it" if action.title.startswith("Cancel") else "Cancel",
            destructive=destructive,
        ),
        lambda answer: _send(screen, action, accepted, answer.options) if answer.yes else None,
    )


def _plural(action: Action) -> str:
    return f"{action.aims}s" if action.aims else "objects"


def _consequences(action: Action, jobs: Sequence[Job]) -> list[str]:
    """The consequences of one, or the names and common consequences of several."""
    if len(jobs) == 1:
        plan = jobs[0].plan
        return [*plan.consequences, *plan.changes] if plan else [jobs[0].deed or f"{jobs[0].label}: {action.tooltip}"]
    names = ", ".join(job.label for job in jobs[:12]) + (f" and {len(jobs) - 12} more" if len(jobs) > 12 else "")
    said = [names]
    if jobs[0].plan is not None:
        said += [f"the same for each; for {jobs[0].label}:", *jobs[0].plan.consequences, *jobs[0].plan.changes]
        said.append(f"{len(jobs)} operations, one each; any can be cancelled.")
    else:
        said.append(action.tooltip)
    return said


def _send(screen: FleetScreen, action: Action, jobs: Sequence[Job], options: frozenset[str]) -> None:
    """Submit each. A request that was confirmed says so; the daemon refuses one that does not."""

    def work(session: Session) -> Outcome:
        submitted, refused = [], []
        for job in jobs:
            request = job.request
            if hasattr(request, "confirmed"):
                request = replace(request, confirmed=True)
            if hasattr(request, "confirm"):
                request = replace(request, confirm=job.label, **dict.fromkeys(options, True))
            try:
                reply = session.submit(request)
                submitted.append(reply if isinstance(reply, Submitted) else Submitted(reply if isinstance(reply, OperationRecord) else None))
            except FleetError as error:
                refused.append(screen.worded(error))
        return Outcome(tuple(submitted), tuple(refused))

    screen.ask(work, lambda outcome: _tell(screen, action, jobs, outcome))


def _tell(screen: FleetScreen, action: Action, jobs: Sequence[Job], outcome: Outcome) -> None:
    if outcome.refused:
        more = f" (and {len(outcome.refused) - 1} more)" if len(outcome.refused) > 1 else ""
        screen.say(f"{action.title}: {outcome.refused[0]}{more}", "error")
    if not outcome.submitted:
        return
    if len(jobs) > 1:
        shown = " · 7 shows them" if outcome.submitted[0].operation is not None else ""
        screen.say(f"{action.title}: {len(outcome.submitted)} accepted{shown}")
    elif outcome.submitted[0].deduplicated:
        screen.say(f"{action.title} {jobs[0].label}: already under way, shown here")
    else:
        undo = f" · {action.undo_text}" if action.undo_text else ""
        screen.say(f"{action.title} {jobs[0].label}: accepted{undo}")
    screen.submitted(action, outcome.submitted)
