"""Cloud Setup, the expiry board and cloud images, driven by keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from fleet_tui.backend import cloud as c
from fleet_tui.backend.errors import InvalidInput, PermissionDenied, Problem
from fleet_tui.backend.identity import Role
from fleet_tui.backend.instances import RemoveOrphan, RenewCertificate
from fleet_tui.backend.providers import RegisterCloudImage, RemoveCloudImage
from fleet_tui.screens.ask import FormDialog
from tests.clouds_stub import BOARD, KEY, account, image, no_account, orphan
from tests.fleet_stub import StubSession, instance, operation
from tests.infrastructure_stub import zone
from tests.screens.console import console, eventually, front, picture, press, toasts, type_in

SECRET = "wJalrXUtnFEMI/K7MDENG"


def sent(stub: StubSession, kind: type) -> list[Any]:
    return [call for call in stub.calls if isinstance(call, kind) and not getattr(call, "dry_run", False)]


async def line(pilot: Pilot[int], text: str) -> None:
    await press(pilot, "colon")
    await type_in(pilot, text)
    await press(pilot, "enter")


def root(**fields: Any) -> StubSession:
    stub = StubSession(Role.ROOT_ADMIN)
    stub.account = account(**fields) if fields else no_account()
    return stub


async def test_without_an_account_it_says_what_to_do_and_what_to_make() -> None:
    async with console(root(), (100, 48)) as pilot:
        await line(pilot, "cloud")
        shown = picture(pilot)
        assert "no cloud account" in shown and "e sets it up" in shown and "the site's master key" in shown and "6 under the master key" in shown
        assert "1. Make a key" in shown and "ec2:RunInstances" in shown and "kms:ReEncryptTo" in shown


async def test_an_account_is_set_up_with_what_was_typed_and_the_secret_is_never_shown() -> None:
    stub = root()
    async with console(stub, (100, 40)) as pilot:
        await line(pilot, "cloud")
        await press(pilot, "e")
        await type_in(pilot, "eu-west-1")
        await press(pilot, "tab", "space", "space", "tab", "tab")
        await type_in(pilot, "AKIAIOSFODNN7EXAMPLE")
        await press(pilot, "tab")
        await type_in(pilot, SECRET)
        assert SECRET not in picture(pilot)
        await press(pilot, "ctrl+o")
        request = sent(stub, c.SetUpCloud)[0]
        assert (request.region, request.authentication, request.access_key_id) == ("eu-west-1", "keypair", "AKIAIOSFODNN7EXAMPLE")
        assert request.secret_access_key == SECRET and SECRET not in repr(request) and request.endpoint is None
        assert "is set; it is never shown" in picture(pilot) and SECRET not in picture(pilot)
        await press(pilot, "e", "tab", "tab", "tab", "tab")
        assert "one is set; empty keeps it" in picture(pilot) and "•" not in picture(pilot), "neither its value nor its length"


async def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_is_kept() -> None:
    stub = root()
    stub.aws_refuses = InvalidInput("no", problems=[Problem("region", "a region such as eu-west-1 is needed"), Problem("machine_type", "such as t3.medium")])
    async with console(stub, (100, 40)) as pilot:
        await line(pilot, "cloud")
        await press(pilot, "e")
        await type_in(pilot, "Ireland")
        await press(pilot, "ctrl+o")
        await eventually(pilot, lambda: "a region such as eu-west-1 is needed" in picture(pilot) and "such as t3.medium" in picture(pilot))
        assert "Ireland" in picture(pilot)
        missing = "AWS does not allow kms:Encrypt: User: arn:aws:iam::123456789012:user/fleet is not authorized to perform: kms:Encrypt"
        stub.aws_refuses = PermissionDenied(missing, hint="allow kms:Encrypt in the policy of the site's role or user", field="aws_cmk_id")
        await press(pilot, "ctrl+o")
        dialog = pilot.app.screen
        assert isinstance(dialog, FormDialog)
        await eventually(pilot, lambda: dialog.form.rows["aws_cmk_id"].has_class("-wrong"))
        assert "kms:Encrypt" in picture(pilot) and "Ireland" in picture(pilot) and not dialog.form.rows["region"].has_class("-wrong")
        stub.aws_refuses = None
        await press(pilot, "ctrl+o")
        assert sent(stub, c.SetUpCloud)[-1].region == "Ireland" and "saved" in toasts(pilot)


async def test_only_what_was_changed_is_sent() -> None:
    stub = root(aws_cmk_id="", cmk_arn="", sealed={})
    async with console(stub) as pilot:
        await line(pilot, "cloud")
        await press(pilot, "e")
        await eventually(pilot, lambda: "Try and save" in picture(pilot) and "t3.medium" in picture(pilot))
        await press(pilot, "ctrl+o")
        await eventually(pilot, lambda: "nothing was changed" in picture(pilot))
        assert not sent(stub, c.SetUpCloud)
        await press(pilot, *["tab"] * 8, *["backspace"] * 6)
        await type_in(pilot, "large")
        await press(pilot, "ctrl+o")
        request = sent(stub, c.SetUpCloud)[0]
        assert request.machine_type == "t3.large" and request.version == 3
        assert (request.region, request.secret_access_key, request.aws_cmk_id) == (None, None, None)


async def test_another_key_is_asked_about_with_what_it_touches() -> None:
    stub = root(aws_cmk_id="", cmk_arn="", sealed={"master key": 6}).add(operation("o-9", "cloud", title="re-wrap secrets"))
    async with console(stub) as pilot:
        await line(pilot, "cloud")
        await press(pilot, "e", *["tab"] * 6)
        await type_in(pilot, "alias/new")
        await press(pilot, "ctrl+o")
        assert "Change the key to alias/new?" in picture(pilot) and "6 secrets under the master key" in picture(pilot) and "sealed anew under alias/new" in picture(pilot)
        assert not sent(stub, c.SetUpCloud)
        await press(pilot, "y")
        assert sent(stub, c.SetUpCloud)[0].aws_cmk_id == "alias/new"
        await eventually(pilot, lambda: front(pilot).KIND == "operation" and "re-wrap secrets" in picture(pilot))


async def test_a_test_names_the_permission_that_is_missing() -> None:
    stub = root(version=3)
    async with console(stub, (80, 24)) as pilot:
        await line(pilot, "cloud")
        await press(pilot, "T")
        await eventually(pilot, lambda: "3 zones of eu-west-1 answer" in picture(pilot))
        assert "! region" in picture(pilot) and "warning: the key is in us-east-1" in picture(pilot)
        stub.aws_refuses = PermissionDenied("AWS does not allow kms:Decrypt: not authorized", hint="allow kms:Decrypt in the policy of the site's role or user")
        await press(pilot, "K", "end", *["backspace"] * 11)
        await type_in(pilot, "alias/other")
        await press(pilot, "enter")
        await eventually(pilot, lambda: "TRIED  alias/other" in picture(pilot))
        assert "✗ key" in picture(pilot) and "failed: AWS does not allow kms:Decrypt" in picture(pilot) and "allow kms:Decrypt in" in picture(pilot)
        assert [call.aws_cmk_id for call in sent(stub, c.TestKey)] == ["alias/other"]


async def test_secrets_move_after_a_question_and_are_watched_as_an_operation() -> None:
    stub = root(sealed={KEY: 14, "master key": 2})
    async with console(stub) as pilot:
        await line(pilot, "cloud")
        assert "2 stored secrets are under another key still. R moves them" in picture(pilot)
        await press(pilot, "R")
        assert "2 secrets under the master key" in picture(pilot) and not sent(stub, c.RewrapKeys)
        await press(pilot, "enter")
        assert not sent(stub, c.RewrapKeys), "enter refuses"
        await press(pilot, "R", "y")
        assert len(sent(stub, c.RewrapKeys)) == 1 and front(pilot).KIND == "operation"
        await press(pilot, "escape")
        stub.account = replace(stub.account, rewrap_id="o-1")
        stub.touch("cloud:aws")
        await eventually(pilot, lambda: "Secrets move to the key: operation o-1. o shows it" in picture(pilot))
        await press(pilot, "R")
        assert "Re-wrap secrets: it is under way already" in toasts(pilot)


@pytest.mark.parametrize("stub", [StubSession(Role.ADMIN), StubSession(Role.ROOT_ADMIN, read_only=True)], ids=["admin", "read-only"])
async def test_who_may_not_change_it_sees_it_and_is_told(stub: StubSession) -> None:
    stub.account = no_account()
    async with console(stub) as pilot:
        await line(pilot, "cloud")
        assert "no cloud account" in picture(pilot) and "e sets it up" not in picture(pilot)
        assert "may not)" in picture(pilot) or "read-only)" in picture(pilot)
        await press(pilot, "e")
        assert "may not" in toasts(pilot) or "read-only" in toasts(pilot)
        await press(pilot, "T", "K", "R")
        assert not isinstance(pilot.app.screen, FormDialog)
    assert not [call for call in stub.calls if isinstance(call, c.SetUpCloud | c.TestAccount | c.TestKey | c.RewrapKeys)]


async def test_a_monitor_has_no_cloud_setup() -> None:
    stub = StubSession(Role.MONITOR)
    async with console(stub) as pilot:
        await line(pilot, "cloud")
        assert "may not" in toasts(pilot) and front(pilot).KIND == "dashboard"


# The board


def boarded(role: Role = Role.ADMIN) -> StubSession:
    stub = StubSession(role).add(*(instance(row.owner) for row in BOARD if row.ref.startswith("instance:")))
    stub.board = BOARD
    return stub


async def test_the_board_begins_with_what_ends_first_and_says_what_is_wrong() -> None:
    async with console(boarded(), (120, 30)) as pilot:
        await line(pilot, "certificates")
        lines = [text for text in picture(pilot).splitlines() if any(row.owner in text for row in BOARD)]
        assert [next(row.owner for row in BOARD if row.owner in text) for text in lines][:7] == [row.owner for row in BOARD][:7]
        assert "✗ shop-2" in lines[0] and "expired" in lines[0] and "1d ago" in lines[0]
        assert "critical" in lines[1] and "not renewed: the directory allows no more" in lines[1]
        assert "serves another than is on record" in picture(pilot) and "trusted by nobody" in picture(pilot) and "fleet CA" in picture(pilot)
        assert "14" in picture(pilot) and "6 to look at" in picture(pilot)


async def test_the_board_is_filtered_by_state_and_name() -> None:
    async with console(boarded(), (120, 30)) as pilot:
        await line(pilot, "certificates")
        await press(pilot, "slash")
        await type_in(pilot, "state:critical")
        await press(pilot, "enter")
        assert "web-20" in picture(pilot) and "web-21" not in picture(pilot)
        await press(pilot, "escape", "slash")
        await type_in(pilot, "mismatch")
        await press(pilot, "enter")
        assert "web-19" in picture(pilot) and "web-20" not in picture(pilot)
        await press(pilot, "escape", "z")
        assert "app-01" not in picture(pilot) and "shop-2" in picture(pilot)


async def test_enter_opens_the_instance_and_renew_asks_for_what_can_be_renewed() -> None:
    stub = boarded()
    async with console(stub) as pilot:
        await line(pilot, "certificates")
        await press(pilot, "R")
        assert "given by hand" in toasts(pilot) and not sent(stub, RenewCertificate)
        await press(pilot, "j", "enter")
        assert front(pilot).KIND == "instance" and "web-20" in picture(pilot)
        await press(pilot, "escape", "G", "enter")
        assert front(pilot).KIND == "detail" and "CN=ca.paris" in picture(pilot)


async def test_renew_now_is_submitted_for_that_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = boarded()
    monkeypatch.setattr(stub, "_submitted", lambda request: (_ for _ in ()).throw(InvalidInput(f"asked for {request.target}")))
    async with console(stub) as pilot:
        await line(pilot, "certificates")
        await press(pilot, "j", "R")
        await eventually(pilot, lambda: "asked for instance:i-web-20" in toasts(pilot))
        assert sent(stub, RenewCertificate)[0].request_id


async def test_a_monitor_sees_the_board_and_renews_nothing() -> None:
    stub = boarded(Role.MONITOR)
    async with console(stub) as pilot:
        await line(pilot, "certificates")
        await press(pilot, "j", "R")
        assert "may not" in toasts(pilot) and "web-20" in picture(pilot) and not sent(stub, RenewCertificate)


# Cloud images


async def test_images_are_registered_and_removed_by_their_name() -> None:
    stub = StubSession()
    stub.zones = [zone("paris")]
    async with console(stub) as pilot:
        await line(pilot, "images")
        assert "no cloud image yet · n registers one" in picture(pilot)
        await press(pilot, "n")
        await type_in(pilot, "debian-12")
        await press(pilot, "tab", "tab")
        await type_in(pilot, "/srv/images/debian-12.qcow2")
        await press(pilot, "ctrl+o")
        assert sent(stub, RegisterCloudImage) == [RegisterCloudImage("debian-12", "paris", "/srv/images/debian-12.qcow2")]
        await eventually(pilot, lambda: "/srv/images/debian-12.qcow2" in picture(pilot))
        await line(pilot, "remove-image")
        assert "Type  debian-12  to confirm" in picture(pilot)
        await type_in(pilot, "debian-12")
        await press(pilot, "enter")
        assert sent(stub, RemoveCloudImage)[0].confirm == "debian-12"
        await eventually(pilot, lambda: "no cloud image yet" in picture(pilot))


async def test_what_an_image_is_called_is_found_by_a_filter() -> None:
    stub = StubSession()
    stub.images = [image("debian-12"), image("rocky-9", "lyon")]
    async with console(stub) as pilot:
        await line(pilot, "images")
        await press(pilot, "slash")
        await type_in(pilot, "lyon")
        assert "rocky-9" in picture(pilot) and "debian-12" not in picture(pilot)


# Orphans


def with_orphans() -> StubSession:
    stub = StubSession(Role.ROOT_ADMIN)
    stub.orphans = [
        orphan("vm-1c2d", "machine", place="10.0.3.7"), orphan("d-7f31", detail="attached to vm-1c2d", place="vol-0a1b2c"), orphan("s-9e8d", "snapshot"),
    ]
    return stub


async def test_what_no_instance_has_is_listed_and_removed_once_its_id_is_typed() -> None:
    stub = with_orphans()
    async with console(stub) as pilot:
        await line(pilot, "orphans")
        assert "attached to vm-1c2d" in picture(pilot) and "s-9e8d" in picture(pilot)
        await press(pilot, "j")
        await line(pilot, "remove-orphan")
        assert "Remove d-7f31?" in picture(pilot) and "Type  d-7f31  to confirm" in picture(pilot)
        await type_in(pilot, "d-7f31")
        await press(pilot, "enter")
        (request,) = sent(stub, RemoveOrphan)
        assert (request.kind, request.target, request.provider, request.region, request.confirm) == ("disk", "d-7f31", "aws", "eu-west-1", "d-7f31")
        stub.orphans = [row for row in stub.orphans if row.id != "d-7f31"]
        stub.touch("disk:d-7f31", "orphan.removed", "gone")
        await eventually(pilot, lambda: "attached to vm-1c2d" not in picture(pilot))
        await press(pilot, "slash")
        await type_in(pilot, "snapshot")
        assert "s-9e8d" in picture(pilot) and "10.0.3.7" not in picture(pilot)


async def test_a_provider_that_could_not_be_asked_is_told() -> None:
    stub = with_orphans()
    stub.aws_refuses = InvalidInput("no")
    async with console(stub) as pilot:
        await line(pilot, "orphans")
        assert "not asked: aws: nobody answers" in " ".join(toasts(pilot).split()) and "vm-1c2d" in picture(pilot)


async def test_where_everything_has_an_owner_that_is_said() -> None:
    async with console(StubSession(Role.ROOT_ADMIN)) as pilot:
        await line(pilot, "orphans")
        assert "everything belongs to an instance" in picture(pilot)
