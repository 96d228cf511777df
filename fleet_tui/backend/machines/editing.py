"""Tags, owners and protection of a VM: changed at once, whatever it does meanwhile."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InvalidInput, Problem, WrongState
from fleet_tui.backend.machines import EditVm, vms
from fleet_tui.backend.machines.rows import VmRow

_MOST, _LONGEST = 50, 64


def edit(tx: Session, request: EditVm, now: datetime, user: str) -> VmRow:
    """Raises InvalidInput for tags and owners that are no words, WrongState when it was changed since ``version``."""
    problems = word_problems(tags=request.tags, owners=request.owners)
    if problems:
        raise InvalidInput(f"the change of {request.target} was refused: {problems[0].field}: {problems[0].message}", problems=problems)
    vm = vms.locked(tx, vms.find(tx, request.target).id)
    if request.version and request.version != vm.version:
        raise WrongState(f"{vm.name} was changed meanwhile", hint="look at it again, then change it", state=vm.state, version=vm.version)
    if request.tags is not None:
        vm.tags = sorted(set(request.tags))
    if request.owners is not None:
        vm.owners = list(dict.fromkeys(request.owners))
    if request.destroy_protected is not None:
        vm.destroy_protected = request.destroy_protected
    if request.ha is not None:
        vm.ha = request.ha
    vms.changed(tx, vm, now, f"{vm.name} was changed by {user}")
    return vm


def word_problems(**given: tuple[str, ...] | None) -> list[Problem]:
    """What is wrong with fields that are words, by name; ``None`` is not looked at."""
    said = f"at most {_MOST} words of 1 to {_LONGEST} printable characters"
    return [Problem(name, said) for name, values in given.items() if values is not None and not _are_words(values)]


def _are_words(values: tuple[str, ...]) -> bool:
    return len(values) <= _MOST and all(0 < len(value) <= _LONGEST and value.isprintable() and value.strip() == value for value in values)
