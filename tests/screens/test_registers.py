"""Templates and virtual networks on the screen: nothing sent before it is saved, errors beside their fields, secrets masked, who waits and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import TextArea

from fleet_tui.backend.errors import PermissionDenied
from fleet_tui.backend.identity import Role
from fleet_tui.backend.instances import SetupAction, templates
from fleet_tui.backend.instances import profiles as p
from fleet_tui.backend.instances.action_kinds import KINDS
from fleet_tui.backend.instances.setup_actions import Seal, opened, shown
from fleet_tui.screens.template_draft import Draft
from tests.backend.instances.test_templates import GOOD
from tests.fleet_stub import NOW
from tests.screens.console import _send, console, eventually, front, picture, press, settled, toasts, type_in
from tests.screens.registers import SECRET, RegistersSession, registers
from tests.screens.test_early import Slow, pressed


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RegistersSession]:
    with registers(tmp_path) as session:
        yield session


async def word(pilot: Pilot[int], text: str) -> None:
    await press(pilot, "colon")
    await type_in(pilot, text)
    await press(pilot, "enter")


async def template(pilot: Pilot[int], name: str = "web") -> None:
    await word(pilot, "templates")
    await press(pilot, "slash")
    await type_in(pilot, name)
    await press(pilot, "enter", "enter")


async def vnet(pilot: Pilot[int], name: str = "edge") -> None:
    await word(pilot, "vnets")
    await press(pilot, "slash")
    await type_in(pilot, name)
    await press(pilot, "enter", "enter")


def sent(site: RegistersSession, *kinds: type) -> list[Any]:
    return [call for call in site.calls if isinstance(call, kinds)]


def fields(pilot: Pilot[int]) -> Any:
    return pilot.app.screen.form  # type: ignore[attr-defined]


def put(pilot: Pilot[int], **values: Any) -> None:
    for name, value in values.items():
        fields(pilot).rows[name].put(value)


# --- the draft of the actions ----------------------------------------------------------------------------------------


def key_of(draft: Draft, name: str) -> str:
    return next(row.key for row in draft.rows() if row.label == name)


def action(name: str, stage: str = "before_install", id: str = "") -> SetupAction:
    return SetupAction("secure_cookies", name, {"enabled": True}, stage, True, id)


def test_actions_run_by_stage_and_move_among_their_own() -> None:
    draft = Draft()
    draft.begin([action("a"), action("z", "after_startup"), action("b")])
    assert [row.label for row in draft.rows()] == ["a", "b", "z"]
    assert not draft.is_edited
    assert draft.move(key_of(draft, "b"), -1)
    assert [row.label for row in draft.rows()] == ["b", "a", "z"]
    assert [a.name for a in draft.actions] == ["b", "z", "a"], "what is between them stays where it is"
    assert not draft.move(key_of(draft, "b"), -1) and not draft.move(key_of(draft, "z"), 1)
    assert draft.words() == ["another order"]
    draft.move(key_of(draft, "b"), 1)
    assert not draft.is_edited


def test_a_duplicate_keeps_the_id_by_which_its_secrets_are_found() -> None:
    draft = Draft()
    draft.begin([action("a", id="a-1"), action("b", id="a-2")])
    key = draft.duplicate(key_of(draft, "a"))
    assert [(a.name, a.id) for a in draft.actions] == [("a", "a-1"), ("a (2)", "a-1"), ("b", "a-2")]
    assert draft.duplicate(key) and [a.name for a in draft.actions] == ["a", "a (2)", "a (3)", "b"]
    draft.toggle(key_of(draft, "b"))
    draft.remove(key_of(draft, "a"))
    assert draft.words() == ["a (2) added", "a (3) added", "a deleted", "b switched off"]


def test_what_the_daemon_refuses_is_said_of_its_action() -> None:
    draft = Draft()
    draft.begin([action("z", "after_startup"), action("a")])
    draft.complain({"setup_actions.1.port": "no port", "setup_actions.9.port": "nobody's", "label": "taken"})
    assert [(row.label, row.wrong) for row in draft.rows()] == [("a", ""), ("z", "no port")]


# --- templates -------------------------------------------------------------------------------------------------------


async def test_the_register_counts_and_leads_in(site: RegistersSession) -> None:
    async with console(site, (160, 30)) as pilot:
        await word(pilot, "templates")
        assert "! web webshop 3 of 4 4 3 2" in " ".join(picture(pilot).split())
        assert "lacks its secret key for API access" in picture(pilot)
        await press(pilot, "z", "j", "i")
        assert "machine type was none" in picture(pilot).lower() and "warm cache added" in picture(pilot)
        await press(pilot, "enter")
        assert front(pilot).KIND == "instance"
        await word(pilot, "its-vnet")
        assert front(pilot).KIND == "vnet" and "paris › virtual networks › local" in picture(pilot)
        await press(pilot, "escape")
        assert front(pilot).KIND == "instance"
        await word(pilot, "its-template")
        assert front(pilot).KIND == "template" and "paris › templates › web" in picture(pilot)


async def test_actions_are_edited_as_a_draft_that_says_who_will_wait(site: RegistersSession) -> None:
    async with console(site) as pilot:
        await template(pilot)
        await press(pilot, "space", "J", "j", "u")
        said = " ".join(picture(pilot).split())
        assert "not saved: actions (proxy (2) added, tools switched off, another order)" in said
        assert "then web-1, web-2, web-3 wait for a reprovision" in said
        assert not sent(site, p.EditTemplate)
        await press(pilot, "ctrl+o")
        request = sent(site, p.EditTemplate)[0]
        assert [a.name for a in request.setup_actions] == ["payment", "tools", "proxy", "proxy (2)", "warm cache"]
        assert request.version == 2 and request.changes == {}
        told = toasts(pilot)
        assert "template web is saved · waiting for a reprovision: web-1, web-2, web-3" in told and "proxy (2) added" in told
        assert "not saved" not in picture(pilot)
        await press(pilot, "underscore")
        assert "Delete the action" in picture(pilot)
        await press(pilot, "enter")
        assert "deleted" not in picture(pilot)
        await press(pilot, "underscore", "y")
        assert "deleted" in picture(pilot) and len(sent(site, p.EditTemplate)) == 1


@pytest.mark.parametrize("kind", ["install_packages", "run_tasks", "setup_proxy", "application_port", "code_env_preset"])
async def test_a_new_action_says_what_is_wrong_beside_its_field(site: RegistersSession, kind: str) -> None:
    wrong = {
        "install_packages": ("packages", "b@d", "is not the name of a package"), "run_tasks": ("tasks", "- name: [x", "line 1"),
        "setup_proxy": ("port", "70000", "outside 1 to 65535"), "application_port": ("port", "80", "outside 1024 to 65535"),
        "code_env_preset": ("python", "perl", "is not python3"),
    }[kind]  # fmt: skip
    async with console(site) as pilot:
        await template(pilot, "hello")
        front(pilot)._open_action(SetupAction(kind, "mine", {}, "after_install"))  # type: ignore[attr-defined]
        await press(pilot, "tab")
        name, value, said = wrong
        put(pilot, **{name: value})
        await press(pilot, "ctrl+o")
        row = fields(pilot).rows[name]
        assert row.has_class("-wrong") and said in picture(pilot), picture(pilot)
        assert row.raw == value, "what was typed is kept"
        assert not front(pilot).draft.is_edited  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_has_its_form(site: RegistersSession, kind: str, tmp_path: Path) -> None:
    """What a person types into it, or names the file of, is what is saved."""
    given = GOOD[kind]
    async with console(site, (100, 40)) as pilot:
        await template(pilot, "hello")
        front(pilot)._open_action(SetupAction(kind, "mine", {}, KINDS[kind].stage or "after_startup"))  # type: ignore[attr-defined]
        await press(pilot, "tab")
        for name, value in given.items():
            if name in ("private_key", "certificates"):
                (tmp_path / name).write_text(value)
                put(pilot, **{f"file:{name}": str(tmp_path / name)})
            else:
                put(pilot, **{name: "\n".join(f"{n}={v}" for n, v in value.items()) if isinstance(value, dict) else value})
        await press(pilot, "ctrl+o", "ctrl+o")
        assert not front(pilot).holds_edits, picture(pilot)
        with site.store.read() as tx:
            row = templates.find_template(tx, "hello")
            kept = opened(templates.actions_of(row)[0], Seal(site.sealer, row.id))
        assert (kept.kind, kept.name, kept.enabled) == (kind, "mine", True)
        assert {name: kept.parameters[name] for name in given} == given


async def test_an_action_is_checked_by_the_daemon_before_it_is_kept(site: RegistersSession) -> None:
    """A key that looks like one is found out only there."""
    async with console(site) as pilot:
        await template(pilot, "hello")
        await press(pilot, "a")
        await type_in(pilot, "authorise")
        await press(pilot, "enter")
        put(pilot, key=f"ssh-ed25519 {'A' * 60} me")
        await press(pilot, "ctrl+o")
        assert fields(pilot).rows["key"].has_class("-wrong") and "New setup action" in picture(pilot)
        await press(pilot, "escape")
        assert not front(pilot).draft.is_edited  # type: ignore[attr-defined]


async def test_a_secret_is_never_shown_and_kept_when_nothing_is_typed(site: RegistersSession) -> None:
    async with console(site, (100, 40)) as pilot:
        await template(pilot)
        await press(pilot, "j", "enter")
        area = fields(pilot).rows["variables"].editor
        assert isinstance(area, TextArea) and "PAYMENT_TOKEN=••••" in area.text and SECRET not in picture(pilot)
        put(pilot, variables=f"{area.text}\nMORE=1")
        await press(pilot, "ctrl+o", "ctrl+o")
        assert sent(site, p.EditTemplate)[0].setup_actions[1].parameters["variables"]["PAYMENT_TOKEN"] == p.KEPT
        with site.store.read() as tx:
            row = templates.find_template(tx, "web")
            clear = opened(templates.actions_of(row)[1], Seal(site.sealer, row.id)).parameters["variables"]
        assert clear == {"PAYMENT_URL": "https://pay.example.com", "PAYMENT_TOKEN": SECRET, "MORE": "1"}
        await press(pilot, "t")
        assert "Dry run of payment on" in picture(pilot)
        await press(pilot, "enter")
        assert "PAYMENT_TOKEN=••••" in picture(pilot) and "web-1 in local" in picture(pilot) and SECRET not in picture(pilot)


async def test_a_driver_password_can_be_replaced_kept_or_forgotten(site: RegistersSession) -> None:
    given = {"database": "oracle", "url": "https://drivers.example.com/a.zip", "password": SECRET}
    with site.store.write() as tx:
        templates.edit_template(tx, p.EditTemplate("hello", 1, {}, (SetupAction("install_db_driver", "driver", given, "before_install"),)), site.sealer)
    async with console(site, (120, 40)) as pilot:
        await template(pilot, "hello")
        await press(pilot, "enter")
        assert fields(pilot).rows["password"].raw == "" and SECRET not in picture(pilot)
        put(pilot, username="fleet")
        await press(pilot, "ctrl+o")
        assert front(pilot).draft.actions[0].parameters["password"] == p.KEPT  # type: ignore[attr-defined]
        await press(pilot, "enter")
        put(pilot, **{"forget:password": True})
        await press(pilot, "ctrl+o")
        assert front(pilot).draft.actions[0].parameters["password"] == ""  # type: ignore[attr-defined]


async def test_a_new_template_is_made_in_one_save(site: RegistersSession) -> None:
    async with console(site) as pilot:
        await word(pilot, "templates")
        await press(pilot, "n")
        await type_in(pilot, "web")
        await press(pilot, "ctrl+o")
        assert "'web' is taken by another template" in picture(pilot)
        await type_in(pilot, "-two")
        await press(pilot, "escape", "left", "a", "enter")
        put(pilot, packages="nginx")
        await press(pilot, "ctrl+o", "ctrl+o")
        made = sent(site, p.CreateTemplate)[-1]
        assert made.label == "web-two" and [a.kind for a in made.setup_actions] == ["install_packages"]
        assert "paris › templates › web-two" in picture(pilot) and "template web-two is saved" in toasts(pilot)


async def test_a_stale_save_shows_both_values_and_overwrites_nobody(site: RegistersSession) -> None:
    async with console(site) as pilot:
        await template(pilot)
        await press(pilot, "space", "e", "down", "down")
        await type_in(pilot, "x")
        with site.store.write() as tx:
            templates.edit_template(tx, p.EditTemplate("web", 2, {"machine_type": "c7i.large", "license_override": "L"}, ()), site.sealer)
        await press(pilot, "ctrl+o")
        said = " ".join(picture(pilot).split())
        assert "somebody else saved this template meanwhile, 2 of your edits too" in said
        assert "they saved: c7i.large · yours: m7i.largex" in said
        await press(pilot, "ctrl+t")
        assert "not saved: somebody else" in picture(pilot), "the actions are still one's own"
        await press(pilot, "escape", "left", "ctrl+t")
        assert "no setup action yet" in picture(pilot) and not front(pilot).holds_edits and "not saved" not in picture(pilot)
        assert sent(site, p.EditTemplate)[-1].version == 2
        with site.store.read() as tx:
            assert templates.find_template(tx, "web").machine_type == "c7i.large"


async def test_nothing_of_the_one_before_is_shown_or_worked_on(site: RegistersSession) -> None:
    slow = Slow(site, "ShowTemplate")
    slow.go.set()
    async with console(slow) as pilot:  # type: ignore[arg-type]
        await template(pilot)
        assert "tools" in picture(pilot)
        await press(pilot, "escape", "escape", "slash")
        await type_in(pilot, "legacy")
        await press(pilot, "enter")
        slow.go.clear()
        slow.asked.clear()
        await pressed(pilot, "enter", "enter", "space", "ctrl+o")
        await eventually(pilot, slow.asked.is_set)
        await eventually(pilot, lambda: "templates › t-" in picture(pilot))
        assert "tools" not in picture(pilot) and not front(pilot).holds_edits
        slow.go.set()
        await settled(pilot)
        assert "templates › legacy" in picture(pilot) and not sent(site, p.EditTemplate)


@pytest.mark.parametrize(("kind", "ref"), [("templates", ""), ("template", "template:web"), ("vnet", "virtual-network:edge")])
async def test_why_there_is_nothing_to_see_stays(site: RegistersSession, kind: str, ref: str) -> None:
    """Once the toast has gone, a role that may not read still sees why; and no longer than that is so."""
    refuses = True
    answer = site.fetch

    def fetch(request: Any) -> Any:
        if refuses and isinstance(request, p.ListTemplates | p.ShowTemplate | p.ShowVirtualNetwork):
            raise PermissionDenied("mona is monitor here and may not call that", hint="it takes the role operator")
        return answer(request)

    site.fetch = fetch  # type: ignore[method-assign]
    async with console(site) as pilot:
        pilot.app.open(kind, ref)  # type: ignore[attr-defined]
        await settled(pilot)
        pilot.app.clear_notifications()
        await press(pilot, "e", "ctrl+o")
        pilot.app.clear_notifications()
        await settled(pilot)
        assert "✗ mona is monitor here and may not call that · it takes the role operator" in picture(pilot)
        refuses = False
        await press(pilot, "ctrl+r")
        assert "mona" not in picture(pilot) and ("TEMPLATE▲" in picture(pilot) or "›" in picture(pilot))


def reordered(site: RegistersSession, *names: str) -> None:
    """Somebody else saves the actions of web: these, in this order."""
    with site.store.write() as tx:
        row = templates.find_template(tx, "web")
        now = {action.name: shown(action) for action in templates.actions_of(row)}
        templates.edit_template(tx, p.EditTemplate("web", row.version, {}, tuple(now[name] for name in names)), site.sealer)
        site.touch(f"template:{row.id}")


async def test_a_dialog_about_an_action_is_about_no_other(site: RegistersSession) -> None:
    """Somebody else saves another order, or without it, while it is asked whether it is to be deleted."""
    async with console(site) as pilot:
        await template(pilot)
        await press(pilot, "underscore")
        assert "Delete the action tools?" in picture(pilot)
        reordered(site, "payment", "tools", "proxy", "warm cache")
        await settled(pilot)
        await press(pilot, "y")
        assert [a.name for a in front(pilot).draft.actions] == ["payment", "proxy", "warm cache"]  # type: ignore[attr-defined]
        await press(pilot, "escape", "y", "enter", "home", "underscore")
        assert "Delete the action payment?" in picture(pilot)
        reordered(site, "tools", "proxy", "warm cache")
        await settled(pilot)
        await press(pilot, "y")
        assert "payment: somebody else changed it meanwhile" in toasts(pilot) and not front(pilot).holds_edits


async def test_the_form_of_an_action_replaces_no_other(site: RegistersSession) -> None:
    async with console(site, (100, 40)) as pilot:
        await template(pilot)
        await press(pilot, "enter")
        put(pilot, packages="nginx")
        reordered(site, "proxy", "tools", "payment", "warm cache")
        await settled(pilot)
        await press(pilot, "ctrl+o")
        found = {a.name: a.parameters for a in front(pilot).draft.actions}  # type: ignore[attr-defined]
        assert found["tools"]["packages"] == ["nginx"] and "packages" not in found["proxy"]


async def test_what_is_typed_while_a_save_is_on_its_way_stays(site: RegistersSession) -> None:
    slow = Slow(site, "EditVirtualNetwork")
    slow.submit = slow.fetch  # type: ignore[attr-defined]
    async with console(slow) as pilot:  # type: ignore[arg-type]
        await vnet(pilot)
        await press(pilot, "e")
        put(pilot, contact_mail="one@example.com")
        _send(pilot, "ctrl+o")
        await eventually(pilot, slow.asked.is_set)
        put(pilot, contact_mail="another@example.com")
        slow.go.set()
        await settled(pilot)
        assert sent(site, p.EditVirtualNetwork)[0].changes == {"contact_mail": "one@example.com"}
        assert fields(pilot).rows["contact_mail"].raw == "another@example.com" and front(pilot).holds_edits


async def test_an_answer_for_the_one_before_leaves_this_one_alone(site: RegistersSession) -> None:
    slow = Slow(site, "EditTemplate")
    slow.submit = slow.fetch  # type: ignore[attr-defined]
    async with console(slow) as pilot:  # type: ignore[arg-type]
        await template(pilot)
        await press(pilot, "space")
        _send(pilot, "ctrl+o")
        await eventually(pilot, slow.asked.is_set)
        for key in ("ctrl+o", "space"):
            _send(pilot, key)
        await eventually(pilot, lambda: "it is being saved" in toasts(pilot) and "is being saved; press it again" in toasts(pilot))
        pilot.app.screen.ask_to_leave(lambda: pilot.app.open("template", "template:hello"))  # type: ignore[attr-defined]
        await eventually(pilot, lambda: "Leave without saving?" in picture(pilot))
        _send(pilot, "y")
        await eventually(pilot, lambda: "templates › hello" in picture(pilot))
        slow.go.set()
        await settled(pilot)
        assert "templates › hello" in picture(pilot) and "template web saved" in toasts(pilot)


async def test_a_secret_typed_just_now_is_masked_before_it_is_saved(site: RegistersSession) -> None:
    async with console(site, (160, 40)) as pilot:
        await template(pilot)
        await press(pilot, "j", "enter")
        put(pilot, variables="PAYMENT_TOKEN=hunter2-x\nPAYMENT_URL=https://pay.example.com")
        await press(pilot, "ctrl+o")
        assert "PAYMENT_TOKEN=••••" in picture(pilot) and "hunter2-x" not in picture(pilot)
        await press(pilot, "underscore")
        assert "hunter2-x" not in picture(pilot)


async def test_yours_can_be_saved_over_theirs(site: RegistersSession) -> None:
    async with console(site) as pilot:
        await template(pilot)
        await press(pilot, "space")
        with site.store.write() as tx:
            templates.edit_template(tx, p.EditTemplate("web", 2, {"machine_type": "c7i.large"}), site.sealer)
        await press(pilot, "ctrl+o", "ctrl+o")
        with site.store.read() as tx:
            row = templates.find_template(tx, "web")
            assert (row.machine_type, row.setup_actions[0]["enabled"], row.version) == ("c7i.large", False, 4)


async def test_edits_are_not_lost_unasked(site: RegistersSession) -> None:
    async with console(site) as pilot:
        await template(pilot)
        await press(pilot, "space", "escape")
        assert "Leave without saving?" in picture(pilot) and "tools switched off" in picture(pilot)
        await press(pilot, "enter")
        assert front(pilot).holds_edits
        site.touch("template:t-x")
        await press(pilot, "escape", "y", "enter")
        assert front(pilot).KIND == "template" and not front(pilot).holds_edits


async def test_who_uses_it_is_named_when_it_cannot_be_deleted(site: RegistersSession) -> None:
    async with console(site) as pilot:
        await word(pilot, "delete-template web")
        assert "template web cannot be deleted: web-1, web-2, web-3, web-4 use it" in toasts(pilot)
        await word(pilot, "delete-template legacy")
        assert "Type  legacy  to confirm" in picture(pilot)
        await type_in(pilot, "legacy")
        await press(pilot, "enter")
        assert "template legacy deleted" in toasts(pilot)
        await word(pilot, "delete-vnet local")
        assert "virtual network local cannot be deleted: web-1, web-2, web-4 use it" in toasts(pilot)


async def test_a_clone_takes_a_label_of_its_own(site: RegistersSession) -> None:
    async with console(site) as pilot:
        await template(pilot)
        await press(pilot, "N")
        await type_in(pilot, "web")
        await press(pilot, "ctrl+o")
        assert "taken by another template" in picture(pilot)
        await type_in(pilot, "-2")
        await press(pilot, "ctrl+o")
        assert "paris › templates › web-2" in picture(pilot) and "'PAYMENT_TOKEN': '••••'" in str(front(pilot).record)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("role", "read_only", "why"), [(Role.ADMIN, True, "this console is read-only"), (Role.OPERATOR, False, "the role operator may not")])
async def test_who_may_not_edit_reads_and_is_told_why_not(tmp_path: Path, role: Role, read_only: bool, why: str) -> None:
    with registers(tmp_path, role, read_only=read_only) as site:
        async with console(site) as pilot:
            await template(pilot)
            await press(pilot, "space", "J", "u", "underscore", "a", "ctrl+o")
            assert not front(pilot).holds_edits
            await press(pilot, "right", "e")
            assert {row.locked for row in front(pilot).form.rows.values()} == {why}  # type: ignore[attr-defined]
            assert why in picture(pilot) and not front(pilot).form.focused_row  # type: ignore[attr-defined]
            await press(pilot, "escape", "n", "I", "N")
            await vnet(pilot)
            await press(pilot, "N", "ctrl+o")
            assert not [c for c in site.calls if isinstance(c, p.EditTemplate | p.CreateTemplate | p.CloneTemplate | p.EditVirtualNetwork)]
            assert why in picture(pilot)


async def test_a_monitor_is_not_shown_templates(tmp_path: Path) -> None:
    with registers(tmp_path, Role.MONITOR) as site:
        async with console(site) as pilot:
            await press(pilot, "ctrl+p")
            await type_in(pilot, "virtual networks")
            assert "Virtual networks" in picture(pilot)
            await press(pilot, "escape", "ctrl+p")
            await type_in(pilot, "templates")
            assert "what instances are made from" not in picture(pilot)


# --- virtual networks ------------------------------------------------------------------------------------------------


async def test_only_fields_that_mean_anything_are_shown(site: RegistersSession) -> None:
    async with console(site, (120, 60)) as pilot:
        await word(pilot, "vnets")
        await press(pilot, "n")
        assert "Contact mail" not in picture(pilot) and "Public zone" not in picture(pilot)
        put(pilot, https_strategy="letsencrypt", dns_strategy="cloud_dns")
        await press(pilot, "tab")
        assert "Contact mail" in picture(pilot) and "Public zone" in picture(pilot) and "Guest network" not in picture(pilot)
        put(pilot, label="shop", internet_access="no")
        await press(pilot, "ctrl+o")
        said = picture(pilot)
        for complaint in ("is needed for Let's Encrypt", "letsencrypt needs internet access", "a private or a public DNS zone is needed"):
            assert complaint in said, complaint
        put(pilot, internet_access="yes", contact_mail="ops@example.com", public_zone_id="Z0EXAMPLE", subnet_id="subnet-0d5e6f70", vpc_id="vpc-0a1b2c3d")
        await press(pilot, "ctrl+o")
        assert "subnet-0d5e6f70 is not there any more" in picture(pilot), "the place was looked at"
        put(pilot, subnet_id="subnet-0a1b2c3d")
        await press(pilot, "ctrl+o")
        assert "virtual network shop is saved" in toasts(pilot), picture(pilot)


async def test_where_it_is_is_fixed_while_instances_are_linked(site: RegistersSession) -> None:
    async with console(site, (120, 60)) as pilot:
        await vnet(pilot)
        assert "fixed: instances are linked" in picture(pilot)
        assert fields(pilot).rows["vpc_id"].editor.disabled and not fields(pilot).rows["internet_access"].locked
        put(pilot, acme_directory="production")
        await press(pilot, "tab")
        assert "then web-3 waits for a reprovision" in picture(pilot)
        await press(pilot, "ctrl+o")
        assert "waiting for a reprovision: web-3 (edge was changed: ACME directory was staging, is production)" in " ".join(toasts(pilot).split())


async def test_what_a_change_leaves_behind_is_cleared(site: RegistersSession) -> None:
    async with console(site, (120, 60)) as pilot:
        await vnet(pilot)
        site.provider.gone = {}
        put(pilot, dns_strategy="none")
        await press(pilot, "tab", "ctrl+o")
        with site.store.read() as tx:
            from fleet_tui.backend.instances.virtual_networks import find_network

            assert find_network(tx, "edge").public_zone_id == ""


async def test_a_check_says_what_is_amiss(site: RegistersSession) -> None:
    async with console(site, (120, 40)) as pilot:
        await word(pilot, "vnets")
        assert "1 finding" in picture(pilot)
        await press(pilot, "D")
        assert "edge: 2 findings · subnet-0d5e6f70 is not there any more · and 1 more" in " ".join(toasts(pilot).split())
        await press(pilot, "enter")
        said = picture(pilot)
        assert "compared with what is really there now: 2 findings" in said
        assert "✗ Second subnet: subnet-0d5e6f70 is not there any more" in said and "✗ Security groups: sg-0d5e6f70" in said
        site.provider.gone = {}
        await press(pilot, "D")
        assert "edge: nothing amiss" in toasts(pilot) and "nothing amiss" in picture(pilot)


# --- blueprints ------------------------------------------------------------------------------------------------------


async def test_a_blueprint_goes_out_without_secrets_and_comes_in_after_a_look(site: RegistersSession, tmp_path: Path) -> None:
    async with console(site, (100, 40), home=tmp_path) as pilot:
        await template(pilot)
        await press(pilot, "s")
        await type_in(pilot, "edge")
        await press(pilot, "enter")
        path = tmp_path / "exports" / f"blueprint-web-{NOW:%Y-%m-%d}.yaml"
        text = path.read_text()
        assert SECRET not in text and "virtual_network:" in text and path.stat().st_mode & 0o77 == 0
        assert "not in it: action payment: variables.PAYMENT_TOKEN" in " ".join(toasts(pilot).split())
        await press(pilot, "s", "enter")
        assert f"Replace {path.name}?" in picture(pilot)
        await press(pilot, "escape")
        await word(pilot, "import-blueprint")
        await type_in(pilot, str(path))
        await press(pilot, "ctrl+o")
        assert "there is a template 'web' already" in picture(pilot) and "there is a virtual network 'edge' already" in picture(pilot)
        put(pilot, template="shop", network="edge-2")
        site.provider.gone = {}
        await press(pilot, "ctrl+o")
        said = " ".join(picture(pilot).replace("│", " ").split())
        assert "template shop is made" in said and "4 setup" in said and "virtual network edge-2 is made" in said
        assert "to be entered before the next provision" in said
        assert not sent(site, p.ImportBlueprint), "only looked at"
        await press(pilot, "y")
        assert "template shop and virtual network edge-2 taken in" in " ".join(toasts(pilot).split())
        assert "paris › templates › shop" in picture(pilot) and "lacks variables.PAYMENT_TOKEN of the action payment" in picture(pilot)


async def test_a_file_that_is_no_blueprint_is_refused_with_its_line(site: RegistersSession, tmp_path: Path) -> None:
    file = tmp_path / "evil.yaml"
    file.write_text("fleet-blueprint: 1\ntemplate:\n  label: x\n  colour: red\n")
    async with console(site) as pilot:
        await word(pilot, "import-blueprint")
        await type_in(pilot, str(file))
        await press(pilot, "ctrl+o")
        assert "line 4" in picture(pilot) and "there is no field 'colour'" in picture(pilot)
        assert not sent(site, p.ImportBlueprint)
