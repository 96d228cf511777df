"""The tabs of an instance: secrets that are never painted, texts that arrive whole, files, certificates compared, setup actions, a larger disk."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from fleet_tui.backend import instances as i
from fleet_tui.backend.instances.profiles import RenderTemplate
from fleet_tui.screens import pem
from fleet_tui.screens.editors import MOST_TYPED, SecretEditor, TextBox
from fleet_tui.screens.instance import InstanceScreen
from tests.fleet_stub import NOW, StubSession
from tests.screens.console import console, eventually, front, picture, press, settled, toasts, type_in
from tests.screens.test_early import Slow, pressed
from tests.screens.test_settings_pictures import CHAIN, DATA, KEY, SETUP, SSL, fleet, keys, paste, to
from tests.settings_stub import MARK

SECRET_LINE = KEY.splitlines()[1]


def screen(pilot: Pilot[int]) -> InstanceScreen:
    found = front(pilot)
    assert isinstance(found, InstanceScreen)
    return found


def edits(session: StubSession) -> list[i.EditInstance]:
    return [call for call in session.calls if isinstance(call, i.EditInstance)]


def everything_shown(pilot: Pilot[int]) -> str:
    """What a person sees, what a saved screen holds, and what any widget would tell of itself."""
    app = pilot.app
    told = " ".join(repr(widget) + str(getattr(widget, "renderable", "")) for widget in app.screen.walk_children())
    return picture(pilot) + app.export_screenshot() + told + toasts(pilot)


# --- texts and keys ---------------------------------------------------------------------------------------------------


async def test_a_pasted_certificate_arrives_whole_and_its_key_is_never_shown() -> None:
    session = fleet()
    session.saved["web-20"] |= {"ssl.certificate_pem": "", "ssl.private_key_pem": ""}
    async with console(session, (80, 24)) as pilot:
        seen = []
        await to(pilot, "web-20", *SSL, "e", "tab")
        await paste(pilot, CHAIN)
        await press(pilot, "tab")
        await paste(pilot, KEY)
        seen.append(everything_shown(pilot))
        assert "3 certificates, 4,062 B" in picture(pilot) and "P-256, 103 B" in picture(pilot)
        await press(pilot, "tab")
        seen.append(everything_shown(pilot))
        await press(pilot, "ctrl+o")
        seen.append(everything_shown(pilot))
        assert [e.changes for e in edits(session)] == [{"ssl.certificate_pem": CHAIN, "ssl.private_key_pem": KEY}]
        await eventually(pilot, lambda: screen(pilot).ssl.settings.form.rows["ssl.private_key_pem"].raw == MARK)
        await press(pilot, "d")
        seen.append(everything_shown(pilot))
        await press(pilot, "escape", "escape", "y")
        seen.append(everything_shown(pilot))
        assert not any(SECRET_LINE in shown or SECRET_LINE[8:24] in shown for shown in seen)


async def test_keys_typed_line_by_line_are_taken_too() -> None:
    """Without bracketed paste a terminal sends what is pasted as keys; enter within a block is the end of a line, not of the field."""
    session = fleet()
    async with console(session, (80, 24)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "tab")
        for line in KEY.splitlines()[:-1]:
            await type_in(pilot, line)
            await press(pilot, "enter")
        assert "103 B" not in picture(pilot) and "no end yet" in picture(pilot)
        await type_in(pilot, KEY.splitlines()[-1])
        row = screen(pilot).ssl.settings.form.rows["ssl.private_key_pem"]
        assert row.raw == KEY.rstrip("\n") and SECRET_LINE not in everything_shown(pilot)


async def test_a_secret_that_is_set_is_kept_replaced_or_removed() -> None:
    session = fleet()
    async with console(session, (80, 24)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "tab")
        row = screen(pilot).ssl.settings.form.rows["ssl.private_key_pem"]
        assert isinstance(row.editor, SecretEditor) and row.raw == MARK and not row.edited
        assert "Private key          set" in picture(pilot) and MARK[11:30] not in picture(pilot).partition("Private key")[2]
        await press(pilot, "delete")
        assert "removed when saved" in picture(pilot) and row.raw == ""
        await press(pilot, "delete")
        assert "removed" not in picture(pilot) and not row.edited
        await type_in(pilot, "abc")
        await press(pilot, "ctrl+u")
        assert row.raw == MARK and not row.edited
        await press(pilot, "delete", "ctrl+o")
        assert [e.changes for e in edits(session)] == [{"ssl.private_key_pem": ""}]
        await eventually(pilot, lambda: "not set" in picture(pilot) or screen(pilot).ssl.settings.form.rows["ssl.private_key_pem"].raw == "")


async def test_a_private_key_in_a_text_is_kept_but_not_painted_nor_copied() -> None:
    session = fleet()
    async with console(session, (80, 24)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab")
        await paste(pilot, KEY)
        area = pilot.app.focused
        assert isinstance(area, TextBox) and KEY in area.text
        assert SECRET_LINE not in everything_shown(pilot) and "a private key is in it" in picture(pilot)
        area.select_all()
        await press(pilot, "ctrl+c", "ctrl+x")
        assert KEY in area.text and SECRET_LINE not in pilot.app.clipboard
        await press(pilot, "ctrl+o")
        assert SECRET_LINE not in everything_shown(pilot)
        assert KEY in edits(session)[0].changes["ssl.certificate_pem"], "the daemon says which block is wrong"


async def test_too_much_is_refused_and_nothing_of_it_taken() -> None:
    session = fleet()
    async with console(session, (80, 24)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab")
        for name in ("ssl.certificate_pem", "ssl.private_key_pem"):
            row = screen(pilot).ssl.settings.form.rows[name]
            await paste(pilot, "x" * MOST_TYPED + "y")
            assert not row.edited and "not taken: more than 256 KiB" in picture(pilot)
            await press(pilot, "tab")


async def test_a_bug_is_reported_without_values(capfd: pytest.CaptureFixture[str]) -> None:
    session = fleet()
    with pytest.raises(ZeroDivisionError):
        async with console(session, (80, 24)) as pilot:
            await to(pilot, "web-20", *SSL, "e", "tab", "tab")
            editor = pilot.app.focused
            assert isinstance(editor, SecretEditor)

            def put(text: str) -> None:
                raise ZeroDivisionError

            editor.put = put  # type: ignore[method-assign]
            event = events.Paste(KEY)
            event.set_sender(pilot.app)
            assert pilot.app._driver is not None
            pilot.app._driver.send_message(event)
            await eventually(pilot, lambda: pilot.app._exit_renderables)
    shown = capfd.readouterr().err
    assert "ZeroDivisionError" in shown and SECRET_LINE[:20] not in shown and "BEGIN PRIVATE" not in shown


@pytest.mark.parametrize(("text", "said"), [
    ("hunter2", "•••••••"), ("x" * 500, "•" * 16), (KEY, "P-256, 103 B"), (KEY[:40], "40 B, no end yet"), ("one\ntwo", "2 lines, no PEM"),
    ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----", "encrypted key, 78 B"),
    ("-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----", "no key (certificate), 58 B"),
])  # fmt: skip
def test_what_is_told_of_a_secret(text: str, said: str) -> None:
    assert pem.said_of_secret(text) == said


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "web.key").write_text(KEY)
    (tmp_path / "large.pem").write_text("x" * (64 * 1024 + 1))
    (tmp_path / "server.p12").write_bytes(b"\x30\x82\x0a\x00\xff\xfe")
    return tmp_path


async def test_a_key_is_taken_from_a_file_found_by_completion(folder: Path) -> None:
    session = fleet()
    async with console(session, (80, 24)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "tab", "ctrl+g")
        assert "keys/" in picture(pilot)
        await type_in(pilot, "ke")
        await press(pilot, "tab", "tab", "enter")
        row = screen(pilot).ssl.settings.form.rows["ssl.private_key_pem"]
        await eventually(pilot, lambda: row.raw == KEY)
        assert pilot.app.focused is row.editor and SECRET_LINE not in everything_shown(pilot)


@pytest.mark.parametrize(("name", "said"), [
    ("~/none.pem", "there is no such file"), ("~/keys", "it is not a file"), ("~/large.pem", "larger than 64 KiB"), ("~/server.p12", "it is not text"),
    ("/dev/zero", "it is not a file"),
])  # fmt: skip
async def test_a_file_that_is_no_use_is_said_beside_the_field(folder: Path, name: str, said: str) -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "ctrl+g", "ctrl+u", f"={name}", "enter")
        await eventually(pilot, lambda: said in picture(pilot))
        assert not screen(pilot).ssl.settings.form.rows["ssl.certificate_pem"].edited


async def test_leaving_the_name_of_a_file_leaves_the_field_as_it_was(folder: Path) -> None:
    session = fleet()
    async with console(session, (80, 24)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "tab", "ctrl+g", "escape")
        row = screen(pilot).ssl.settings.form.rows["ssl.private_key_pem"]
        assert pilot.app.focused is row.editor and not row.edited


async def test_a_file_is_named_while_the_settings_change(folder: Path) -> None:
    """By the answer to a save of one's own, and by a disk that grows."""
    session = fleet()
    slow = Slow(session, "EditInstance")
    async with console(slow, (80, 24)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "tab", "delete")
        await pressed(pilot, "ctrl+o", "ctrl+g", *"keys/web.key")
        slow.go.set()
        await settled(pilot)
        session.add(replace(session.instances["i-web-20"], version=7))
        await settled(pilot)
        await press(pilot, "enter")
        row = screen(pilot).ssl.settings.form.rows["ssl.private_key_pem"]
        await eventually(pilot, lambda: row.raw == KEY)
        assert row.edited and pilot.app.focused is row.editor


async def test_a_file_for_a_field_that_is_gone_is_not_taken(folder: Path) -> None:
    session = fleet()
    async with console(session, (80, 24)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "tab", "ctrl+g", "=keys/web.key")
        session.add(replace(session.instances["i-web-20"], https_strategy="letsencrypt", version=2))
        await eventually(pilot, lambda: "ssl.private_key_pem" not in screen(pilot).ssl.settings.form.rows)
        await press(pilot, "enter")
        assert "its field is not there any more" in toasts(pilot)
        assert not screen(pilot).holds_edits


# --- both forms -------------------------------------------------------------------------------------------------------


async def test_what_one_tab_saves_the_other_takes_in() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", "e", "=x")
        screen(pilot)._show_tab("ssl")
        await settled(pilot)
        await press(pilot, "e", "tab", "tab", "delete", "ctrl+o")
        assert [e.version for e in edits(session)] == [1]
        screen(pilot)._show_tab("settings")
        await press(pilot, "e")
        assert screen(pilot).settings.form.rows["label"].raw == "web-20x"
        await press(pilot, "ctrl+o")
        assert [(e.version, e.changes) for e in edits(session)][1:] == [(2, {"label": "web-20x"})]
        assert "somebody else" not in picture(pilot)


async def test_a_change_beside_the_form_saves_over_nobody() -> None:
    """What is added by a key takes in what others saved: where one typed oneself, both are shown before the next save."""
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-23", "e", "=x")
        screen(pilot)._show_tab("ssl")
        await settled(pilot)
        await press(pilot, "e")
        form = screen(pilot).ssl.settings.form
        form.rows["public_ip_allocation"].editor.focus()
        await type_in(pilot, "9")
        session.saved["web-23"] |= {"public_ip_allocation": "eipalloc-theirs", "label": "theirs"}
        session.instances["i-web-23"] = replace(session.instances["i-web-23"], version=4)
        screen(pilot).ssl.facts.focus()
        await keys(pilot, "+", "=shop.example.org", "ctrl+o")
        assert "they saved: eipalloc-theirs · yours: eipalloc-0a1b2c3d9" in picture(pilot) and "1 of your fields too" in picture(pilot)
        screen(pilot)._show_tab("settings")
        await settled(pilot)
        assert "they saved: theirs · yours: web-23x" in picture(pilot)


async def test_a_stale_save_is_told_for_every_kind_of_field() -> None:
    """Texts by what is in them, secrets by nothing at all; each keeps what was typed until it is decided."""
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "=more", "tab")
        await paste(pilot, KEY)
        session.saved["web-20"] |= {"ssl.certificate_pem": CHAIN + CHAIN, "ssl.private_key_pem": MARK.replace("3f", "99")}
        session.instances["i-web-20"] = replace(session.instances["i-web-20"], version=9)
        await press(pilot, "ctrl+o")
        seen = picture(pilot)
        assert "they saved: 6 certificates, 8,124 B · yours: 3 certificates, 4,066 B" in seen
        assert "they saved: another one · yours: your own" in seen and "somebody else saved these settings meanwhile" in seen
        assert SECRET_LINE not in everything_shown(pilot) and "public-key" not in seen
        form = screen(pilot).ssl.settings.form
        assert form.rows["ssl.private_key_pem"].raw == KEY
        form.rows["ssl.private_key_pem"].editor.focus()
        await press(pilot, "ctrl+t")
        assert form.rows["ssl.private_key_pem"].raw == MARK.replace("3f", "99") and not form.rows["ssl.private_key_pem"].edited


async def test_each_error_stands_beside_its_field_and_those_of_other_tabs_above() -> None:
    session = fleet()
    session.refuse = {"ssl.certificate_pem": "block 1 is no certificate", "ssl.private_key_pem": "it has a passphrase", "template": "has no role"}
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "=z", "tab", "=q", "ctrl+o")
        rows = screen(pilot).ssl.settings.form.rows
        assert rows["ssl.certificate_pem"].has_class("-wrong") and rows["ssl.private_key_pem"].has_class("-wrong")
        assert "not saved: Template: has no role" in picture(pilot)
        assert rows["ssl.private_key_pem"].raw == "q" and rows["ssl.certificate_pem"].raw == "z" + CHAIN


async def test_a_field_that_means_nothing_beside_the_storage_is_neither_shown_nor_saved() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "tab")
        await paste(pilot, KEY)
        await press(pilot, "shift+tab", "shift+tab", "right")
        seen = picture(pilot)
        assert "secret_manager" in seen and "Region of the secret" in seen and "Private key" not in seen
        await press(pilot, "ctrl+o")
        assert [e.changes for e in edits(session)] == [{"ssl.key_storage": "secret_manager"}]


async def test_what_was_saved_with_a_warning_is_said() -> None:
    session = fleet()
    session.warnings = ("ssl.region: is deprecated and ignored",)
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SSL, "e", "tab", "tab", "delete", "ctrl+o")
        await eventually(pilot, lambda: "saved, but: ssl.region: is deprecated" in picture(pilot))


async def test_fields_stand_on_one_tab_each() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        for label, there in (("web-20", {"ssl.key_storage"}), ("web-23", {"domains", "public_ip_allocation"}), ("web-21", {"ssl.sans"})):
            await to(pilot, label, "e", "escape")
            await to(pilot, label, *SSL)
            one = screen(pilot)
            on_settings, on_ssl = set(one.settings.form.rows), set(one.ssl.settings.form.rows)
            assert not on_settings & on_ssl and there <= on_ssl, label
            assert ("public_ip_allocation" in on_settings) == (label != "web-23")


async def test_leaving_asks_for_the_edits_of_both_tabs() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", "e", "=x")
        screen(pilot)._show_tab("ssl")
        await settled(pilot)
        await keys(pilot, "e", "tab", "tab", "=k", "escape", "escape")
        assert "Label, Private key" in picture(pilot)
        await press(pilot, "y")
        assert not isinstance(pilot.app.screen, InstanceScreen)


# --- the certificate --------------------------------------------------------------------------------------------------


async def test_served_stands_beside_what_is_on_record() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SSL)
        seen = picture(pilot)
        assert "what is served is not what is on record" in seen and "SERVED, seen 2m ago" in seen
        assert "! CN=web-old.example.org" in seen and "another one is saved" in seen and "it waits for a reprovision" in seen
        await press(pilot, "V")
        full = picture(pilot)
        assert "fingerprint" in full and "2. in the chain" in full and "CN=Example Root" in full


async def test_a_test_asks_for_a_real_look_and_tells_what_it_found() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-23", *SSL, "T")
        assert [c for c in session.calls if isinstance(c, i.ShowSsl)][-1].test
        assert "5 problems found" in toasts(pilot), "as many as its page lists"
        seen = picture(pilot)
        assert "untrusted" in seen and "no browser accepts it" in seen and "renewal fails: too many certificates" in seen
        assert "the directory wants no requests until then" in seen and "by itself 2026-11-20 21:02" in seen


async def test_renewing_is_for_those_that_are_renewed() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SSL, "r")
        assert "nothing renews a certificate of the HTTPS strategy per_instance" in toasts(pilot)
        await to(pilot, "web-23", *SSL, "r")
        assert [c.target for c in session.calls if isinstance(c, i.RenewCertificate)] == ["i-web-23"]


async def test_a_key_of_the_tab_does_not_reach_beyond_it() -> None:
    """``T`` tests the certificate on its tab, and retries the start-up everywhere else."""
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", "T")
        assert "Retry start-up" in toasts(pilot)
        assert not [c for c in session.calls if isinstance(c, i.ShowSsl)]


async def test_domains_are_added_and_taken_away_by_a_key() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-23", *SSL, "+", "=shop.example.org", "ctrl+o")
        assert edits(session)[-1].changes == {"domains": ["web-23.example.org", "www.example.org", "shop.example.org"]}
        await press(pilot, "-")
        await type_in(pilot, "www")
        await press(pilot, "enter")
        assert edits(session)[-1].changes == {"domains": ["web-23.example.org", "shop.example.org"]}


async def test_the_pem_that_is_copied_holds_no_key() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SSL, "c")
        assert pilot.app.clipboard.split() == CHAIN.split()


# --- data and setup actions -------------------------------------------------------------------------------------------


async def test_the_snapshot_under_the_cursor_is_deleted_once_its_id_is_typed() -> None:
    session = fleet()
    session.snapshots = [
        i.SnapshotRecord(f"s-{n}", "i-web-20", f"change {n}", False, 2**30, NOW - timedelta(days=n)) for n in (1, 2)
    ]

    def sent() -> list[i.DeleteSnapshot]:
        return [call for call in session.calls if isinstance(call, i.DeleteSnapshot) and not call.dry_run]

    async with console(session) as pilot:
        await to(pilot, "web-20")
        await press(pilot, "colon")
        await type_in(pilot, "delete-snapshot")
        await press(pilot, "enter")
        assert "on the Data tab" in toasts(pilot)
        await press(pilot, *DATA, "j", "x")
        await type_in(pilot, "delete snapshot")
        await press(pilot, "enter")
        assert "Delete snapshot s-2?" in picture(pilot) and "Type  s-2  to confirm" in picture(pilot)
        await type_in(pilot, "s-1")
        await press(pilot, "enter")
        assert sent() == []
        await press(pilot, "ctrl+u")
        await type_in(pilot, "s-2")
        await press(pilot, "enter")
        [request] = sent()
        assert (request.target, request.confirm) == ("s-2", "s-2") and request.request_id
        assert screen(pilot).tab == "data", "its list tells how it ends"
        session.snapshots.pop()
        session.touch("instance:i-web-20", "snapshot.deleted", "snapshot s-2 of web-20 deleted")
        await eventually(pilot, lambda: "change 2" not in picture(pilot))
        assert "change 1" in picture(pilot)


async def test_a_disk_grows_after_both_sizes_were_confirmed() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *DATA, "+")
        assert "Grow the data disk of web-20, now 50 GiB" in picture(pilot)
        await keys(pilot, "backspace", "backspace", "=40", "ctrl+o")
        assert "it has 50 GiB; a disk can only grow" in picture(pilot)
        await keys(pilot, "backspace", "backspace", "=80", "ctrl+o")
        assert [c.dry_run for c in session.calls if isinstance(c, i.GrowDisk)] == [True]
        await press(pilot, "y")
        assert [(c.size_gb, c.dry_run) for c in session.calls if isinstance(c, i.GrowDisk)] == [(80, True), (80, False)]


async def test_a_disk_at_its_greatest_is_said_to_be() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-22", *DATA, "+")
        assert "as many as its settings allow" in toasts(pilot)


async def test_setup_actions_stand_in_their_order_with_what_they_would_do() -> None:
    session = fleet()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", *SETUP)
        (request,) = [c for c in session.calls if isinstance(c, RenderTemplate)]
        assert (request.target, request.instance) == ("hello", "i-web-20")
        seen = picture(pilot)
        assert "waits for a reprovision (R): was web-tiny, will be web-small" in seen and "1 would be refused here" in seen
        places = [seen.index(name) for name in ("environment", "proxy", "deploy key", "● tune", "✗ port")]
        assert places == sorted(places)
        await press(pilot, "j", "j", "enter")
        assert "write ~/.ssh/deploy, mode 600: ••••" in picture(pilot)


async def test_a_read_only_console_changes_nothing_from_the_tabs() -> None:
    session = fleet()
    session.make_read_only()
    async with console(session, (160, 48)) as pilot:
        said: list[str] = []
        pilot.app.notify = lambda message, **_more: said.append(message)  # type: ignore[method-assign, assignment]
        await to(pilot, "web-23", *SSL, "r", "+", "-")
        await to(pilot, "web-20", *DATA, "+")
        assert sum("this console is read-only" in one for one in said) == 4
        assert not [c for c in session.calls if isinstance(c, i.EditInstance | i.GrowDisk | i.RenewCertificate)]


def test_no_record_of_the_door_holds_a_key() -> None:
    """What the tab asks for has no room for one."""
    record: Any = i.SslRecord
    assert not {"private_key_pem", "private_key"} & set(record.__dataclass_fields__)
    assert json.dumps(sorted(record.__dataclass_fields__)).count("key") == 2  # where it is stored, and the mark of its public half



async def test_who_may_not_save_is_not_let_type() -> None:
    session = fleet()
    session.make_read_only()
    async with console(session, (160, 48)) as pilot:
        await to(pilot, "web-20", "right")
        assert "this console is read-only" in picture(pilot) and not screen(pilot).settings.form.rows["label"].editor.focusable
        await to(pilot, "web-20", *SSL)
        rows = screen(pilot).ssl.settings.form.rows
        assert not any(row.editor.focusable for row in rows.values()) and rows["ssl.private_key_pem"].raw == MARK
