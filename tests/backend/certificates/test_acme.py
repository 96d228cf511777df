"""The protocol against Let's Encrypt's own test directory: issue, go on after a break, refusals, rate limits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_tui.backend.certificates import acme
from fleet_tui.backend.certificates.acme import Directory, RateLimited
from fleet_tui.backend.certificates.lookup import addresses_of
from fleet_tui.backend.errors import AuthFailed, InvalidInput, TimedOut, Unreachable
from tests.backend.certificates.authority import openssl
from tests.backend.certificates.directory import Limiter, Pebble, free_port, pebble


class Proofs:
    """Answers challenges."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        proofs = self

        class Visit(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = proofs.known.get(self.path.rpartition("/")[2], "")
                self.send_response(200 if text else 404)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Visit)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def proofs() -> Iterator[Proofs]:
    found = Proofs()
    yield found
    found.close()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory, proofs: Proofs) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), proofs.port) as found:
        yield found


def request(folder: Path, *domains: str) -> tuple[str, Path]:
    """(CSR, file of its key)."""
    key = folder / f"{domains[0]}.key"
    sans = ",".join(f"DNS:{name}" for name in domains)
    made = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-subj", f"/CN={domains[0]}", "-addext", f"subjectAltName={sans}")
    return made.decode(), key


def account(ca: Pebble, url: str = "") -> Directory:
    found = Directory(url or ca.url, acme.new_key(), ca_file=str(ca.ca))
    found.register("ops@example.org")
    return found


def test_a_certificate_is_issued_and_trusted_by_the_directorys_root(ca: Pebble, proofs: Proofs, tmp_path: Path) -> None:
    csr, key = request(tmp_path, "one.example.org", "two.example.org")
    for name in ("one.example.org", "two.example.org"):
        ca.lead(name, "127.0.0.1")
    found = account(ca)
    order = found.begin(csr)
    assert order.state == "challenge" and len(order.proofs) == 2
    again = found.begin(csr, order.url)
    assert (again.url, set(again.proofs)) == (order.url, set(order.proofs)), "an order that was begun goes on"
    proofs.known = dict(order.proofs)
    done = found.advance(csr, order.url)
    assert done.state == "issued", done
    assert found.advance(csr, order.url) == done, "asked again, the same certificate is given"
    (tmp_path / "chain.pem").write_text(done.certificate_pem)
    (tmp_path / "root.pem").write_text(ca.root())
    openssl("verify", "-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "chain.pem", "-verify_hostname", "two.example.org", tmp_path / "chain.pem")
    assert openssl("x509", "-in", tmp_path / "chain.pem", "-noout", "-pubkey") == openssl("pkey", "-in", key, "-pubout")


def test_an_account_is_found_again_by_its_key(ca: Pebble) -> None:
    key = acme.new_key()
    first = Directory(ca.url, key, ca_file=str(ca.ca)).register("ops@example.org")
    assert Directory(ca.url, key, ca_file=str(ca.ca)).register("ops@example.org") == first
    assert Directory(ca.url, acme.new_key(), ca_file=str(ca.ca)).register("ops@example.org") != first


def contact(ca: Pebble, key: str, uri: str) -> list[str]:
    """What the directory has on record."""
    known = Directory(ca.url, key, uri, str(ca.ca))
    told = known._net.json_as_account(uri, known._speak())["contact"]
    assert isinstance(told, list)
    return told


def test_another_contact_is_told_to_the_directory(ca: Pebble, tmp_path: Path) -> None:
    key = acme.new_key()
    uri = Directory(ca.url, key, ca_file=str(ca.ca)).register("ops@example.org")
    assert contact(ca, key, uri) == ["mailto:ops@example.org"]
    later = Directory(ca.url, key, uri, str(ca.ca))
    later.tell_contact("night@example.org")
    assert contact(ca, key, uri) == ["mailto:night@example.org"]
    assert later.begin(request(tmp_path, "told.example.org")[0]).state == "challenge", "and the same account goes on"
    assert Directory(ca.url, key, ca_file=str(ca.ca)).register("day@example.org") == uri
    assert contact(ca, key, uri) == ["mailto:day@example.org"], "an account that a data disk kept gets it too"
    with pytest.raises(AuthFailed, match="refused"):
        later.tell_contact("nobody at all")
    assert contact(ca, key, uri) == ["mailto:day@example.org"]


def test_another_process_goes_on_with_the_order(ca: Pebble, proofs: Proofs, tmp_path: Path) -> None:
    csr, _ = request(tmp_path, "resumed.example.org")
    ca.lead("resumed.example.org", "127.0.0.1")
    key = acme.new_key()
    first = Directory(ca.url, key, ca_file=str(ca.ca))
    uri = first.register("ops@example.org")
    order = first.begin(csr)
    proofs.known = dict(order.proofs)
    second = Directory(ca.url, key, uri, str(ca.ca))
    assert second.advance(csr, order.url).state == "issued"


def test_a_proof_that_cannot_be_read_is_told_with_the_reason(ca: Pebble, proofs: Proofs, tmp_path: Path) -> None:
    csr, _ = request(tmp_path, "lost.example.org")
    ca.lead("lost.example.org", "127.0.0.1")
    proofs.known = {}
    found = account(ca)
    refused = found.advance(csr, found.begin(csr).url)
    assert refused.state == "refused" and "lost.example.org: " in refused.problem and "404" in refused.problem
    assert found.begin(csr).state == "challenge", "the next attempt is a new order"


def test_an_order_that_the_directory_forgot(ca: Pebble, proofs: Proofs, tmp_path: Path) -> None:
    csr, _ = request(tmp_path, "forgotten.example.org")
    found = account(ca)
    gone = ca.url.replace("/dir", "/my-order/nowhere")
    assert found.begin(csr, gone).state == "challenge"
    assert found.advance(csr, gone).state == "refused"


def test_a_name_the_directory_does_not_certify(ca: Pebble, tmp_path: Path) -> None:
    csr, _ = request(tmp_path, "blocked-domain.example")
    with pytest.raises(AuthFailed, match="refused"):
        account(ca).begin(csr)


@pytest.mark.parametrize("form", ["seconds", "date", "nothing"])
def test_a_rate_limit_tells_when_to_come_again(ca: Pebble, proofs: Proofs, tmp_path: Path, form: str) -> None:
    name = f"limited-{form}.example.org"
    csr, _ = request(tmp_path, name)
    ca.lead(name, "127.0.0.1")
    limiter = Limiter(ca)
    now = datetime.now(timezone.utc)
    try:
        found = account(ca, limiter.url)
        limiter.refusals = 1
        limiter.retry_after = {"seconds": "7200", "date": f"{now + timedelta(hours=3):%a, %d %b %Y %H:%M:%S GMT}", "nothing": ""}[form]
        with pytest.raises(RateLimited, match="too many") as refused:
            found.begin(csr)
        hours = (refused.value.retry_at - now).total_seconds() / 3600
        assert hours == pytest.approx({"seconds": 2, "date": 3, "nothing": 1}[form], abs=0.1)
        order = found.begin(csr)
        proofs.known = dict(order.proofs)
        assert found.advance(csr, order.url).state == "issued"
    finally:
        limiter.close()


def test_no_directory_there_and_one_that_is_not_trusted(ca: Pebble) -> None:
    with pytest.raises(Unreachable):
        Directory(f"https://127.0.0.1:{free_port()}/dir", acme.new_key()).register("")
    with pytest.raises(Unreachable):
        Directory(ca.url, acme.new_key()).register("")


def test_requests_are_read(tmp_path: Path) -> None:
    csr, _ = request(tmp_path, "a.example.org", "b.example.org")
    names, name = acme.domains_of(csr)
    assert names == ["a.example.org", "b.example.org"] and len(name) == 64 and acme.domains_of(csr)[1] == name
    with pytest.raises(InvalidInput):
        acme.domains_of("no request")
    assert acme.is_key(acme.new_key()) and not acme.is_key("no key")


def test_a_request_in_the_name_of_something_else_is_refused(tmp_path: Path) -> None:
    """The directory would be asked for that name too."""
    for subject, sans, good in (("/", "a.example.org", True), ("/CN=A.example.org", "a.example.org", True), ("/CN=a.exam", "a.example.org", False)):
        csr = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "k", "-subj", subject,
                      "-addext", f"subjectAltName=DNS:{sans}").decode()  # fmt: skip
        if good:
            assert acme.domains_of(csr)[0] == [sans]
        else:
            with pytest.raises(InvalidInput, match=r"in the name a\.exam, which is none of its domains"):
                acme.domains_of(csr)


_CURVES: tuple[tuple[ec.EllipticCurve, bool], ...] = (
    (ec.SECP256R1(), True), (ec.SECP384R1(), False), (ec.SECP521R1(), False), (ec.SECP256K1(), False),
)  # fmt: skip


def _key(curve: ec.EllipticCurve) -> str:
    key = ec.generate_private_key(curve)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def test_keys_of_another_curve_are_none_of_an_account() -> None:
    """Requests are signed with ES256, for which P-256 alone is made; any other signs what no directory reads."""
    for curve, good in _CURVES:
        assert acme.is_key(_key(curve)) is good, curve.name


def test_a_key_that_is_none_of_an_account_is_told_from_other_refusals(ca: Pebble) -> None:
    with pytest.raises(acme.KeyRefused, match="wants no account with the key"):
        Directory(ca.url, _key(ec.SECP384R1()), ca_file=str(ca.ca)).register("")


def test_where_domains_lead(ca: Pebble) -> None:
    ca.lead("here.example.org", "192.0.2.7", "192.0.2.8")
    assert sorted(addresses_of("here.example.org", ca.resolver)) == ["192.0.2.7", "192.0.2.8"]
    assert addresses_of("nowhere.example.org", ca.resolver) == []
    with pytest.raises(TimedOut):
        addresses_of("here.example.org", f"127.0.0.1:{free_port()}")
