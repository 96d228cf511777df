"""When certificates end and are renewed: the board, the attention list, and the clock of renewals."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates import ListBoard, made_up
from fleet_tui.backend.certificates.rows import CertificateRow
from fleet_tui.backend.errors import FleetError, WrongState
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.instances import CreateInstance, RenewCertificate, certified
from fleet_tui.backend.instances import looks as looks_of
from fleet_tui.backend.instances import settings as saved
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.links import NETWORK_COPY
from fleet_tui.backend.instances.looks import Looks
from fleet_tui.backend.instances.operations import OPERATIONS
from fleet_tui.backend.instances.renewals import KIND, Renewals
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.serving import url_of
from fleet_tui.backend.operations import ErrorRecord, OperationRequest
from fleet_tui.backend.operations.catalogue import OperationFacts
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, new_id

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)


class Clock:
    """One that is set."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drivers(clock: Clock) -> Drivers:
    return Drivers(None, None, None, "", clock, sealer=Envelope(b"k" * 32))  # type: ignore[arg-type]


@pytest.fixture
def fleet(store: Store, clock: Clock) -> Store:
    """Running instances whose certificates end in so many days, and one that does not run."""
    with store.write() as tx:
        tx.add(TemplateRow(id=new_id("t"), label="hello", application="hello-app", setup_actions=[], version=1))
        for strategy in ("self_signed", "letsencrypt", "none"):
            tx.add(NetworkRow(id=new_id("n"), label=strategy, provider="local", https_strategy=strategy))
        tx.flush()
        for label, days, strategy, state in (
            ("gone", -1.5, "self_signed", "running"), ("six", 6.5, "self_signed", "running"), ("ten", 10.5, "letsencrypt", "running"),
            ("twenty", 20.5, "letsencrypt", "running"), ("long", 300.0, "self_signed", "running"), ("rests", 3.0, "self_signed", "stopped"),
            ("plain", 0.0, "none", "running"),
        ):
            row = saved.create(tx, CreateInstance(label=label, network=strategy), clock)
            row.state = state
            if strategy != "none":
                row.certificate_not_after, row.certificate_fingerprint = NOW + days * DAY, f"FP:{label}"
    return store


def test_the_board_has_every_certificate_the_first_to_end_at_the_top(fleet: Store, drivers: Drivers) -> None:
    with fleet.read() as tx:
        board = certified.board(tx, ListBoard(), drivers)
        soon = certified.board(tx, ListBoard(within_days=14), drivers)
    assert [(entry.owner, entry.days_left, entry.state) for entry in board] == [
        ("gone", -2, "expired"), ("rests", 3, "critical"), ("six", 6, "critical"), ("ten", 10, "soon"), ("twenty", 20, "due"), ("long", 300, "well"),
    ]  # fmt: skip
    assert [entry.owner for entry in soon] == ["gone", "rests", "six", "ten"]
    assert {entry.kind for entry in board} == {"self_signed", "letsencrypt"} and board[0].fingerprint == "FP:gone"


def test_attention_begins_at_14_days_and_is_urgent_at_7(fleet: Store, clock: Clock) -> None:
    def told() -> dict[str, bool]:
        with fleet.read() as tx:
            return {label: urgent for _, label, _, _, urgent, _ in certified.wanting_attention(tx, clock, 14)}

    assert told() == {"gone": True, "six": True, "ten": False}
    clock.time = NOW + 4 * DAY
    assert told() == {"gone": True, "six": True, "ten": True}
    clock.time = NOW + 7 * DAY
    assert told() == {"gone": True, "six": True, "ten": True, "twenty": False}


def test_words_tell_how_long_and_why_the_renewal_fails(fleet: Store, clock: Clock) -> None:
    with fleet.write() as tx:
        ten = tx.query(InstanceRow).filter_by(label="ten").one()
        certified.certificate_of(tx, f"instance:{ten.id}").renewal_problem = "port 80 is closed"
        twenty = tx.query(InstanceRow).filter_by(label="twenty").one()
        certified.certificate_of(tx, f"instance:{twenty.id}").renewal_problem = "the domain leads elsewhere"
        long = tx.query(InstanceRow).filter_by(label="long").one()
        certified.certificate_of(tx, f"instance:{long.id}").mismatch = True
    with fleet.read() as tx:
        told = {label: (words, hint) for _, label, words, hint, _, _ in certified.wanting_attention(tx, clock, 14)}
    assert told["gone"][0] == "certificate ended 1 day ago" and told["six"][0] == "certificate ends in 6 days"
    assert told["ten"][1].startswith("renewal fails: port 80 is closed") and "another certificate" in told["long"][0]
    assert told["twenty"][0] == "certificate is not renewed, 20 days left" and told["twenty"][1].startswith("the domain leads elsewhere")
    assert all("enter opens it" in hint or "R tries again" in hint for _, hint in told.values()), "each says what to press"


@given(st.text(min_size=1, max_size=20), st.floats(0.1, 4000.0))
def test_renewal_begins_in_time_and_at_the_same_moment_for_everybody(ref: str, life_days: float) -> None:
    ends = NOW + life_days * DAY
    moment = certified.renewal_moment(ref, ends, life_days * 86400)
    margin = min(30 * DAY, life_days * DAY / 3)
    assert ends - margin <= moment <= ends - margin + min(DAY, margin / 10) + timedelta(seconds=1)
    assert moment == certified.renewal_moment(ref, ends, life_days * 86400)


@given(st.text(min_size=1, max_size=20), st.floats(-5.0, 40.0) | st.none())
def test_the_next_attempt_is_tomorrow_or_when_the_directory_wants(ref: str, wait_days: float | None) -> None:
    earliest = None if wait_days is None else NOW + wait_days * DAY
    moment = certified.next_attempt(ref, NOW, 86400.0, earliest)
    assert moment >= NOW + timedelta(hours=22) and (earliest is None or moment >= earliest)
    assert moment <= max(NOW + timedelta(hours=26), earliest or NOW)


def test_hours_of_a_fleet_are_spread() -> None:
    moments = [certified.renewal_moment(f"instance:i-{n}", NOW + 90 * DAY, 90 * 86400.0) for n in range(200)]
    assert len({moment.hour for moment in moments}) >= 20


class Desk:
    """Takes what is submitted."""

    def __init__(self, refusal: FleetError | None = None) -> None:
        self.refusal = refusal
        self.asked: list[OperationRequest] = []

    def submit(self, kind: str, request: OperationRequest, user: str) -> Any:
        assert (kind, user) == ("instance.renew-certificate", "schedule")
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal


def due(fleet: Store, label: str, at: datetime, retry_at: datetime | None = None) -> str:
    with fleet.write() as tx:
        instance = tx.query(InstanceRow).filter_by(label=label).one()
        row = certified.certificate_of(tx, f"instance:{instance.id}")
        row.renew_at, row.retry_at = at, retry_at
        return row.ref


def test_what_is_due_is_submitted_once_a_day_whatever_becomes_of_it(fleet: Store, clock: Clock, drivers: Drivers) -> None:
    ref = due(fleet, "ten", NOW)
    due(fleet, "rests", NOW)
    due(fleet, "twenty", NOW + timedelta(minutes=5))
    desk = Desk(WrongState("busy with something"))
    renewals = Renewals(fleet, drivers, desk.submit)
    for _ in range(5):
        renewals.sweep()
    assert [request.target for request in desk.asked] == [ref], "once; not what does not run, not what is not due"
    with fleet.read() as tx:
        row = tx.get(CertificateRow, ref)
        assert row is not None and row.renew_at is not None
        following = row.renew_at
    assert NOW + timedelta(hours=22) <= following <= NOW + timedelta(hours=26)
    clock.time = following
    renewals.sweep()
    assert [request.target for request in desk.asked].count(ref) == 2 and len({request.request_id for request in desk.asked}) == len(desk.asked)


def test_a_rate_limit_moves_the_next_attempt(fleet: Store, drivers: Drivers) -> None:
    ref = due(fleet, "ten", NOW, NOW + 5 * DAY)
    Renewals(fleet, drivers, Desk().submit).sweep()
    with fleet.read() as tx:
        row = tx.get(CertificateRow, ref)
        assert row is not None and row.renew_at == NOW + 5 * DAY


def issued(fleet: Store, label: str, starts: datetime, ends: datetime) -> None:
    """What an agent tells once it has another certificate."""
    facts = made_up.facts_of(made_up.issue(label, [f"{label}.example.org"], starts, ends, "somebody").pem)
    with fleet.write() as tx:
        row = tx.query(InstanceRow).filter_by(label=label).one()
        row.certificate_not_after, row.certificate_fingerprint = ends, str(facts["certificate_fingerprint"])
        certified.note(tx, row, facts)


def on_record(fleet: Store, label: str) -> CertificateRow:
    with fleet.read() as tx:
        return tx.get_one(CertificateRow, f"instance:{_id_in(tx, label)}")


def renewal(fleet: Store, label: str) -> OperationFacts:
    """A renewal as it is when it was accepted."""
    kind = next(kind for kind in OPERATIONS if kind.kind == KIND)
    with fleet.write() as tx:
        tx.query(InstanceRow).filter_by(label=label).one().machine = "m-1"
        prepared = kind.prepare(tx, RenewCertificate(target=label), "tester")
        return OperationFacts("o-1", KIND, label, prepared.target_ref, prepared.parameters, "tester")


def fails(fleet: Store, op: OperationFacts, why: str) -> None:
    kind = next(kind for kind in OPERATIONS if kind.kind == KIND)
    assert kind.failed is not None
    with fleet.write() as tx:
        kind.failed(tx, op, ErrorRecord("unreachable", why), "renew")


def test_a_renewal_that_failed_is_forgotten_once_there_is_a_new_certificate(fleet: Store) -> None:
    issued(fleet, "ten", NOW - 80 * DAY, NOW + 10 * DAY)
    fails(fleet, renewal(fleet, "ten"), "ten.example.org: no A record")
    with fleet.write() as tx:
        tx.get_one(CertificateRow, f"instance:{_id_in(tx, 'ten')}").retry_at = NOW + DAY
    assert on_record(fleet, "ten").renewal_problem == "ten.example.org: no A record"
    issued(fleet, "ten", NOW - 80 * DAY, NOW + 9 * DAY)
    assert on_record(fleet, "ten").renewal_problem, "an older one that was put back is no renewal"
    issued(fleet, "ten", NOW, NOW + 90 * DAY)
    assert (on_record(fleet, "ten").renewal_problem, on_record(fleet, "ten").retry_at) == ("", None)


@pytest.mark.parametrize("told_first", [True, False])
def test_a_certificate_that_is_in_place_is_renewed_whatever_fails_after_it(fleet: Store, told_first: bool) -> None:
    issued(fleet, "ten", NOW - 80 * DAY, NOW + 10 * DAY)
    op = renewal(fleet, "ten")
    if told_first:
        issued(fleet, "ten", NOW, NOW + 90 * DAY)
    fails(fleet, op, "reloading the application failed")
    with fleet.read() as tx:
        said = [event.text for event in tx.scalars(select(EventRow)) if "in place" in event.text]
    assert said == (["the new certificate of ten is in place, but not taken up: reloading the application failed"] if told_first else [])
    if not told_first:
        issued(fleet, "ten", NOW, NOW + 90 * DAY)
    assert on_record(fleet, "ten").renewal_problem == ""


# --- looks -----------------------------------------------------------------------------------------------------------


def test_looks_are_noted_compared_and_bounded(fleet: Store, clock: Clock, drivers: Drivers, tmp_path: Any) -> None:
    from tests.backend.certificates.authority import Authority, openssl

    ca = Authority(tmp_path / "ca")
    leaf = ca.issue("web", ca.key("web"), "web.example", sans="DNS:web.example")
    der = openssl("x509", "-in", leaf, "-outform", "DER")
    seen: list[tuple[str, int, str]] = []
    serves: list[Any] = [der]

    def look(address: str, port: int, name: str) -> bytes:
        seen.append((address, port, name))
        if isinstance(serves[0], Exception):
            raise serves[0]
        return bytes(serves[0])

    with fleet.write() as tx:
        for number, label in enumerate(("six", "ten", "rests")):
            row = tx.query(InstanceRow).filter_by(label=label).one()
            row.private_ip, row.port, row.host_name = "127.0.0.1", 20000 + number, f"{label}.internal"
            certified.certificate_of(tx, f"instance:{row.id}").pem = leaf.read_text()
        tx.query(InstanceRow).filter_by(label="ten").one().settings = {**row.settings, "domains": ["ten.example.org"]}
    looks = Looks(fleet, drivers, look)
    assert looks.sweep() == 2 and looks.sweep() == 0
    assert {name for _, _, name in seen} == {"six.internal", "ten.example.org"}
    with fleet.read() as tx:
        six = tx.query(InstanceRow).filter_by(label="six").one()
        row = tx.get(CertificateRow, f"instance:{six.id}")
        assert row is not None and row.mismatch and row.served_pem.split() == leaf.read_text().split() and row.served_problem == ""
        record = certified.show(tx, "six", drivers)
        assert record.served is not None and record.served.facts is not None and record.served.facts.subject == "web.example" and record.mismatch
    for problem, words in ((TimeoutError(), "no answer within"), (ConnectionRefusedError(), "nothing listens"), (OSError(113, "No route to host"), "No route")):
        serves[0] = problem
        clock.time += timedelta(hours=1)
        assert looks.sweep() == 2
        with fleet.read() as tx:
            row = tx.get(CertificateRow, f"instance:{six.id}")
            assert row is not None and words in row.served_problem and not row.mismatch
    serves[0] = b"nonsense"
    clock.time += timedelta(hours=1)
    looks.sweep()
    with pytest.raises(WrongState):
        looks.look_now("instance:" + _id(fleet, "rests"))
    looks.stop()


def test_an_instance_is_looked_at_where_people_are_sent_and_inside_when_that_does_not_answer(
    fleet: Store, clock: Clock, drivers: Drivers
) -> None:
    seen: list[str] = []

    def look(address: str, port: int, name: str) -> bytes:
        seen.append(address)
        raise TimeoutError if address == "192.0.2.7" else ConnectionRefusedError

    with fleet.write() as tx:
        row = tx.query(InstanceRow).filter_by(label="six").one()
        row.public_ip, row.private_ip, row.port = "192.0.2.7", "10.0.0.7", 443
        certified.certificate_of(tx, f"instance:{row.id}").pem = "x"
    looks = Looks(fleet, drivers, look)
    looks.look_now("instance:" + _id(fleet, "six"))
    looks.stop()
    with fleet.read() as tx:
        noted = tx.get_one(CertificateRow, "instance:" + _id(fleet, "six"))
        assert seen == ["192.0.2.7", "10.0.0.7"] and "no answer within" in noted.served_problem, "what people would see is told"


def test_those_that_serve_nothing_over_https_keep_no_other_from_being_looked_at(fleet: Store, drivers: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks_of, "_AT_ONCE", 1)
    with fleet.write() as tx:
        for number, label in enumerate(("gone", "ten", "twenty", "long", "plain", "six")):
            row = tx.query(InstanceRow).filter_by(label=label).one()
            row.private_ip, row.port = "10.0.0.7", 20000 + number
            certified.certificate_of(tx, f"instance:{row.id}").pem = "x"
        tx.query(NetworkRow).filter_by(label="letsencrypt").one().https_strategy = "none"  # allowed; it waits for a reprovision
        for label, nothing in (("gone", {"private_ip": None}), ("long", {"port": None})):
            tx.query(InstanceRow).filter_by(label=label).update(nothing)
        for row in tx.query(CertificateRow):
            row.served_at = NOW - 2 * DAY if row.ref == f"instance:{_id_in(tx, 'six')}" else None
    looks = Looks(fleet, drivers, lambda address, port, name: b"nonsense")
    assert (looks.sweep(), looks.sweep()) == (1, 0)
    looks.stop()


@pytest.mark.parametrize(("network", "row", "url"), [
    ({}, {"public_ip": "192.0.2.7"}, "https://192.0.2.7:443/"), ({}, {}, "https://10.0.0.7:443/"), ({"https_strategy": "none"}, {}, "http://10.0.0.7:443/"),
    ({"dns_strategy": "cloud_dns", "public_zone_id": "Z1"}, {"public_ip": "192.0.2.7"}, "https://web.example.org:443/"),
    ({"dns_strategy": "cloud_dns", "private_zone_id": "Z1"}, {"public_ip": "192.0.2.7"}, "https://192.0.2.7:443/"),
    ({"dns_strategy": "cloud_dns", "private_zone_id": "Z1"}, {}, "https://web.example.org:443/"),
    ({"https_strategy": "letsencrypt", "dns_strategy": "cloud_dns", "public_zone_id": "Z1"}, {"public_ip": "192.0.2.7"}, "https://app.example.org:443/"),
    ({}, {"public_ip": "2001:db8::7"}, "https://[2001:db8::7]:443/"),
])  # fmt: skip
def test_people_are_sent_where_the_instance_can_be_reached_by_the_name_it_was_given(
    network: dict[str, str], row: dict[str, str], url: str
) -> None:
    place = {"https_strategy": "self_signed", "dns_strategy": "none", "public_zone_id": "", "private_zone_id": "", **network}
    told = {"private_ip": "10.0.0.7", "host_name": "web.example.org", "port": 443, **row}
    assert url_of(InstanceRow(**told), {"domains": ["app.example.org"], NETWORK_COPY: place}) == url


def _id_in(tx: Session, label: str) -> str:
    return tx.query(InstanceRow).filter_by(label=label).one().id


def _id(fleet: Store, label: str) -> str:
    with fleet.read() as tx:
        return str(tx.query(InstanceRow).filter_by(label=label).one().id)


@pytest.mark.parametrize("told", [
    "text", [["AAAA", 3]], [["!!!"]], [[]] * 20, [["A" * 4] * 50], {"a": 1}, None, [[["AAAA"]]],
])  # fmt: skip
def test_what_an_agent_claims_is_stored_as_certificates_or_not_at_all(told: Any) -> None:
    assert certified._pem_of(told) == ""


def test_chains_come_together_again() -> None:
    import base64

    der = bytes(range(256)) * 6
    coded = base64.b64encode(der).decode()
    pem = certified._pem_of([[coded[:480], coded[480:960], coded[960:]]])
    assert base64.b64decode("".join(pem.splitlines()[1:-1])) == der and max(map(len, pem.splitlines())) == 64
