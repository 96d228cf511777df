"""The one table: no clash, nothing reserved, nothing that the door does not know."""

from __future__ import annotations

import dataclasses

import pytest

from fleet_tui import actions, commands
from fleet_tui.actions import ACTIONS, RESERVED, SCREENS
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.identity import Role
from fleet_tui.backend.instances import SetupAction, SnapshotRecord
from fleet_tui.backend.instances import profiles as p
from fleet_tui.backend.networks.states import PhysicalState, Scope, VlanState
from fleet_tui.screens.branches import branch_of
from fleet_tui.screens.template_draft import Drafted
from fleet_tui.widgets.vlan_space import Spot
from tests.clouds_stub import account, certificate, image, no_account, orphan
from tests.fleet_stub import NOW, StubSession, instance, operation
from tests.infrastructure_stub import evacuee, kvm, session, vm
from tests.networks_stub import dedication, physical

ROWS = {
    "instance": instance("web", operation_id="o-1"), "operation": operation("o-1", "web"), "host": kvm("kvm-1"), "vm": vm("db-7"),
    "branch": branch_of(kvm("kvm-1")), "evacuee": evacuee("db-7", "waiting"), "session": session("kvm-1"),
    "physnet": physical(), "vlan": Spot("pn-1", "guest-net-1", 700, 700, VlanState.DEDICATED_FREE, Scope.GUEST_POOL, dedication(700, 709, "bank")),
    "template": p.TemplateRecord("t-web", "web", "webshop", (), 2, 3), "vnet": p.VirtualNetworkRecord("n-local", "local", "fake", "none", 2),
    "setup": Drafted("0", SetupAction("secure_cookies", "cookies", {"enabled": True}), 1, False),
    "cloud": account(), "certificate": certificate("web-1", 20), "cloud_image": image("debian-12"),
    "orphan": orphan("d-1"),
    "snapshot": SnapshotRecord("s-1", "web", "before the change", False, 2**30, NOW),
}  # fmt: skip
"""One of each kind of thing that actions aim at."""


@pytest.mark.parametrize("screen", [*SCREENS, *actions.ON_TABS])
def test_a_key_means_one_thing_on_a_screen(screen: str) -> None:
    taken: dict[str, str] = {}
    for action in actions.of_screen(screen):
        for key in action.keys:
            if action.scope in actions.SHADOWING or (action.scope in actions.ON_TABS and action.scope != screen):
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
        assert isinstance(action.request(ROWS[action.aims], "r-1"), method.request)


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
    assert any(keys == "f6" for _, keys, title, _, id_ in actions.sheet(keymap=keymap) if title == "Provision" and id_ in actions.ACTIONS)


def test_the_footer_fits() -> None:
    for place in (*SCREENS, "instance/settings", "instance/logs", "instance/data"):
        row = operation("o-1", "web") if place.startswith("operation") else instance("web", "new")
        told = actions.hints(place, row, StubSession().record, width=80)
        assert sum(len(key) + len(title) + 4 for key, title in told) <= 80
        assert told[-1] == (("ctrl+]", "leave") if place == "serial" else ("?", "keys"))


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


def test_what_is_aimed_at_has_a_row_here() -> None:
    assert set(ROWS) == set(actions.AIMED_AT)
    for aims, row in ROWS.items():
        assert type(row).__name__ == actions.AIMED_AT[aims]


def test_rights_that_a_field_needs_dim_it() -> None:
    operator, admin = StubSession(Role.OPERATOR).record, StubSession(Role.ADMIN).record
    assert "may not" in actions.may_set("host.maintain", "allow_stop", operator)
    assert not actions.may_set("host.maintain", "allow_stop", admin)
    assert not actions.may_set("host.maintain", "reason", operator)
    forced = ACTIONS["host.force-remove"]
    assert "may not" in actions.forbidden(forced, operator)
    assert not actions.forbidden(forced, admin)
    assert forced.request is not None and forced.request(ROWS["host"], "r").force


def test_to_test_a_certificate_is_to_act() -> None:
    row, test = ROWS["instance"], ACTIONS["ssl.test"]
    served = dataclasses.replace(row, https_strategy="letsencrypt")  # type: ignore[type-var]
    assert not actions.why_not(test, served, StubSession(Role.OPERATOR).record)
    assert actions.why_not(test, served, StubSession(Role.AUDITOR).record) == "the role auditor may not"
    assert actions.why_not(test, served, StubSession(Role.OPERATOR, read_only=True).record) == "this console is read-only"
    assert not actions.why_not(ACTIONS["ssl.chain"], served, StubSession(Role.MONITOR).record)


def test_a_retry_is_dimmed_for_who_may_not_do_what_it_repeats() -> None:
    retry = ACTIONS["operation.retry"]
    for kind, least in {
        "instance.provision": Role.OPERATOR, "instance.delete": Role.ADMIN, "cluster.ratio": Role.ROOT_ADMIN, "site.retention": Role.ROOT_ADMIN,
    }.items():
        row, ranks = operation("o-1", "web", kind=kind, state="failed"), [Role.OPERATOR, Role.ADMIN, Role.ROOT_ADMIN]
        for role in ranks:
            why = actions.why_not(retry, row, StubSession(role).record)
            assert why == ("" if ranks.index(role) >= ranks.index(least) else f"the role {role.value} may not"), (kind, role)


def test_what_is_for_root_alone_is_not_shown_to_others() -> None:
    for id_ in ("branch.ratio", "branch.password"):
        assert actions.is_hidden(ACTIONS[id_], StubSession(Role.ADMIN).record)
        assert not actions.is_hidden(ACTIONS[id_], StubSession(Role.ROOT_ADMIN).record)


@pytest.mark.parametrize(
    ("action", "row", "said"),
    [
        ("host.remove", kvm("k"), "put it into maintenance"), ("host.remove", kvm("k", resource_state="Maintenance"), ""),
        ("host.degrade", kvm("k"), "its link is up"), ("host.degrade", kvm("k", connection_state="alert"), ""),
        ("host.retry", kvm("k"), "it is Enabled"), ("host.retry", kvm("k", resource_state="Error"), ""),
        ("host.power", kvm("k"), "comes with power control"),
        ("branch.enable", branch_of(kvm("k")), "already"), ("branch.disable", branch_of(kvm("k", resource_state="Maintenance")), "it is Maintenance"),
        ("branch.ratio", branch_of(kvm("k")), "for a cluster"),
        ("maintenance.start", kvm("k", resource_state="PrepareForMaintenance"), "already"), ("maintenance.start", kvm("k"), ""),
        ("maintenance.start", kvm("k", resource_state="anything"), "it is anything"), ("maintenance.cancel", kvm("k"), "it is Enabled"),
        ("maintenance.cancel", kvm("k", resource_state="ErrorInMaintenance"), ""),
        ("maintenance.back", session("k"), "cancels its maintenance first"), ("maintenance.back", session("k", "Enabled"), ""),
        ("maintenance.close", session("k"), "cancels its maintenance first"), ("maintenance.close", session("k", "Enabled"), ""),
        ("evacuee.migrate", evacuee("v", "moved"), "it is moved"), ("evacuee.migrate", evacuee("v", "failed"), ""),
        ("physnet.enable", physical(), "already"), ("physnet.disable", physical(), ""),
        ("physnet.enable", physical(state=PhysicalState.DISABLED, nic_labels={}), ":nic-labels"),
        ("physnet.delete", physical(networks=3), "3 guest networks"), ("physnet.template", physical(ranges=()), "no range yet"),
        ("vlan.dedicate", Spot("p", "n", 5, 9, None), "5 is in no range"), ("vlan.release", Spot("p", "n", 5, 5, VlanState.FREE), "not dedicated"),
        ("vlan.dedicate", ROWS["vlan"], "in a dedication of account bank"), ("vlan.scope", Spot("p", "n", 5, 5, None), "in no range"),
        ("cloud.rewrap", account(), "under that key"), ("cloud.rewrap", account(sealed={"master key": 2}), ""),
        ("cloud.rewrap", account(sealed={"master key": 2}, rewrap_id="o-1"), "under way"), ("cloud.rewrap", no_account(), "no account yet"),
        ("cloud.rewrap", account(aws_cmk_id="", cmk_arn=""), "no key is chosen"), ("cloud.test", no_account(), "no account yet"),
        ("cloud.setup", no_account(), ""), ("certificate.renew", certificate("w", 9), ""),
        ("certificate.renew", certificate("w", 9, "self_signed"), "reprovision"), ("certificate.renew", certificate("w", 9, "per_instance"), "settings"),
        ("vm.start", vm("v"), "it is running"), ("vm.stop", vm("v"), ""), ("vm.destroy", vm("v"), "protected"),
        ("vm.migrate", vm("v", operation_id="o", operation="reboot"), "reboot is at work"), ("vm.migrate", vm("v", "h", "crashed"), "it is crashed"),
    ],
)  # fmt: skip
def test_states_say_why_not(action: str, row: object, said: str) -> None:
    why = actions.why_not(ACTIONS[action], row, StubSession(Role.ROOT_ADMIN).record)
    assert said in why if said else why == ""


def test_one_key_stands_for_what_suits_the_state() -> None:
    assert actions.resolve(ACTIONS["vm.power"], vm("v")).id == "vm.stop"
    assert actions.resolve(ACTIONS["vm.power"], vm("v", state="stopped")).id == "vm.start"


def test_the_design_keeps_its_keys_on_hosts() -> None:
    keys = actions.bindings_of("hosts")
    assert keys["m"].id == "host.maintenance" and keys["v"].id == "host.vms" and keys["x"].id == "global.menu"
    assert {keys[key].id for key in "dylo"} == {"list.describe", "list.raw", "host.logs", "host.operations"}
    on_session = actions.bindings_of("maintenance")
    wanted = {"M": "next", "C": "cancel", "F": "forecast", "B": "back", "T": "retry", "N": "note", "A": "announce", "p": "power"}
    assert {key: on_session[key].id for key in wanted} == {key: f"maintenance.{name}" for key, name in wanted.items()}
    assert on_session["exclamation_mark"].id == "maintenance.degrade" and on_session["g"].id == "move.top"


def test_the_design_keeps_its_keys_on_the_map() -> None:
    keys = actions.bindings_of("vlans")
    wanted = {"d": "page.describe", "y": "page.raw", "c": "list.copy", "z": "map.problems", "n": "map.problem-next", "N": "map.problem-previous",
              "-": "global.last", "o": "map.operations", "x": "global.menu", "g": "map.goto", "G": "move.bottom"}  # fmt: skip
    assert {key: keys[key].id for key in wanted} == wanted
    spec = {"e": "physnet.ranges", "+": "physnet.add-ranges", "H": "map.hosts", "t": "physnet.template", "D": "physnet.drift", "R": "physnet.repair",
            "F": "map.filter", "s": "map.save"}  # fmt: skip
    assert {key: keys[key].id for key in spec} == spec


def test_one_key_gives_ids_away_and_takes_them_back() -> None:
    assert actions.resolve(ACTIONS["vlan.assign"], ROWS["vlan"]).id == "vlan.release"
    assert actions.resolve(ACTIONS["vlan.assign"], Spot("p", "n", 5, 5, VlanState.FREE, Scope.GUEST_POOL)).id == "vlan.dedicate"


@pytest.mark.parametrize("role", Role)
def test_the_map_is_for_who_may_read_vlans(role: Role) -> None:
    record, sees = StubSession(role).record, role in (Role.ROOT_ADMIN, Role.AUDITOR)
    assert actions.is_hidden(ACTIONS["go.vlans"], record) is not sees
    assert bool(actions.forbidden(ACTIONS["go.vlans"], record)) is not sees
    assert ("vlans" in commands.complete("vl", session=record)) is sees
    looks = StubSession(role, read_only=True).record
    assert actions.is_hidden(ACTIONS["go.vlans"], looks) is not sees


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


def test_an_owner_is_offered_what_owners_may_do_with_that_vm_alone() -> None:
    mine, theirs = vm("db-7", owners=("ann", "me")), vm("web-3", owners=("ann",))
    for role, offered in ((Role.MONITOR, True), (Role.AUDITOR, False)):
        session = dataclasses.replace(StubSession(role).record, user="me")
        for id_ in ("vm.stop", "vm.reboot", "vm.migrate"):
            assert actions.is_hidden(ACTIONS[id_], session, mine) is not offered, (role, id_)
            assert (actions.forbidden(ACTIONS[id_], session, mine) == "") is offered
            assert actions.is_hidden(ACTIONS[id_], session, theirs) and actions.is_hidden(ACTIONS[id_], session)
            assert "may not" in actions.why_not(ACTIONS[id_], theirs, session)
        for id_ in ("vm.destroy", "vm.resize", "vm.edit"):
            assert actions.is_hidden(ACTIONS[id_], session, mine)
        assert "read-only" in actions.forbidden(ACTIONS["vm.stop"], dataclasses.replace(session, read_only=True), mine)
