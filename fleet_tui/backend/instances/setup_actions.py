"""Setup actions of a template as they are saved, shown and handed out: everything wrong at once, secrets sealed.

A secret is sealed for its action (:class:`Seal`), stands in the parameters as ``{"sealed": …, "stamp": …}``, is shown as :data:`KEPT`, and
is opened only into the start-up document. Whether it is the one it was is told by the stamp: sealed text is another under another key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from fleet_tui.backend.errors import InternalError, InvalidInput, Problem, WrongState
from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.action_kinds import KINDS, STAGES, ActionKind, secret_places
from fleet_tui.backend.instances.fields import parse, parsed_values
from fleet_tui.backend.instances.marked import NotYaml
from fleet_tui.backend.instances.profiles import KEPT
from fleet_tui.backend.instances.tasks import LIMIT, read_tasks
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import new_id
from fleet_tui.backend.text import clean

ABSENT: Mapping[str, str] = {"sealed": ""}
"""Stands in parameters for a secret that a blueprint could not carry, until somebody enters it."""
MOST = 200
"""Actions of one template."""
_SECRET_LIMIT = 64 * 1024


class Seal:
    """Seals and opens secrets of one template's actions."""

    def __init__(self, sealer: Sealer, template_id: str) -> None:
        self._sealer, self._template = sealer, template_id

    def seal(self, action: str, place: Sequence[str], secret: str) -> dict[str, str]:
        return {"sealed": self._sealer.seal(secret.encode(), self._context(action, place)), "stamp": new_id("s")}

    def open(self, action: str, place: Sequence[str], sealed: Mapping[str, str]) -> str:
        return self._sealer.open(sealed["sealed"], self._context(action, place)).decode()

    def _context(self, action: str, place: Sequence[str]) -> str:
        return f"template:{self._template}:{action}:{'.'.join(place)}"


def checked(
    actions: Sequence[SetupAction], known: Sequence[SetupAction] = (), seal: Seal | None = None, *, may_lack_secrets: bool = False
) -> tuple[SetupAction, ...]:
    """The actions as they are stored: parameters in their final form, secrets sealed, each with an id.

    Args:
        known: those on record; an action with the id of one keeps the secrets that it gives as :data:`KEPT`.
        seal: needed where there are secrets.
        may_lack_secrets: secrets given as :data:`KEPT` of which nothing is on record are :data:`ABSENT`, and to be entered later.

    Raises:
        InvalidInput: everything wrong with any of them, by position from 1: ``setup_actions.2.port``.
    """
    problems: list[Problem] = []
    if len(actions) > MOST:
        problems.append(Problem("setup_actions", f"{len(actions)} actions; {MOST} are allowed"))
    by_id = {action.id: action for action in known if action.id}
    used: set[str] = set()
    result: list[SetupAction] = []
    for number, action in enumerate(actions[:MOST], 1):
        where = f"setup_actions.{number}"
        kind = KINDS.get(action.kind)
        if kind is None:
            problems.append(Problem(where, f"{clean(action.kind, 60)} is not a kind of action; kinds are {', '.join(KINDS)}"))
            continue
        if action.stage not in STAGES:
            problems.append(Problem(f"{where}.stage", f"{clean(action.stage, 40)!r} is not a stage; stages are {', '.join(STAGES)}"))
        before = by_id.get(action.id)
        if before is not None and before.kind != action.kind:
            before = None
        own = action.id if before is not None and action.id not in used else new_id("a")
        used.add(own)
        action = replace(action, parameters=_with_pairs(kind, action.parameters))
        kept = _kept(action, before)
        if may_lack_secrets:
            kept = {place: ABSENT if found is None else found for place, found in kept.items()}
        parameters, wrong = _parameters(kind, action.parameters, kept)
        problems += [Problem(f"{where}.{problem.field}", f"{clean(action.name or action.kind, 100)}: {problem.message}") for problem in wrong]
        fresh = SetupAction(action.kind, clean(action.name or kind.title, 100), parameters, kind.stage or action.stage, action.enabled, own)
        if not wrong:
            result.append(_sealed(fresh, kept, before, seal))
    if problems:
        raise InvalidInput("the template's setup actions are not acceptable", problems=problems)
    return tuple(result)


def shown(action: SetupAction) -> SetupAction:
    """As everybody may see it."""
    return _mapped(action, lambda place, value: "" if value == ABSENT else KEPT)


def opened(action: SetupAction, seal: Seal, learn: Callable[..., None] = lambda *secrets: None) -> SetupAction:
    """With its secrets, for the agent. ``learn`` is told each, so that no log shows one."""

    def clear(place: tuple[str, ...], value: Any) -> str:
        if value == ABSENT:
            raise WrongState(f"the action {action.name} lacks its {'.'.join(place)}", hint="enter it in the template")
        secret = _secret(seal, action, place, value)
        learn(secret, *(line for line in secret.splitlines() if len(line) >= 16 and "-----" not in line))
        return secret

    return _mapped(action, clear)


def resealed(actions: Sequence[SetupAction], seal: Seal, into: Seal) -> tuple[SetupAction, ...]:
    """For another template: new ids, and the same secrets sealed for them."""
    made = []
    for action in actions:
        own = new_id("a")

        def turn(place: tuple[str, ...], value: Any, action: SetupAction = action, own: str = own) -> Any:
            return ABSENT if value == ABSENT else into.seal(own, place, _secret(seal, action, place, value))

        made.append(replace(_mapped(action, turn), id=own))
    return tuple(made)


def sealed_all(actions: Sequence[SetupAction], seal: Seal) -> tuple[SetupAction, ...]:
    """With every secret sealed that an earlier program kept in the clear; the same actions where there is none."""
    made = []
    for action in actions:
        clear = [place for place in secret_places(action.kind, action.parameters) if not isinstance(_at(action.parameters, place), Mapping)]
        own = action.id or new_id("a")

        def close(place: tuple[str, ...], value: Any, own: str = own) -> Any:
            return value if isinstance(value, Mapping) else seal.seal(own, place, str(value))

        made.append(replace(_mapped(action, close), id=own) if clear else action)
    return tuple(made)


def absent(action: SetupAction) -> tuple[str, ...]:
    """Places of secrets that are to be entered."""
    return tuple(".".join(place) for place in secret_places(action.kind, action.parameters) if _at(action.parameters, place) == ABSENT)


def comparable(actions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stored actions as they are to be compared: without their ids, and with stamps for secrets."""
    return [{**action, "id": "", "parameters": _stamped(action["parameters"])} for action in actions]


def _stamped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get("stamp", "") if "sealed" in value else {name: _stamped(item) for name, item in value.items()}
    return value


def whole_machine(actions: Sequence[SetupAction]) -> tuple[SetupAction, ...]:
    """Those that run and change the machine as a whole."""
    return tuple(action for action in actions if action.enabled and action.kind in KINDS and KINDS[action.kind].is_whole)


def _with_pairs(kind: ActionKind, given: Mapping[str, Any]) -> dict[str, Any]:
    """Pairs typed as lines turned into a mapping, so that secrets among them are seen; what cannot be turned is left to its field's complaint."""
    found = dict(given)
    for field in kind.parameters:
        if field.kind == "pairs" and isinstance(found.get(field.name), str):
            value, complaint = parse(field, found[field.name])
            found[field.name] = found[field.name] if complaint else value
    return found


def _kept(action: SetupAction, before: SetupAction | None) -> dict[tuple[str, ...], Any]:
    """Secrets that are to stay as they are, by place: what is on record for them, or ``None`` where nothing is.

    Those that were entered for one host are not on record for another: whoever changes where they go, or sends a file that does, has to know them.
    """
    if before is not None and _sent_to(before) != _sent_to(action):
        before = None
    return {
        place: _at(before.parameters, place) if before is not None else None
        for place in secret_places(action.kind, action.parameters) if _at(action.parameters, place) == KEPT
    }


def _sent_to(action: SetupAction) -> tuple[str, str]:
    """Scheme and host that an action sends its secrets to; empty for one that keeps them on its machine."""
    place = urlsplit(str(action.parameters.get("url") or "") if action.kind == "install_db_driver" else "")
    return place.scheme.lower(), place.netloc.lower()


def _parameters(kind: ActionKind, given: Mapping[str, Any], kept: Mapping[tuple[str, ...], Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Parameters parsed by their fields, with defaults for those not said."""
    defaults = {field.name: field.initial for field in kind.parameters}
    said = dict(given)
    tasks = said.pop("tasks") if kind.name == "run_tasks" and isinstance(said.get("tasks"), list) else None
    by_name = {name: field for name, field in kind.by_name.items() if (name,) not in kept and not (name == "tasks" and tasks is not None)}
    values = {name: value for name, value in {**defaults, **said}.items() if (name,) not in kept and not (name == "tasks" and tasks is not None)}
    parsed, problems = parsed_values(values, by_name)
    parsed |= {place[0]: KEPT for place in kept if len(place) == 1}
    if tasks is not None:
        parsed["tasks"], complaint = _listed_tasks(tasks)
        problems += [Problem("tasks", complaint)] if complaint else []
    missing = [place for place, found in kept.items() if found is None]
    where = " for that host" if kind.name == "install_db_driver" else ""
    problems += [Problem(".".join(place), f"is not on record{where}; enter it") for place in missing]
    wrong = {problem.field for problem in problems}
    problems += [problem for problem in _deeper(kind.name, parsed) if problem.field not in wrong]
    return parsed, problems


def _listed_tasks(tasks: list[Any]) -> tuple[list[dict[str, Any]], str]:
    """Tasks that came as JSON, not as text."""
    if len(repr(tasks)) > LIMIT:
        return [], "the task list is larger than 256 KiB"
    try:
        return read_tasks(tasks), ""
    except NotYaml as problem:
        return [], str(problem)


def _deeper(kind: str, parameters: Mapping[str, Any]) -> list[Problem]:
    """Checks that need a library the console does not load."""
    from fleet_tui.backend.certificates.authorities import authorities_complaint
    from fleet_tui.backend.secrets.ssh_keys import private_key_complaint, public_key_complaint

    checks: Mapping[str, tuple[str, Callable[[str], str]]] = {
        "add_authorized_key": ("key", public_key_complaint),
        "add_ssh_key": ("private_key", private_key_complaint),
        "add_ca_to_truststore": ("certificates", lambda pem: authorities_complaint(pem, datetime.now(UTC))),
    }
    problems = []
    if kind in checks:
        name, check = checks[kind]
        value = parameters.get(name)
        if isinstance(value, str) and value not in ("", KEPT) and (complaint := check(value)):
            problems.append(Problem(name, complaint))
    for place in secret_places(kind, parameters):
        if len(str(_at(parameters, place))) > _SECRET_LIMIT:
            problems.append(Problem(".".join(place), f"is longer than {_SECRET_LIMIT // 1024} KiB"))
    return problems


def _sealed(fresh: SetupAction, kept: Mapping[tuple[str, ...], Any], before: SetupAction | None, seal: Seal | None) -> SetupAction:
    def close(place: tuple[str, ...], value: Any) -> Any:
        if place in kept and (kept[place] == ABSENT or (before is not None and before.id == fresh.id and isinstance(kept[place], Mapping))):
            return kept[place]
        if seal is None:
            raise InternalError(f"a secret of the action {fresh.name} cannot be kept: nothing seals it")
        secret = _secret(seal, before, place, kept[place]) if place in kept and before is not None else str(value)
        return seal.seal(fresh.id, place, secret)

    return _mapped(fresh, close)


def _secret(seal: Seal, action: SetupAction, place: tuple[str, ...], value: Any) -> str:
    """A secret of an action in the clear. Earlier programs did not seal variables by their names."""
    return seal.open(action.id, place, value) if isinstance(value, Mapping) else str(value)


def _mapped(action: SetupAction, change: Callable[[tuple[str, ...], Any], Any]) -> SetupAction:
    """The action with each of its secrets replaced."""
    parameters = {name: dict(value) if isinstance(value, Mapping) else value for name, value in action.parameters.items()}
    for place in list(secret_places(action.kind, action.parameters)):
        around = parameters
        for name in place[:-1]:
            around = around[name]
        around[place[-1]] = change(place, around[place[-1]])
    return replace(action, parameters=parameters)


def _at(parameters: Mapping[str, Any], place: Sequence[str]) -> Any:
    found: Any = parameters
    for name in place:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
