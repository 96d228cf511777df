"""Owners are told by mail, through a real SMTP server, each of them once whatever dies in between."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from fleet_tui.backend.errors import FleetError, InvalidInput
from fleet_tui.backend.maintenance import AnnounceMaintenance, Step
from fleet_tui.backend.maintenance.announce import address
from fleet_tui.backend.maintenance.drivers import Mail
from fleet_tui.backend.operations import OperationState
from tests.backend.maintenance.fleet import Fleet
from tests.backend.maintenance.test_coming_back import shown
from tests.backend.maintenance.test_evacuation import Make, until

ANNOUNCE = "host.announce"


class Box:
    """What arrived; refuses recipients on request."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, Message]] = []
        self.refuse: set[str] = set()

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, to: str, options: list[Any]) -> str:
        if to in self.refuse:
            return "550 no such person"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert envelope.content is not None
        content = envelope.content if isinstance(envelope.content, bytes) else envelope.content.encode()
        self.mails.append((envelope.rcpt_tos[0], message_from_bytes(content)))
        return "250 OK"


@pytest.fixture
def box() -> Iterator[Box]:
    yield Box()


@pytest.fixture
def mail(box: Box) -> Iterator[Mail]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield Mail(f"127.0.0.1:{port}", "fleet@example.com", "example.com")
    server.stop()


@pytest.fixture
def fleet(make_fleet: Make, mail: Mail) -> Fleet:
    made = make_fleet(mail=mail)
    made.add_vm("web-1", "h0", owners=("ada", "bob@other.org"), ips=["10.1.0.5"])
    made.add_vm("db-1", "h0", owners=("ada",))
    made.add_vm("off", "h0", owners=("carl",), is_running=False)
    made.add_vm("elsewhere", "h1", owners=("dora",))
    return made


def ask(**values: object) -> AnnounceMaintenance:
    return AnnounceMaintenance(**{"target": "h0", "reason": "replace DIMM A3", **values})  # type: ignore[arg-type]


def test_each_owner_of_a_running_vm_gets_one_mail_with_the_table(fleet: Fleet, box: Box) -> None:
    record = fleet.through(ANNOUNCE, ask(text="Sorry for the short notice.", until="2031-05-17T06:00+00:00"))
    assert record.state is OperationState.SUCCEEDED and record.result == {"sent": 2}
    assert sorted(to for to, _ in box.mails) == ["ada@example.com", "bob@other.org"]
    mail = next(mail for to, mail in box.mails if to.startswith("ada"))
    text = str(mail.get_payload())
    assert "h0" in mail["Subject"] and mail["From"] == "fleet@example.com"
    assert "replace DIMM A3" in text and "short notice" in text and "17 May 2031 06:00 UTC" in text
    table = [line.split() for line in text.splitlines() if line.startswith(("IP", "10.", "-"))]
    assert table == [["IP", "name", "owner"], ["-", "db-1", "ada"], ["10.1.0.5", "web-1", "ada,", "bob@other.org"]]
    session = shown(fleet)
    assert session.step is Step.ANNOUNCE and session.announced_to == ("ada@example.com", "bob@other.org") and session.announced_at is not None


def test_a_mail_that_was_sent_is_not_sent_again_after_a_kill(fleet: Fleet, box: Box) -> None:
    operation = fleet.submit(ANNOUNCE, ask()).operation
    assert operation is not None
    until(fleet, "after-body:1")
    fleet.crash()
    fleet.run()
    assert fleet.show(operation.id).state is OperationState.SUCCEEDED
    assert sorted(to for to, _ in box.mails) == ["ada@example.com", "bob@other.org"]


def test_a_mail_of_which_nobody_knows_is_not_sent_again_and_that_is_said(fleet: Fleet, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleet_tui.backend.maintenance import announce
    from tests.backend.maintenance.stage import Killed

    hand_over, dying = announce._hand_over, [True]

    def dies(server: Any, message: Any) -> str:
        said = hand_over(server, message)
        if dying.pop() if dying else False:
            raise Killed
        return said

    monkeypatch.setattr(announce, "_hand_over", dies)
    operation = fleet.submit(ANNOUNCE, ask()).operation
    assert operation is not None
    fleet.run()  # dies between the server's answer and our record of it
    fleet.crash()
    fleet.run()
    assert sorted(to for to, _ in box.mails) == ["ada@example.com", "bob@other.org"]
    assert any("may or may not have gone out" in line[4] for line in fleet.said.lines)


def test_who_was_refused_is_named_and_the_others_have_their_mail(fleet: Fleet, box: Box) -> None:
    box.refuse.add("ada@example.com")
    record = fleet.through(ANNOUNCE, ask())
    assert record.state is OperationState.FAILED and record.error is not None and record.error.code == "partial"
    assert "ada@example.com" in record.error.message and [to for to, _ in box.mails] == ["bob@other.org"]


def test_a_server_that_cannot_be_reached_is_an_error(make_fleet: Make) -> None:
    fleet = make_fleet(mail=Mail("127.0.0.1:1", "fleet@example.com", "example.com"))
    fleet.add_vm("a", "h0", owners=("ada",))
    record = fleet.through(ANNOUNCE, ask())
    assert record.error is not None and record.error.code == "unreachable"


def test_it_is_refused_without_a_server_a_reason_or_anybody_to_tell(make_fleet: Make, mail: Mail) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0", owners=("ada",))
    with pytest.raises(FleetError, match="no mail server"):
        fleet.submit(ANNOUNCE, ask())
    fleet = make_fleet(mail=mail)
    with pytest.raises(InvalidInput):
        fleet.submit(ANNOUNCE, ask(reason=""))
    with pytest.raises(FleetError, match="no owner"):
        fleet.submit(ANNOUNCE, ask())


@pytest.mark.parametrize("owner", ["a@b@c", "x\r\nBcc: all@x", "ä", "@x", "a b@c", "<a@b>", ""])
def test_what_could_not_stand_in_a_header_is_no_address(owner: str) -> None:
    assert address(owner, Mail("s", "f@x", "example.com")) in (None, ) or owner == ""
