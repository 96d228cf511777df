"""The agent's certificate phase on a real machine: material it fetches, orders it follows, plain HTTP beside the application."""

from __future__ import annotations

import http.client
import ssl
import stat
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from fleet_tui.agent import issuance
from fleet_tui.agent.pairs import Pair
from fleet_tui.backend.certificates import acme
from fleet_tui.backend.providers import MachineState
from tests.agent.conftest import Rig, free_port
from tests.agent.test_startup import served_certificate
from tests.backend.certificates.authority import Authority
from tests.waiting import until

SANS = "DNS:web.example,IP:127.0.0.1"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "ca")


def given(rig: Rig, ca: Authority, name: str, key_of: str = "") -> Path:
    """Have the door give a pair; the key of another one when told. Gives the certificate's file."""
    certificate = ca.issue(name, ca.key(name), "web.example", sans=SANS)
    key = (ca.folder / f"{key_of or name}.key").read_text()
    rig.document["certificate"] = {
        "strategy": "per_instance", "key_storage": "inline_encrypted", "certificate_pem": ca.chain(certificate), "key_id": name, "names": [],
    }
    rig.door.others["agent.material"] = lambda body: (200, {"result": {"private_key_pem": key}}) if body["key_id"] == name else (404, {})
    return certificate


def http_get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        link.request(method, path, headers=headers)
        answer = link.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Location") or ""
    finally:
        link.close()


def test_a_given_pair_is_fetched_and_served_with_its_chain(rig: Rig, ca: Authority) -> None:
    certificate = given(rig, ca, "first")
    rig.start()
    folder = rig.folder / "certificates"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {"per-instance.crt": 0o600, "per-instance.key": 0o600}
    context = ssl.create_default_context(cafile=str(ca.root))
    with urllib.request.urlopen(f"https://127.0.0.1:{rig.port}/healthz", timeout=5, context=context) as answer:
        assert answer.read() == b"ok\n"
    assert served_certificate(rig.port).split() == certificate.read_text().split()
    told = "".join(piece for piece in rig.door.facts["certificate_chain"][0])
    assert ssl.DER_cert_to_PEM_cert(__import__("base64").b64decode(told)).split() == certificate.read_text().split()
    assert len(rig.door.facts["certificate_chain"]) == 2
    assert not any(rig.disk.rglob("per-instance*")), "what a person gave does not stay on the data disk"
    key = (ca.folder / "first.key").read_text().splitlines()[1]
    held = [path for path in rig.folder.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert [path.name for path in held] == ["per-instance.key"]
    assert not any(key in text for text in rig.door.texts())


def test_a_pair_that_is_none_leaves_the_one_in_place(rig: Rig, ca: Authority) -> None:
    certificate = given(rig, ca, "good")
    rig.start()
    folder = rig.folder / "certificates"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    given(rig, ca, "changed", key_of="good")
    rig.provider.shut_down("m-1", 10.0, print)
    rig.door.phases = {}
    rig.boot()
    assert "does not belong to the certificate" in rig.failure("certificate")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert certificate.read_text().split() == before["per-instance.crt"].decode().split()[: len(certificate.read_text().split())]


@pytest.mark.parametrize(("reply", "words"), [
    ((404, {"error": {"code": "not_found", "message": "the private key is not on record any more", "hint": ""}}), "not on record"),
    ((200, {"result": {"private_key_pem": "no key at all"}}), "openssl"),
])  # fmt: skip
def test_material_that_cannot_be_had_stops_the_phase(rig: Rig, ca: Authority, reply: tuple[int, dict[str, Any]], words: str) -> None:
    given(rig, ca, "absent")
    rig.door.others["agent.material"] = lambda body: reply
    rig.make()
    rig.boot()
    assert words in rig.failure("certificate")
    assert not list((rig.folder / "certificates").iterdir())


def test_a_key_with_a_passphrase_does_not_make_openssl_ask(rig: Rig, ca: Authority) -> None:
    from tests.backend.certificates.authority import openssl

    given(rig, ca, "locked")
    openssl("pkey", "-in", ca.folder / "locked.key", "-aes256", "-passout", "pass:1234", "-out", ca.folder / "locked.enc")
    text = (ca.folder / "locked.enc").read_text()
    rig.door.others["agent.material"] = lambda body: (200, {"result": {"private_key_pem": text}})
    rig.make()
    rig.boot()
    assert "openssl pkey failed" in rig.failure("certificate")


def test_an_ended_certificate_is_not_put_in_place(rig: Rig, ca: Authority) -> None:
    given(rig, ca, "ended")
    old = ca.issue("ended", ca.folder / "ended.key", "web.example", sans=SANS, begins_in=-40, days=30)
    rig.document["certificate"]["certificate_pem"] = ca.chain(old)
    rig.make()
    rig.boot()
    assert "has ended" in rig.failure("certificate")


def test_material_is_asked_for_until_the_door_answers(rig: Rig, ca: Authority) -> None:
    given(rig, ca, "late")
    answer, asked = rig.door.others["agent.material"], threading.Event()

    def first_busy(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if asked.is_set():
            return answer(body)
        asked.set()
        return 503, {"error": {"code": "busy", "message": "not now", "hint": ""}}

    rig.door.others["agent.material"] = first_busy
    rig.start()
    assert asked.is_set()


def test_plain_http_sends_visitors_on(rig: Rig, ca: Authority) -> None:
    given(rig, ca, "redirected")
    rig.document["certificate"]["names"] = ["web.example"]
    port = free_port()
    rig.document["http"] = {"mode": "redirect", "port": port}
    rig.start()
    assert http_get(port, "/a/b?c=d", Host=f"web.example:{port}") == (301, f"https://web.example:{rig.port}/a/b?c=d")
    assert http_get(port, "/x", "POST", Host="web.example") == (308, f"https://web.example:{rig.port}/x")
    for foreign in ("evil.example", "evil.example:80", "web.example.evil.org", ""):
        assert http_get(port, "/x", Host=foreign) == (301, f"https://localhost:{rig.port}/x"), foreign
    assert http_get(port, "/.well-known/acme-challenge/../x")[0] == 404
    rig.document["http"] = {"mode": "disabled", "port": port}
    rig.provider.shut_down("m-1", 10.0, print)
    rig.door.phases = {}
    rig.boot()
    rig.ready()
    with pytest.raises(ConnectionRefusedError):
        http_get(port, "/")


def test_a_taken_port_costs_the_redirect_and_not_the_start_up(rig: Rig, ca: Authority) -> None:
    import socket

    given(rig, ca, "taken")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        rig.document["http"] = {"mode": "redirect", "port": holder.getsockname()[1]}
        rig.start()
        assert any("plain HTTP is not answered" in text for text in rig.door.texts("certificate"))


class Directory:
    """The control plane's side of an order, with an authority of our own behind it."""

    def __init__(self, rig: Rig, ca: Authority, http_port: int, days: float = 90.0) -> None:
        self.ca, self.port, self.days = ca, http_port, days
        self.orders: list[str] = []
        self.accounts: list[str] = []
        self.refuse = ""
        self.proved: list[str] = []
        rig.door.others["agent.order"] = self.answer

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.accounts.append(body["account_key_pem"])
        reply: dict[str, Any] = {"account_key_pem": "ACCOUNT", "pause_s": 0.05}
        if self.refuse:
            return 200, {"result": {**reply, "state": "refused", "problem": self.refuse}}
        if not body["ready"]:
            self.orders.append(body["csr_pem"])
            return 200, {"result": {**reply, "state": "challenge", "challenges": [["token-1", "proof-1"]]}}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/.well-known/acme-challenge/token-1", timeout=5) as proof:
            self.proved.append(proof.read().decode())
        name = f"issued-{len(self.orders)}"
        (self.ca.folder / f"{name}.csr").write_text(body["csr_pem"])
        certificate = self._sign(name)
        return 200, {"result": {**reply, "state": "issued", "certificate_pem": self.ca.chain(certificate)}}

    def _sign(self, name: str) -> Path:
        from tests.backend.certificates.authority import openssl

        path = self.ca.folder / f"{name}.crt"
        (self.ca.folder / "ext").write_text("subjectAltName=DNS:web.example\nbasicConstraints=critical,CA:FALSE\n")
        openssl(
            "x509", "-req", "-in", self.ca.folder / f"{name}.csr", "-CA", self.ca.middle, "-CAkey", self.ca.middle_key, "-days", str(int(self.days)),
            "-extfile", self.ca.folder / "ext", "-CAcreateserial", "-out", path,
        )
        return path


@pytest.fixture
def ordered(rig: Rig, ca: Authority) -> Directory:
    port = free_port()
    rig.document["certificate"] = {"strategy": "letsencrypt", "domains": ["web.example"], "directory": "https://acme.example/dir", "names": []}
    rig.document["http"] = {"mode": "disabled", "port": port}
    return Directory(rig, ca, port)


def test_a_certificate_is_ordered_kept_and_reused(rig: Rig, ca: Authority, ordered: Directory) -> None:
    rig.start()
    assert ordered.proved == ["proof-1"] and len(ordered.orders) == 1
    assert "BEGIN CERTIFICATE REQUEST" in ordered.orders[0] and "PRIVATE KEY" not in ordered.orders[0]
    folder = rig.disk / "certificates"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"letsencrypt.crt", "letsencrypt.key", "letsencrypt.directory"} < set(kept) and not any("next" in name for name in kept)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    (account,) = [name for name in kept if name.startswith("acme-account-")]
    assert kept[account] == b"ACCOUNT"
    with pytest.raises(ConnectionRefusedError):
        http_get(ordered.port, "/")  # the port is open for the proof alone
    rig.rebuild()
    rig.boot()
    rig.ready()
    assert len(ordered.orders) == 1 and {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    rig.document["certificate"]["directory"] = "https://other.example/dir"
    rig.rebuild()
    rig.boot()
    rig.ready()
    assert len(ordered.orders) == 2, "another directory, another certificate"


def test_one_that_ends_soon_is_renewed_at_the_start_and_kept_when_that_fails(rig: Rig, ca: Authority, ordered: Directory) -> None:
    ordered.days = 20.0
    rig.start()
    rig.rebuild()
    rig.boot()
    rig.ready()
    assert len(ordered.orders) == 1, "twenty days of a life of twenty: good for another two thirds"
    # Made as one of ninety days that has ten left.
    key = rig.disk / "certificates/letsencrypt.key"
    old = ca.issue("old", key, "web.example", sans="DNS:web.example", begins_in=-80, days=90)
    (rig.disk / "certificates/letsencrypt.crt").write_text(ca.chain(old))
    ordered.refuse = "the directory has had enough"
    rig.rebuild()
    rig.boot()
    rig.ready()
    assert any("had enough; going on with the certificate there is" in text for text in rig.door.texts("certificate"))
    ordered.refuse = ""
    rig.rebuild()
    rig.boot()
    rig.ready()
    assert len(ordered.orders) == 2 and ordered.accounts[-1] == "ACCOUNT", "the account of the disk is offered"


def test_no_certificate_and_a_refusal_stop_the_phase(rig: Rig, ordered: Directory) -> None:
    ordered.refuse = "web.example: 404 at http://web.example"
    rig.make()
    rig.boot()
    assert "no certificate was issued: web.example: 404" in rig.failure("certificate")


def test_renewal_while_it_runs_is_taken_up_without_a_restart_where_the_bundle_can(rig: Rig, ca: Authority, ordered: Directory) -> None:
    rig.start()
    first, pid = served_certificate(rig.port), rig.application_pid()
    assert rig.do("renew-certificate")["state"] == "done"
    until(lambda: served_certificate(rig.port) != first, 10.0, "the new certificate is served")
    assert rig.application_pid() == pid
    now = served_certificate(rig.port)
    ordered.refuse = "too many"
    result = rig.do("renew-certificate")
    assert result["state"] == "failed" and "too many" in result["detail"]
    assert served_certificate(rig.port) == now and rig.application_pid() == pid


def test_renewal_restarts_an_application_that_cannot_reload(rig: Rig, ca: Authority, ordered: Directory) -> None:
    rig.bundle(reload="")
    rig.start()
    first, pid = served_certificate(rig.port), rig.application_pid()
    assert "restarted" in rig.do("renew-certificate")["detail"]
    assert served_certificate(rig.port) != first and rig.application_pid() != pid


def test_killed_in_the_middle_of_an_order_it_goes_on_with_the_same_request(rig: Rig, ca: Authority, ordered: Directory) -> None:
    import os
    import signal

    inside, go = threading.Event(), threading.Event()
    answer = ordered.answer

    def held(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["ready"] and not go.is_set():
            inside.set()
            go.wait(20)
            return 0, {}
        return answer(body)

    rig.door.others["agent.order"] = held
    rig.make()
    rig.boot()
    assert inside.wait(20)
    os.kill(rig.pid(), signal.SIGKILL)
    until(lambda: rig.state() is not MachineState.ON, 10.0, "the agent is gone")
    go.set()
    rig.boot(new_token=False)
    rig.ready()
    assert len(ordered.orders) == 2 and ordered.orders[0] == ordered.orders[1]


def test_killed_before_it_had_tidied_up_it_asks_for_a_new_one_next_time(rig: Rig, ca: Authority, ordered: Directory) -> None:
    """The request of a certificate that is in place is not used again: a directory would give that very certificate for it."""
    rig.start()
    folder = rig.disk / "certificates"
    (folder / "letsencrypt-next.key").write_bytes((folder / "letsencrypt.key").read_bytes())
    (folder / "letsencrypt-next.csr").write_text(f"# web.example:web.example\n{ordered.orders[0]}")
    assert rig.do("renew-certificate")["state"] == "done"
    assert len(ordered.orders) == 2 and ordered.orders[0] != ordered.orders[1]


LONG = "a-rather-long-name-of-a-customer-environment.emea.production.example.org"


@pytest.mark.parametrize(("domains", "common"), [
    ((LONG,), []), ((LONG, "Short.example.org"), ["short.example.org"]), (("Short.example.org", LONG), ["short.example.org"]),
])
def test_a_request_is_for_its_domains_however_long_they_are(tmp_path: Path, domains: tuple[str, ...], common: list[str]) -> None:
    """A common name of 64 characters is all there may be; whatever stands there is ordered as one more name."""
    assert len(LONG) > 64
    _, csr = issuance._request(Pair(tmp_path, "letsencrypt"), list(domains))
    found = x509.load_pem_x509_csr(csr.encode())
    assert [name.value for name in found.subject] == common
    assert acme.domains_of(csr)[0] == sorted(name.lower() for name in domains)
    assert issuance._request(Pair(tmp_path, "letsencrypt"), list(domains))[1] == csr, "one that was broken off goes on"
