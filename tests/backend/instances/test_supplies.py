"""What a machine is given over its own channel: its own key, orders for its own domains, and nothing of anybody else's."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from josepy.jwk import JWKEC

from fleet_tui.backend.certificates import AskMaterial, AskOrder, keys
from fleet_tui.backend.certificates.rows import AcmeAccountRow, CertificateKeyRow
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import AuthFailed, Busy, InvalidInput, NotFound
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.instances import CreateInstance, certified
from fleet_tui.backend.instances import settings as saved
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.rows import NetworkRow, TemplateRow
from fleet_tui.backend.instances.supplies import Supplies
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, new_id
from fleet_tui.backend.telemetry import Hello
from fleet_tui.backend.telemetry.agents import Agents
from fleet_tui.backend.telemetry.lines import Lines
from tests.backend.certificates.authority import openssl
from tests.waiting import until

SEALER = Envelope(b"k" * 32)
CLOCK = SystemClock()
NOWHERE = "https://127.0.0.1:9/dir"


class Desk:
    """A site with one machine, ``vm-1``, of the instance ``web``."""

    def __init__(self, store: Store) -> None:
        self.store, self.feed = store, Feed(store)
        lines = Lines(store, self.feed)
        self.agents = Agents(store, lines, SEALER)
        self.supplies = Supplies(store, Drivers(None, self.agents, lines, "", CLOCK, sealer=SEALER), SEALER)  # type: ignore[arg-type]
        with store.write() as tx:
            tx.add(TemplateRow(id=new_id("t"), label="hello", application="hello-app", setup_actions=[], version=1))
            tx.add(NetworkRow(id="n-1", label="net", provider="local", https_strategy="letsencrypt", contact_mail="ops@example.org"))
            tx.flush()
            self.ref = f"instance:{saved.create(tx, CreateInstance(label='web', network='net'), CLOCK).id}"

    def welcome(self, **certificate: Any) -> str:
        """Boot the machine with that part of its document; gives its key."""
        with self.store.write() as tx:
            token = self.agents.expect(tx, "vm-1", self.ref, {"certificate": certificate}, None, "o-1:boot")
        return self.agents.hello(Hello("vm-1", "boot-1", token, time.time(), 1, "1.0.0")).key


@pytest.fixture
def desk(store: Store) -> Iterator[Desk]:
    found = Desk(store)
    yield found
    found.feed.close()


@pytest.fixture(scope="module")
def csr(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("csr")
    return request(folder, "DNS:web.example.org")


def request(folder: Path, sans: str) -> str:
    made = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "k", "-subj", "/", "-addext", f"subjectAltName={sans}")
    return made.decode()


def test_a_machine_gets_the_key_its_document_names_and_no_other(desk: Desk) -> None:
    key = desk.welcome(strategy="per_instance", key_id="a" * 64)
    with desk.store.write() as tx:
        keys.keep(tx, desk.ref, "a" * 64, "MINE", SEALER, CLOCK)
        keys.keep(tx, desk.ref, "b" * 64, "OLD", SEALER, CLOCK)
        keys.keep(tx, "instance:i-other", "a" * 64, "THEIRS", SEALER, CLOCK)
    asked = AskMaterial("vm-1", "boot-1", key, "a" * 64)
    assert desk.supplies.material(asked).private_key_pem == "MINE"
    for wrong in ({"key": "nonsense"}, {"machine": "vm-2"}, {"key_id": "b" * 64}, {"key_id": ""}):
        with pytest.raises(AuthFailed):
            desk.supplies.material(dataclasses.replace(asked, **wrong))
    with desk.store.write() as tx:
        keys.forget(tx, desk.ref)
    with pytest.raises(NotFound, match="not on record any more"):
        desk.supplies.material(asked)


def test_what_the_cloud_sealed_goes_to_a_machine_there_as_it_is(desk: Desk) -> None:
    key = desk.welcome(strategy="per_instance", key_id="a" * 64)
    with desk.store.write() as tx:
        tx.add(CertificateKeyRow(ref=desk.ref, key_id="a" * 64, sealed="k1.key.context.blob", created_at=CLOCK.now()))
        tx.get_one(NetworkRow, "n-1").provider = "aws"
    material = desk.supplies.material(AskMaterial("vm-1", "boot-1", key, "a" * 64))
    assert (material.private_key_pem, material.sealed) == ("", "k1.key.context.blob")


def test_a_key_service_that_does_not_answer_holds_few_calls_of_the_door(desk: Desk) -> None:
    key, go = desk.welcome(strategy="per_instance", key_id="a" * 64), threading.Event()

    class Ill:
        def open(self, sealed: str, context: str) -> bytes:
            assert go.wait(30.0)
            return b"MINE"

    desk.supplies._vault = Ill()  # type: ignore[assignment]
    with desk.store.write() as tx:
        tx.add(CertificateKeyRow(ref=desk.ref, key_id="a" * 64, sealed="k1.key.context.blob", created_at=CLOCK.now()))
    asked = AskMaterial("vm-1", "boot-1", key, "a" * 64)
    with ThreadPoolExecutor(16) as door:
        calls = [door.submit(desk.supplies.material, asked) for _ in range(16)]
        until(lambda: sum(call.done() for call in calls) == 12, what="all but a few are told to ask again")
        go.set()
    said = [call.exception() or call.result().private_key_pem for call in calls]
    assert said.count("MINE") == 4 and sum(isinstance(one, Busy) for one in said) == 12


def test_orders_are_for_the_domains_of_the_machines_document(desk: Desk, csr: str, tmp_path: Path) -> None:
    key = desk.welcome(strategy="letsencrypt", domains=["Web.example.org"], directory=NOWHERE)
    asked = AskOrder("vm-1", "boot-1", key, csr)
    with pytest.raises(AuthFailed):
        desk.supplies.order(dataclasses.replace(asked, key="nonsense", csr_pem="not even looked at"))
    for sans in ("DNS:other.example.org", "DNS:web.example.org,DNS:other.example.org", "DNS:web.example.org,IP:10.0.0.1", "DNS:*.example.org"):
        with pytest.raises(InvalidInput):
            desk.supplies.order(dataclasses.replace(asked, csr_pem=request(tmp_path, sans)))
    with pytest.raises(InvalidInput, match="cannot be read"):
        desk.supplies.order(dataclasses.replace(asked, csr_pem="nonsense"))
    with desk.store.read() as tx:
        assert tx.query(AcmeAccountRow).count() == 0


def test_a_directory_that_is_away_is_waited_for_with_the_account_on_record(desk: Desk, csr: str) -> None:
    key = desk.welcome(strategy="letsencrypt", domains=["web.example.org"], directory=NOWHERE)
    standing = desk.supplies.order(AskOrder("vm-1", "boot-1", key, csr))
    assert standing.state == "wait" and "cannot be used" in standing.problem
    with desk.store.read() as tx:
        account = tx.query(AcmeAccountRow).one()
        assert (account.network_id, account.directory, account.uri) == ("n-1", NOWHERE, "")
        assert SEALER.open(account.key_sealed, f"acme-account:n-1:{NOWHERE}").startswith(b"-----BEGIN PRIVATE KEY")


def test_a_contact_that_changed_is_told_once_and_stops_nothing(desk: Desk, csr: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleet_tui.backend.certificates import acme

    told: list[str] = []
    refused: list[str] = []

    def tell(self: acme.Directory, mail: str) -> None:
        told.append(mail)
        if mail in refused:
            raise AuthFailed("the directory refused: invalidContact")

    monkeypatch.setattr(acme.Directory, "register", lambda self, mail: f"{NOWHERE}/account/1")
    monkeypatch.setattr(acme.Directory, "tell_contact", tell)
    monkeypatch.setattr(acme.Directory, "begin", lambda self, csr_pem, order_url="": acme.Order(f"{NOWHERE}/order/1", "challenge"))
    monkeypatch.setattr(acme.Directory, "advance", lambda self, csr_pem, order_url: acme.Order(order_url, "wait"))
    key = desk.welcome(strategy="letsencrypt", domains=["web.example.org"], directory=NOWHERE)

    def step(mail: str, *, ready: bool = False) -> str:
        with desk.store.write() as tx:
            tx.get_one(NetworkRow, "n-1").contact_mail = mail
        desk.supplies.order(AskOrder("vm-1", "boot-1", key, csr, ready=ready))
        with desk.store.read() as tx:
            return tx.query(AcmeAccountRow).one().mail

    assert step("ops@example.org") == step("ops@example.org") == "ops@example.org" and not told
    assert step("night@example.org", ready=True) == "ops@example.org" and not told, "not in the middle of an order"
    assert step("night@example.org") == step("night@example.org") == "night@example.org" and told == ["night@example.org"]
    refused.append("typo@example")
    assert step("typo@example") == "night@example.org" and told[-1] == "typo@example"
    assert step("day@example.org") == "day@example.org"


def test_before_the_stated_time_the_directory_is_not_asked(desk: Desk, csr: str) -> None:
    key = desk.welcome(strategy="letsencrypt", domains=["web.example.org"], directory=NOWHERE)
    with desk.store.write() as tx:
        certified.certificate_of(tx, desk.ref).retry_at = datetime.now(timezone.utc) + timedelta(hours=2)
    standing = desk.supplies.order(AskOrder("vm-1", "boot-1", key, csr))
    assert standing.state == "refused" and "wants no requests before" in standing.problem
    with desk.store.read() as tx:
        assert tx.query(AcmeAccountRow).count() == 0


def test_the_key_of_a_data_disk_is_taken_back_where_there_is_none(desk: Desk, csr: str) -> None:
    from fleet_tui.backend.certificates import acme

    key, kept = desk.welcome(strategy="letsencrypt", domains=["web.example.org"], directory=NOWHERE), acme.new_key()
    desk.supplies.order(AskOrder("vm-1", "boot-1", key, csr, account_key_pem=kept))
    with desk.store.read() as tx:
        assert SEALER.open(tx.query(AcmeAccountRow).one().key_sealed, f"acme-account:n-1:{NOWHERE}").decode() == kept
    desk.supplies.order(AskOrder("vm-1", "boot-1", key, csr, account_key_pem=acme.new_key()))
    with desk.store.read() as tx:
        assert SEALER.open(tx.query(AcmeAccountRow).one().key_sealed, f"acme-account:n-1:{NOWHERE}").decode() == kept, "the one on record counts"


def test_a_key_that_the_directory_refuses_is_not_the_networks_for_ever(desk: Desk, csr: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleet_tui.backend.certificates import acme

    def register(self: acme.Directory, mail: str) -> str:
        if self._key == JWKEC(key=serialization.load_pem_private_key(bad.encode(), None)):
            raise acme.KeyRefused("the directory wants no account with the key it was shown: it was closed")
        return f"{NOWHERE}/account/1"

    monkeypatch.setattr(acme.Directory, "register", register)
    monkeypatch.setattr(acme.Directory, "begin", lambda self, csr_pem, order_url="": acme.Order(f"{NOWHERE}/order/1", "challenge"))
    key, bad = desk.welcome(strategy="letsencrypt", domains=["web.example.org"], directory=NOWHERE), acme.new_key()
    asked = AskOrder("vm-1", "boot-1", key, csr, account_key_pem=bad)
    first, second = desk.supplies.order(asked), desk.supplies.order(asked)
    assert first.state == "refused" and "it was closed" in first.problem
    assert second.state == "challenge" and second.account_key_pem != bad, "its data disk has the new one from now on"
    with desk.store.read() as tx:
        assert tx.query(AcmeAccountRow).one().uri.endswith("/account/1")


@pytest.mark.parametrize("offered", ["nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_not_taken(desk: Desk, csr: str, offered: str) -> None:
    key = desk.welcome(strategy="letsencrypt", domains=["web.example.org"], directory=NOWHERE)
    desk.supplies.order(AskOrder("vm-1", "boot-1", key, csr, account_key_pem=offered))
    with desk.store.read() as tx:
        assert SEALER.open(tx.query(AcmeAccountRow).one().key_sealed, f"acme-account:n-1:{NOWHERE}").decode() != offered
