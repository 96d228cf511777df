"""Setup actions of a template while they are edited: what was changed, in which order they run, and what is to be saved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.action_kinds import KINDS, STAGES, ActionKind, secret_places
from fleet_tui.backend.instances.fields import Field
from fleet_tui.backend.instances.profiles import KEPT

_TASK = re.compile(r"^- +name: *(.+)$", re.MULTILINE)
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Drafted:
    """One action of the draft, in the order in which they run."""

    key: str
    action: SetupAction
    place: int
    """From 1."""
    is_changed: bool
    """Whether it is new, or not as it is on record."""
    wrong: str = ""
    """Why the daemon refused it."""

    @property
    def label(self) -> str:
        return self.action.name

    @property
    def status(self) -> str:
        return "failed" if self.wrong else "attention" if self.is_changed else "well" if self.action.enabled else "off"


class Draft:
    """The list. Nothing in it is sent before the person saves; everything else on the template is none of its business."""

    def __init__(self) -> None:
        self._made = 0
        self.begin(())

    def begin(self, actions: Sequence[SetupAction]) -> None:
        """Take what is on record; edits are gone. An action that was there before keeps its key, wherever it stands now."""
        self._base = {}
        for action in actions:
            copy = next(n for n in range(1, len(actions) + 1) if f"{action.id}/{n}" not in self._base)
            self._base[f"{action.id}/{copy}"] = action
        self._keys = list(self._base)
        self._now = dict(self._base)
        self._wrong: dict[str, str] = {}

    @property
    def actions(self) -> tuple[SetupAction, ...]:
        """As they are to be saved."""
        return tuple(self._now[key] for key in self._keys)

    @property
    def base(self) -> tuple[SetupAction, ...]:
        return tuple(self._base.values())

    @property
    def is_edited(self) -> bool:
        return self.actions != self.base

    def rows(self) -> list[Drafted]:
        """In the order in which they run: by stage, inside a stage as they are listed (ACT-3)."""
        return [
            Drafted(key, self._now[key], place, self._now[key] != self._base.get(key), self._wrong.get(key, ""))
            for place, key in enumerate(sorted(self._keys, key=lambda key: _stage(self._now[key])), 1)
        ]

    def words(self) -> list[str]:
        """What was changed, a few words each."""
        said = [f"{self._now[key].name} added" for key in self._keys if key not in self._base]
        said += [f"{action.name} deleted" for key, action in self._base.items() if key not in self._now]
        for key in self._keys:
            before, now = self._base.get(key), self._now[key]
            if before is not None and before != now:
                switched = replace(before, enabled=now.enabled) == now
                said.append(f"{now.name} {('switched on' if now.enabled else 'switched off') if switched else 'changed'}")
        kept = [key for key in self._base if key in self._now]
        return [*said, "another order"] if [key for key in self._keys if key in self._base] != kept else said

    def get(self, key: str) -> SetupAction | None:
        """As it stands now; ``None`` for one that is gone."""
        return self._now.get(key)

    def put(self, action: SetupAction, key: str = "") -> str:
        """Change one that is there, or add one at the end; gives its key."""
        if not key:
            self._keys.append(key := self._new())
        elif key not in self._now:
            raise KeyError(key)
        self._now[key] = action
        self._wrong.pop(key, None)
        return key

    def toggle(self, key: str) -> None:
        self._now[key] = replace(self._now[key], enabled=not self._now[key].enabled)

    def move(self, key: str, by: int) -> bool:
        """Before or after its neighbour in the same stage. False where there is none."""
        mates = [other for other in self._keys if _stage(self._now[other]) == _stage(self._now[key])]
        at = mates.index(key) + by
        if not 0 <= at < len(mates):
            return False
        here, there = self._keys.index(key), self._keys.index(mates[at])
        self._keys[here], self._keys[there] = self._keys[there], self._keys[here]
        return True

    def duplicate(self, key: str) -> str:
        """The same after it, under another name. It keeps the id, by which the daemon finds its secrets."""
        action = self._now[key]
        names = {other.name for other in self._now.values()}
        stem = re.sub(r" \(\d+\)\Z", "", action.name)
        name = next(name for n in range(2, len(names) + 3) if (name := f"{stem} ({n})") not in names)
        fresh = self._new()
        self._keys.insert(self._keys.index(key) + 1, fresh)
        self._now[fresh] = replace(action, name=name)
        return fresh

    def remove(self, key: str) -> None:
        self._keys.remove(key)
        del self._now[key]

    def complain(self, problems: Mapping[str, str]) -> None:
        """Note what the daemon said of ``setup_actions.2.port``, by position from 1 as they were sent."""
        self._wrong = {}
        for field, said in problems.items():
            number = field.split(".")[1:2]
            if field.startswith("setup_actions.") and number and number[0].isdecimal() and 0 < int(number[0]) <= len(self._keys):
                self._wrong.setdefault(self._keys[int(number[0]) - 1], said)

    def _new(self) -> str:
        self._made += 1
        return f"new-{self._made}"


def _stage(action: SetupAction) -> int:
    return STAGES.index(action.stage) if action.stage in STAGES else len(STAGES)


def kind_of(action: SetupAction) -> ActionKind | None:
    return KINDS.get(action.kind)


def title_of(action: SetupAction) -> str:
    """Its kind in words."""
    kind = kind_of(action)
    return kind.title if kind is not None else action.kind


def what(action: SetupAction) -> str:
    """What it would do, on one line; secrets stay masked."""
    kind = kind_of(action)
    if kind is None:
        return "this program does not know its kind"
    masked = _masked(action)
    parts = [said for field in kind.parameters if (said := _word(field, masked.get(field.name)))]
    return " · ".join(parts)[:_LONGEST]


def _masked(action: SetupAction) -> dict[str, Any]:
    """Its parameters with a mask for every secret, also for one that was typed just now."""
    masked = {name: dict(value) if isinstance(value, Mapping) else value for name, value in action.parameters.items()}
    for place in list(secret_places(action.kind, action.parameters)):
        inner = masked
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = KEPT
    return masked


def _word(field: Field, value: Any) -> str:
    name, title = field.name, field.title
    if isinstance(value, bool):
        return f"{title}: {'yes' if value else 'no'}"
    if name == "tasks":
        tasks = [str(task.get("name") or task.get("run") or "task") for task in value] if isinstance(value, list) else _TASK.findall(str(value))
        return ", ".join(tasks) or f"{len(str(value).splitlines())} lines of YAML"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={said}" for key, said in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    text = str(value or "")
    if text == KEPT:
        return f"{title} {KEPT}"
    return f"{len(text.splitlines())} lines" if "\n" in text.strip() else text.strip()
