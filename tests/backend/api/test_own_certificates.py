"""The fleet's own certificates stand on the board beside those of the instances."""

from __future__ import annotations

from datetime import timedelta

from fleet_tui.backend.api.certificates_answers import CertificateAnswers
from fleet_tui.backend.api.listeners import AgentListener
from fleet_tui.backend.api.own_certificates import OwnCertificates
from fleet_tui.backend.authority.root import Authority
from fleet_tui.backend.certificates import ListBoard
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store
from tests.doors import ROOT

SEALER = Envelope(b"k" * 32)


def test_the_authority_and_the_door_it_signed_for_are_on_the_board(store: Store) -> None:
    clock = SystemClock()
    assert OwnCertificates(store, None, clock, 14).entries() == (), "no authority is made only to be shown"
    authority = Authority(store, SEALER, "paris", clock=clock)
    door = AgentListener("127.0.0.1", 0, lambda: authority.issue("fleet.example.org", "10.0.0.5"), authority.is_due)
    door.renew()
    own = OwnCertificates(store, door, clock, 14)
    drivers = Drivers(None, None, None, "", clock, sealer=SEALER)  # type: ignore[arg-type]
    answers = CertificateAnswers(store, drivers, None, SEALER, own.entries).table()  # type: ignore[arg-type]
    board = answers["certificates.board"](ROOT, ListBoard())
    assert [(entry.owner, entry.kind, entry.state) for entry in board] == [("agent door", "agent_door", "well"), ("fleet CA", "authority", "well")]
    of_door, of_authority = board
    assert set(of_door.sans) == {"fleet.example.org", "10.0.0.5"} and "ca.paris" in of_door.issuer and of_authority.days_left > 9000
    assert of_door.renew_at is not None and of_door.not_after - of_door.renew_at == timedelta(days=15)
    assert "PRIVATE" not in repr(board)
    assert answers["certificates.board"](ROOT, ListBoard(within_days=30)) == ()
