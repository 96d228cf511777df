"""The fleet's authority: one for a site whoever makes it, its key sealed, and certificates that any TLS library believes."""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet_tui.backend.api.listeners import AgentListener
from fleet_tui.backend.authority import Rules
from fleet_tui.backend.authority.root import Authority
from fleet_tui.backend.authority.rows import AuthorityRow
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import AuthFailed, InvalidInput
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, sqlite_url

SMALL = Rules(key_bits=1024)
"""Its authority has 2048 bits: enough for OpenSSL's defaults, and quickly made."""


class LaterClock(SystemClock):
    def __init__(self, days: int) -> None:
        super().__init__()
        self._ahead = datetime.timedelta(days=days)

    def now(self) -> datetime.datetime:
        return super().now() + self._ahead


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    server = None if request.param == "sqlite" else request.getfixturevalue("server")
    url = sqlite_url(tmp_path / "fleet.db") if server is None else server.create()
    found = Store(url)
    found.create_all()
    yield found
    found.close()
    if server is not None:
        server.drop(url)


@pytest.fixture
def envelope() -> Envelope:
    return Envelope(b"k" * 32)


def openssl(*arguments: str, text: str = "") -> str:
    return subprocess.run(["openssl", *arguments], input=text, capture_output=True, text=True, check=True).stdout


def test_it_is_made_once_however_many_ask_at_once(store: Store, envelope: Envelope) -> None:
    with ThreadPoolExecutor(4) as askers:
        found = set(askers.map(lambda _: Authority(store, envelope, "paris", rules=SMALL).certificate_pem(), range(4)))
    assert len(found) == 1
    assert Authority(store, envelope, "london", rules=SMALL).certificate_pem() in found, "its name is given once"
    said = openssl("x509", "-noout", "-subject", "-issuer", "-text", text=found.pop())
    assert said.count("CN = ca.paris") >= 2 and "CA:TRUE, pathlen:0" in said and "Certificate Sign" in said and "sha256WithRSA" in said


def test_its_key_is_sealed_and_opens_under_the_sites_key_only(store: Store, envelope: Envelope) -> None:
    Authority(store, envelope, "paris", rules=SMALL).certificate_pem()
    with store.read() as tx:
        row = tx.get_one(AuthorityRow, "root")
        assert "PRIVATE KEY" not in row.key_sealed and row.key_sealed.startswith("v1.")
    with pytest.raises(AuthFailed):
        Authority(store, Envelope(b"x" * 32), "paris", rules=SMALL).issue("localhost")


def test_what_it_issues_is_believed_for_its_names_and_no_others(store: Store, envelope: Envelope) -> None:
    authority = Authority(store, envelope, "paris", rules=Rules())
    issued = authority.issue("fleet.example.org", "127.0.0.1", "::1", "127.0.0.1")
    assert issued.names == ("fleet.example.org", "127.0.0.1", "::1") and "PRIVATE" not in repr(issued)
    days = (issued.not_after - SystemClock().now()).days
    assert 364 <= days <= 365
    said = openssl("x509", "-noout", "-text", text=issued.certificate_pem)
    assert "Public-Key: (2048 bit)" in said and "DNS:fleet.example.org, IP Address:127.0.0.1" in said and "TLS Web Server Authentication" in said
    assert "Public-Key: (4096 bit)" in openssl("x509", "-noout", "-text", text=authority.certificate_pem())
    listener = AgentListener("127.0.0.1", 0, lambda: issued, lambda issued: False)
    listening = listener.bind()
    trusting = ssl.create_default_context(cadata=authority.certificate_pem())
    for name, believed in (("127.0.0.1", True), ("fleet.example.org", True), ("::1", True), ("127.0.0.2", False), ("example.org", False)):
        assert shakes(listening, listener, trusting, name) is believed, name
    assert not shakes(listening, listener, ssl.create_default_context(), "127.0.0.1")
    listener.close()


def shakes(listening: socket.socket, listener: AgentListener, trusting: ssl.SSLContext, name: str) -> bool:
    def serve() -> None:
        link, _ = listening.accept()
        assert listener.tls is not None
        try:
            listener.tls.wrap_socket(link, server_side=True).close()
        except (OSError, ssl.SSLError):
            link.close()

    server = threading.Thread(target=serve)
    server.start()
    try:
        with socket.create_connection(listening.getsockname(), 10.0) as link:
            trusting.wrap_socket(link, server_hostname=name).close()
        return True
    except ssl.SSLCertVerificationError:
        return False
    finally:
        server.join(10)


def test_a_certificate_is_renewed_before_its_end(store: Store, envelope: Envelope) -> None:
    today, later = (Authority(store, envelope, "paris", clock=LaterClock(days)) for days in (0, 351))
    issued = today.issue("localhost")
    assert not today.is_due(issued) and later.is_due(issued)
    made = iter([issued, later.issue("localhost")])
    due = [False]
    listener = AgentListener("127.0.0.1", 0, lambda: next(made), lambda issued: due[0])
    listener.bind()
    first = listener.tls
    listener.renew()
    assert listener.tls is first
    due[0] = True
    listener.renew()
    assert listener.tls is not first
    listener.close()


@pytest.mark.parametrize("names", [(), ("",), ("a b",), ("-x.example",), ("x/../y",), ("é.example",)])
def test_what_is_no_name_is_refused(store: Store, envelope: Envelope, names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        Authority(store, envelope, "paris", rules=SMALL).issue(*names)
