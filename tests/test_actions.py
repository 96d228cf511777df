"""The one table: no clash, nothing reserved, nothing that the door does not know."""

from __future__ import annotations

import dataclasses

import pytest

from fleet_tui import actions, commands
from fleet_tui.actions import ACTIONS, RESERVED, SCREENS
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.identity import Role
from tests.fleet_stub import StubSession, instance, operation


@pytest.mark.parametrize("screen", SCREENS)
def test_a_key_means_one_thing_on_a_screen(screen: str) -> None:
    taken: dict[str, str] = {}
    for action in actions.of_screen(screen):
        for key in action.keys:
            if action.scope in actions.SHADOWING:
                continue
            assert taken.setdefault(key, action.id) == action.id, f"{key} on {screen}"


def test_no_reserved_key_is_bound() -> None:
    bound = {key for action in ACTIONS.values() for key in action.keys}
    assert not bound & RESERVED
    assert not [key for key in bound if key.startswith("alt+")]
    assert actions.clashes() == []


@pytest.mark.parametrize("action", [a for a in ACTIONS.values() if a.kind == "verb"], ids=lambda a: a.id)
def test_every_verb_is_a_method_of_the_door(action: actions.Action) -> None:
    method = METHODS[action.method]
    assert action.danger == method.danger
    assert action.permission == method.permission.value
    if action.request is not None:
        row = operation("o-1", "web") if action.aims == "operation" else instance("web", operation_id="o-1")
        assert isinstance(action.request(row, "r-1"), method.request)


def test_what_destroys_has_no_key() -> None:
    destructive = [a for a in ACTIONS.values() if a.danger == "destructive"]
    assert destructive
    assert not [a.id for a in destructive if a.keys]


@pytest.mark.parametrize(
    "session", [StubSession(read_only=True), StubSession(Role.MONITOR), StubSession(Role.AUDITOR)], ids=["read-only", "monitor", "auditor"]
)
def test_who_may_change_nothing_can_do_no_verb(session: StubSession) -> None:
    row = instance("web", "failed", failed_stage="startup:start", operation_id="o-1")
    for action in ACTIONS.values():
        if action.mutates:
            assert actions.why_not(action, row, session.record), action.id
    verbs = [a for a in ACTIONS.values() if a.mutates]
    hidden = [actions.is_hidden(a, session.record) for a in verbs]
    assert not any(hidden) if session.read_only else all(hidden)
    told = actions.hints("instances", row, session.record)
    assert not {title for _, title in told} & {a.title.lower() for a in verbs}


def test_a_state_says_why_not() -> None:
    session = StubSession().record
    assert "running" in actions.why_not(ACTIONS["instance.provision"], instance("web"), session)
    assert not actions.why_not(ACTIONS["instance.provision"], instance("web", "new"), session)
    assert actions.resolve(ACTIONS["instance.power"], instance("web", "stopped")).id == "instance.start"
    assert actions.resolve(ACTIONS["instance.power"], instance("web")).id == "instance.stop"


def test_a_key_map_is_checked() -> None:
    said = "\n".join(actions.clashes({"instance.provision": "D", "instance.logs": "ctrl+b", "no.such": "k"}))
    assert "D on instances is both instance.provision and instance.deprovision" in said
    assert "ctrl+b (instance.logs) belongs to the terminal" in said
    assert "no.such" in said


def test_a_key_map_shows_in_footer_and_sheet() -> None:
    keymap = {"instance.provision": "f6"}
    assert ("f6", "provision") in actions.hints("instances", instance("web", "new"), StubSession().record, keymap)
    assert any(keys == "f6" for _, keys, title, _ in actions.sheet(keymap=keymap) if title == "Provision")


def test_the_footer_fits() -> None:
    for place in (*SCREENS, "instance/settings", "instance/logs", "instance/data"):
        row = operation("o-1", "web") if place.startswith("operation") else instance("web", "new")
        told = actions.hints(place, row, StubSession().record, width=80)
        assert sum(len(key) + len(title) + 4 for key, title in told) <= 80
        assert told[-1] == ("?", "keys")


def test_the_line_understands_words_and_their_beginnings() -> None:
    parse = commands.parse
    assert (found := parse("provision web-1 'db 2'").action) and found.id == "instance.provision"
    assert parse("provision web-1 'db 2'").names == ("web-1", "db 2")
    assert (found := parse("deprov web").action) and found.id == "instance.deprovision"
    assert (found := parse("hosts").action) and found.id == "go.hosts"
    assert parse("web-20").name == "web-20"
    assert parse("re web").complaint
    assert parse("  ").complaint
    assert "provision" in commands.complete("prov")
    assert commands.complete("delete we", ["web-1", "db"]) == ["delete web-1"]


def test_words_are_unique() -> None:
    words = [word for a in ACTIONS.values() for word in a.words]
    assert not {w for w in words if words.count(w) > 1 and w not in ("describe", "raw", "back")}


def test_actions_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ACTIONS["go.hosts"].title = "x"  # type: ignore[misc]


def test_a_footer_names_no_key_that_would_do_nothing() -> None:
    record = StubSession().record
    assert not {"logs", "retry start-up"} & {title for _, title in actions.hints("dashboard", None, record, width=160)}
    told = actions.hints("instances", instance("web"), record, width=160, idle=frozenset({"list.problems"}))
    assert ("enter", "open") in told and ("z", "problems only") not in told


def test_while_letters_go_into_a_field_only_control_keys_are_named() -> None:
    told = dict(actions.hints("form/text", instance("web"), StubSession().record))
    assert told == {"ctrl+o": "save", "tab": "next field", "esc": "back"}
    assert ("enter", "choose") in actions.hints("form/choice", instance("web"), StubSession().record)


def test_in_80_columns_a_list_names_the_key_that_finds_what_is_wrong() -> None:
    for place in ("instances", "hosts", "events"):
        row = instance("web") if place == "instances" else None
        assert ("z", "problems only") in actions.hints(place, row, StubSession().record, width=80)
