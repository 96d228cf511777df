"""Certificates of real instances: given ones and ordered ones, seen by those who connect, compared with what is on record."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.certificates import ListBoard
from fleet_tui.backend.certificates.rows import AcmeAccountRow, CertificateKeyRow, CertificateRow
from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.identity import ListAudit
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations import ListOperations, OperationState
from fleet_tui.backend.store import Store, new_id
from tests.backend.certificates.authority import Authority, openssl
from tests.backend.certificates.directory import Limiter, Pebble, free_port, pebble
from tests.journeys.site import Site, site
from tests.waiting import until

FLAGS = ("--timeouts", "stop_s=5,health_interval_s=0.2,health_s=5,action_s=30,start_s=20")
SANS = "DNS:web.example,IP:127.0.0.1"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "ca")


def network(site: Site, label: str, strategy: str, **columns: Any) -> None:
    store = Store(site.database)
    try:
        with store.write() as tx:
            tx.add(NetworkRow(id=new_id("n"), label=label, provider="local", https_strategy=strategy, **columns))
    finally:
        store.close()


def rows(site: Site, work: Any) -> Any:
    """What a look into the database gives."""
    store = Store(site.database)
    try:
        with store.write() as tx:
            return work(tx)
    finally:
        store.close()


def edit(site: Site, label: str, **changes: Any) -> i.InstanceRecord:
    version = site.call(i.ShowSettings(label)).version
    record: i.InstanceRecord = site.call(i.EditInstance(label, version, {name.replace("__", "."): value for name, value in changes.items()}))
    return record


def shown(port: int, name: str, root: str) -> bytes:
    """The leaf that a client which trusts only ``root`` accepts for a name."""
    context = ssl.create_default_context(cadata=root)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain, server_hostname=name) as link:
        leaf = link.getpeercert(binary_form=True)
    assert leaf
    return leaf


def fingerprint(leaf: bytes) -> str:
    digest = hashlib.sha256(leaf).hexdigest().upper()
    return ":".join(digest[n : n + 2] for n in range(0, 64, 2))


def port_of(site: Site, label: str) -> int:
    url = site.show(label).url
    assert url is not None
    return int(re.search(r":(\d+)/", url)[1])  # type: ignore[index]


# --- given by hand ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_hand(ca: Authority) -> Iterator[Site]:
    with site(flags=FLAGS) as found:
        network(found, "given", "per_instance", http_mode="redirect")
        yield found


def pair(ca: Authority, name: str) -> tuple[str, str]:
    certificate = ca.issue(name, ca.key(name), "web.example", sans=SANS)
    return ca.chain(certificate), (ca.folder / f"{name}.key").read_text()


def test_a_given_certificate_is_served_and_changed_by_a_reprovision(by_hand: Site, ca: Authority) -> None:
    certificate, key = pair(ca, "one")
    by_hand.create("web", network="given")
    record = edit(by_hand, "web", ssl__certificate_pem=certificate.replace("\n", "\r\n") + "trailing words\n", ssl__private_key_pem=key)
    assert any("text around" in warning for warning in record.warnings)
    by_hand.do(i.ProvisionInstance(target="web"))
    leaf = shown(port_of(by_hand, "web"), "web.example", ca.root.read_text())
    ssl_record: i.SslRecord = by_hand.call(i.ShowSsl("web", test=True))
    assert ssl_record.in_use is not None and ssl_record.served is not None and ssl_record.served.facts is not None
    assert ssl_record.in_use.fingerprint == ssl_record.served.facts.fingerprint == fingerprint(leaf) == by_hand.show("web").certificate_fingerprint
    assert ssl_record.certificate_pem.split() == certificate.split() and not ssl_record.mismatch and not ssl_record.refusals
    assert [link.subject for link in ssl_record.in_use.chain] == ["Example Intermediate"]

    again, its_key = pair(ca, "two")
    assert edit(by_hand, "web", ssl__certificate_pem=again, ssl__private_key_pem=its_key).pending_changes == ("ssl.certificate_pem", "ssl.private_key_pem")
    by_hand.do(i.StopInstance(target="web", confirmed=True))
    by_hand.do(i.StartInstance(target="web"))
    assert shown(port_of(by_hand, "web"), "web.example", ca.root.read_text()) == leaf, "a plain start changes nothing"
    waiting: i.SslRecord = by_hand.call(i.ShowSsl("web"))
    assert waiting.saved is not None and waiting.in_use is not None and waiting.saved.fingerprint != waiting.in_use.fingerprint
    by_hand.do(i.ReprovisionInstance(target="web", confirmed=True))
    assert fingerprint(shown(port_of(by_hand, "web"), "web.example", ca.root.read_text())) == waiting.saved.fingerprint
    assert len(rows(by_hand, lambda tx: tx.query(CertificateKeyRow).all())) == 1, "the key that nothing uses any more is gone"


def test_plain_http_is_sent_on(by_hand: Site, ca: Authority) -> None:
    certificate, key = pair(ca, "sent-on")
    by_hand.create("sent-on", network="given", ssl__certificate_pem=certificate, ssl__private_key_pem=key)
    by_hand.do(i.ProvisionInstance(target="sent-on"))
    port = rows(by_hand, lambda tx: tx.query(InstanceRow).filter_by(label="sent-on").one().http_port)
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    link.request("GET", "/page")
    answer = link.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://127.0.0.1:{port_of(by_hand, 'sent-on')}/page")
    link.close()


def test_everything_that_lacks_is_said_before_anything_is_made(by_hand: Site) -> None:
    by_hand.create("bare", network="given")
    with pytest.raises(InvalidInput) as refused:
        by_hand.submit(i.ProvisionInstance(target="bare"))
    assert "a certificate is needed" in refused.value.message and "a private key is needed" in refused.value.message
    assert by_hand.show("bare").state is InstanceState.NEW and not by_hand.show("bare").data_disk.path
    told: i.SslRecord = by_hand.call(i.ShowSsl("bare", test=True))
    assert [problem.field for problem in told.refusals] == ["ssl.certificate_pem", "ssl.private_key_pem"]


def test_a_reprovision_that_could_not_serve_does_not_touch_what_runs(by_hand: Site, ca: Authority) -> None:
    certificate, key = pair(ca, "kept")
    by_hand.create("kept", network="given", ssl__certificate_pem=certificate, ssl__private_key_pem=key)
    by_hand.do(i.ProvisionInstance(target="kept"))
    machine, leaf = by_hand.show("kept").machine, shown(port_of(by_hand, "kept"), "web.example", ca.root.read_text())
    edit(by_hand, "kept", ssl__certificate_pem="")
    with pytest.raises(InvalidInput, match="certificate is needed"):
        by_hand.submit(i.ReprovisionInstance(target="kept", confirmed=True))
    assert by_hand.show("kept").machine == machine and shown(port_of(by_hand, "kept"), "web.example", ca.root.read_text()) == leaf


def test_an_instance_that_serves_something_else_is_found(by_hand: Site, ca: Authority) -> None:
    certificate, key = pair(ca, "swapped")
    by_hand.create("swapped", network="given", ssl__certificate_pem=certificate, ssl__private_key_pem=key)
    by_hand.do(i.ProvisionInstance(target="swapped"))
    assert not by_hand.call(i.ShowSsl("swapped", test=True)).mismatch
    other, other_key = pair(ca, "other")
    machine = by_hand.show("swapped").machine
    assert machine is not None
    folder = by_hand.places.machines / machine / "certificates"
    (folder / "per-instance.crt").write_text(other)
    (folder / "per-instance.key").write_text(other_key)
    by_hand.do(i.RestartApplication(target="swapped", confirmed=True))
    told: i.SslRecord = by_hand.call(i.ShowSsl("swapped", test=True))
    assert told.mismatch and told.served is not None and told.in_use is not None and told.served.facts != told.in_use
    entry = next(entry for entry in by_hand.call(ListBoard()) if entry.owner == "swapped")
    assert entry.mismatch and entry.kind == "per_instance" and entry.state == "well" and entry.sans == ("web.example", "127.0.0.1")
    from fleet_tui.backend.api import Summarize

    assert any(a.label == "swapped" and "another certificate" in a.text for a in by_hand.call(Summarize()).attention)


def test_nothing_of_a_key_is_found_anywhere(by_hand: Site, ca: Authority) -> None:
    """Database, logs, audit, replies, processes, files of the site: searched for keys that were entered, rightly and wrongly."""
    certificate, key = pair(ca, "secret")
    stranger = ca.key("stranger").read_text()
    by_hand.create("secret", network="given")
    said: list[str] = []
    for changes in (
        {"ssl.certificate_pem": certificate + key}, {"ssl.certificate_pem": key, "ssl.private_key_pem": key}, {"notes": 3, "ssl.private_key_pem": key},
        {"ssl.certificate_pem": certificate, "ssl.private_key_pem": stranger}, {"ssl.certificate_pem": certificate, "ssl.private_key_pem": key[:-40]},
        {"ssl.certificate_pem": certificate, "ssl.private_key_pem": key, "nonsense": key},
    ):
        with pytest.raises(InvalidInput) as refused:
            by_hand.call(i.EditInstance("secret", by_hand.call(i.ShowSettings("secret")).version, changes))
        said.append(str(refused.value.as_json()))
    from fleet_tui.backend.errors import FleetError, WrongState

    with pytest.raises(WrongState) as stale:
        by_hand.call(i.EditInstance("secret", 99, {"ssl.private_key_pem": key, "ssl.certificate_pem": key, "notes": key}))
    said.append(str(stale.value.as_json()))
    edit(by_hand, "secret", ssl__certificate_pem=certificate, ssl__private_key_pem=key)
    by_hand.do(i.ProvisionInstance(target="secret"))
    by_hand.do(i.ReprovisionInstance(target="secret", confirmed=True))
    with pytest.raises(FleetError):
        by_hand.call(i.EditInstance("secret", 1, {"ssl.private_key_pem": key}))
    # The scalar of such a key stands in the end of the first line and the begin of the second; before it all are alike, after it is the public half.
    bodies = [[line for line in text.splitlines() if "-----" not in line] for text in (key, stranger)]
    lines = {word for body in bodies for word in (body[0][-20:], body[1][:24])}
    assert all(len(word) >= 20 for word in lines)
    for request in (
        i.ShowSettings("secret"), i.ShowInstance("secret"), i.ShowSsl("secret", test=True), i.ListInstances(), ListBoard(), ListAudit(limit=1000),
        ListOperations(limit=1000),
    ):
        said.append(repr(by_hand.call(request)))
    said += by_hand.texts("secret")
    said += [" ".join(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")) for pid in os.listdir("/proc") if _readable(pid)]
    found = [line for line in lines for text in said if line in text]
    machine = by_hand.show("secret").machine
    right = {by_hand.places.machines / str(machine) / "certificates/per-instance.key"}
    for path in by_hand.home.rglob("*"):
        if path.is_file() and path not in right and path.suffix != ".sock":
            content = path.read_bytes()
            found += [str(path) for line in lines if line.encode() in content]
    assert found == []


def _readable(pid: str) -> bool:
    return pid.isdigit() and os.access(f"/proc/{pid}/cmdline", os.R_OK)


def test_the_command_line_takes_files_and_tells_what_they_should_be(by_hand: Site, ca: Authority, tmp_path: Path) -> None:
    certificate, key = pair(ca, "typed")
    (tmp_path / "chain.pem").write_text(certificate)
    openssl("x509", "-in", ca.folder / "typed.crt", "-outform", "DER", "-out", tmp_path / "web.der")
    by_hand.create("typed", network="given")
    refused = fleet(by_hand, "instance", "edit", "typed", "--set-file", f"ssl.certificate_pem={tmp_path}/web.der")
    assert refused.returncode == 3 and "openssl x509 -inform DER" in refused.stderr
    seen = fleet(by_hand, "instance", "edit", "typed", "--set", "ssl.private_key_pem=whatever")
    assert seen.returncode == 2 and "--set-file ssl.private_key_pem" in seen.stderr
    words = ("instance", "edit", "typed", "--set", "ssl.key_storage=inline_encrypted", "--set-file", f"ssl.certificate_pem={tmp_path}/chain.pem")
    foretold = fleet(by_hand, *words, "--set-file", "ssl.private_key_pem=-", "--dry-run", stdin=key)
    assert foretold.returncode == 0 and "PRIVATE" not in foretold.stdout + foretold.stderr
    saved = fleet(by_hand, *words, "--set-file", "ssl.private_key_pem=-", stdin=key)
    assert saved.returncode == 0, saved.stderr
    told = fleet(by_hand, "instance", "ssl", "typed", "--output", "table")
    assert "per_instance" in told.stdout and "web.example" in told.stdout and "PRIVATE" not in told.stdout
    assert fleet(by_hand, "instance", "ssl", "typed", "--test").returncode == 0
    pem = fleet(by_hand, "instance", "ssl", "typed", "--pem")
    assert pem.stdout.split() == certificate.split()
    by_hand.do(i.ProvisionInstance(target="typed"))
    table = fleet(by_hand, "cert", "board", "--output", "table")
    assert "OWNER" in table.stdout and "typed" in table.stdout and table.returncode == 0


def fleet(site: Site, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    import sys

    return subprocess.run(
        [sys.executable, "-m", "fleet_tui", *words], input=stdin, capture_output=True, text=True, timeout=60, env=site.environment, check=False,
    )


# --- ordered from a directory ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), free_port(), valid_s=90 * 86400) as found:
        yield found


@pytest.fixture(scope="module")
def limiter(directory: Pebble) -> Iterator[Limiter]:
    found = Limiter(directory)
    yield found
    found.close()


@pytest.fixture(scope="module")
def ordering(directory: Pebble, limiter: Limiter) -> Iterator[Site]:
    told = f"staging={limiter.url},production={limiter.url},acme_ca={directory.ca},resolver={directory.resolver}"
    with site(flags=(*FLAGS, "--certificates", told)) as found:
        network(found, "staged", "letsencrypt", contact_mail="ops@example.org", acme_directory="staging", http_mode="redirect")
        yield found


@pytest.fixture
def trusted(ordering: Site, directory: Pebble) -> Iterator[Any]:
    """Makes an instance whose proofs the directory reads; one at a time, for it reads them on one port."""
    made: list[str] = []

    def make(label: str, *domains: str, **settings: Any) -> str:
        for domain in domains:
            directory.lead(domain, "127.0.0.1")
        ordering.create(label, network="staged", domains=list(domains), public_ip_allocation="127.0.0.1", **settings)
        rows(ordering, lambda tx: setattr(tx.query(InstanceRow).filter_by(label=label).one(), "http_port", directory.http_port))
        made.append(label)
        return label

    yield make
    for label in made:
        if ordering.show(label).state not in (InstanceState.NEW, InstanceState.DEPROVISIONED):
            ordering.do(i.DeprovisionInstance(target=label, confirmed=True))
        rows(ordering, lambda tx, label=label: setattr(tx.query(InstanceRow).filter_by(label=label).one(), "http_port", None))


def served_by(site: Site, label: str, name: str, directory: Pebble) -> bytes:
    return shown(port_of(site, label), name, directory.root())


def test_a_certificate_is_issued_renewed_and_kept_over_reprovisions(ordering: Site, directory: Pebble, trusted: Any, tmp_path: Path) -> None:
    trusted("issued", "issued.example.org", "also.example.org")
    ordering.do(i.ProvisionInstance(target="issued"), 120.0)
    first = served_by(ordering, "issued", "also.example.org", directory)
    (tmp_path / "root.pem").write_text(directory.root())
    asked = ["openssl", "s_client", "-connect", f"127.0.0.1:{port_of(ordering, 'issued')}", "-servername", "issued.example.org", "-CAfile", str(tmp_path / "root.pem"), "-verify_return_error", "-verify_hostname", "issued.example.org"]
    seen = subprocess.run(asked, input=b"", capture_output=True, timeout=20, check=False)
    assert b"Verify return code: 0 (ok)" in seen.stdout, seen
    told: i.SslRecord = ordering.call(i.ShowSsl("issued", test=True))
    assert told.untrusted and not told.mismatch and not told.refusals and told.in_use is not None and told.renew_at is not None
    assert told.in_use.not_after - timedelta(days=30) <= told.renew_at <= told.in_use.not_after - timedelta(days=28)
    assert ordering.show("issued").url == f"https://issued.example.org:{port_of(ordering, 'issued')}/"

    folder = ordering.disk("issued") / "certificates"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    (account,) = [name for name in kept if name.startswith("acme-account")]
    ordering.do(i.ReprovisionInstance(target="issued", confirmed=True), 120.0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    assert served_by(ordering, "issued", "issued.example.org", directory) == first

    pid = _application(ordering, "issued")
    past = datetime.now(timezone.utc) - timedelta(hours=1)
    rows(ordering, lambda tx: setattr(tx.get(CertificateRow, f"instance:{ordering.show('issued').id}"), "renew_at", past))
    renewal = until(lambda: next((op for op in ordering.operations() if op.kind == "instance.renew-certificate"), None), 30.0, "a renewal is submitted")
    assert ordering.ended(renewal.id, 120.0).state is OperationState.SUCCEEDED and renewal.user == "schedule"
    second = served_by(ordering, "issued", "issued.example.org", directory)
    assert second != first and _application(ordering, "issued") == pid, "taken up without a restart"
    assert (folder / account).read_bytes() == kept[account] and (folder / "letsencrypt.key").read_bytes() != kept["letsencrypt.key"]
    after: i.SslRecord = ordering.call(i.ShowSsl("issued"))
    assert after.renew_at is not None and after.renew_at > datetime.now(timezone.utc) + timedelta(days=50) and not after.renewal_problem


def _application(site: Site, label: str) -> int:
    import json

    machine = site.show(label).machine
    assert machine is not None
    return int(json.loads((site.places.machines / machine / "run/application.json").read_text())["pid"])


def test_a_domain_that_leads_elsewhere_is_refused_with_both_addresses(ordering: Site, directory: Pebble, trusted: Any) -> None:
    trusted("elsewhere", "elsewhere.example.org", "nowhere.example.org")
    directory.lead("elsewhere.example.org", "192.0.2.7")
    directory.lead("nowhere.example.org")
    failed = ordering.fails(i.ProvisionInstance(target="elsewhere"))
    assert failed.error is not None and failed.failed_step == "validate"
    assert "elsewhere.example.org leads to 192.0.2.7, but the instance's public address is 127.0.0.1" in failed.error.message
    assert "nowhere.example.org leads nowhere" in failed.error.message
    told: i.SslRecord = ordering.call(i.ShowSsl("elsewhere", test=True))
    assert len(told.refusals) == 2
    # Split DNS: whoever knows better says so, and then the directory has the word.
    skipped = ordering.fails(i.ReprovisionInstance(target="elsewhere", skip_dns_check=True, confirmed=True), 120.0)
    assert skipped.error is not None and "no certificate was issued" in skipped.error.message
    assert ordering.show("elsewhere").state is InstanceState.DEPROVISIONED
    directory.lead("elsewhere.example.org", "127.0.0.1")
    directory.lead("nowhere.example.org", "127.0.0.1")
    ordering.do(i.ProvisionInstance(target="elsewhere"), 120.0)
    served_by(ordering, "elsewhere", "nowhere.example.org", directory)


def test_a_reprovision_that_the_dns_refuses_leaves_what_runs(ordering: Site, directory: Pebble, trusted: Any) -> None:
    trusted("stays", "stays.example.org")
    ordering.do(i.ProvisionInstance(target="stays"), 120.0)
    leaf, machine = served_by(ordering, "stays", "stays.example.org", directory), ordering.show("stays").machine
    directory.lead("stays.example.org", "192.0.2.9")
    failed = ordering.fails(i.ReprovisionInstance(target="stays", confirmed=True))
    assert failed.error is not None and failed.failed_step == "check-settings" and "leads to 192.0.2.9" in failed.error.message
    after = ordering.show("stays")
    assert (after.state, after.machine, after.failure) == (InstanceState.RUNNING, machine, "")
    assert served_by(ordering, "stays", "stays.example.org", directory) == leaf


def test_what_lets_encrypt_needs_is_said_at_once(ordering: Site) -> None:
    network(ordering, "unready", "letsencrypt")
    ordering.create("unready", network="unready")
    with pytest.raises(InvalidInput) as refused:
        ordering.submit(i.ProvisionInstance(target="unready"))
    assert all(words in refused.value.message for words in ("no contact mail", "no domain is named", "no public address is reserved"))
    told: i.SslRecord = ordering.call(i.ShowSsl("unready"))
    assert [problem.field for problem in told.refusals] == ["contact_mail", "domains", "public_ip_allocation"]
    for domain, words in (("*.example.org", "wildcard"), ("10.0.0.1", "address"), ("https://x.example.org", "URL"), ("x.example.org:443", "port"), ("localhost", "full domain")):
        with pytest.raises(InvalidInput, match=words):
            edit(ordering, "unready", domains=[domain])


def test_a_rate_limit_is_waited_out(ordering: Site, directory: Pebble, limiter: Limiter, trusted: Any) -> None:
    trusted("limited", "limited.example.org")
    limiter.refusals, limiter.retry_after = 1, "7200"
    failed = ordering.fails(i.ProvisionInstance(target="limited"), 120.0)
    assert failed.error is not None and "too many" in failed.error.message and "tried again after" in failed.error.message
    told: i.SslRecord = ordering.call(i.ShowSsl("limited"))
    assert told.retry_at is not None and told.retry_at > datetime.now(timezone.utc) + timedelta(hours=1)
    refused = limiter.refused
    again = ordering.fails(i.RetryStartup(target="limited"), 120.0)
    assert again.error is not None and "wants no requests before" in again.error.message and limiter.refused == refused, "it is not even asked"
    rows(ordering, lambda tx: setattr(tx.get(CertificateRow, f"instance:{ordering.show('limited').id}"), "retry_at", datetime.now(timezone.utc) - timedelta(seconds=1)))
    ordering.do(i.RetryStartup(target="limited"), 120.0)
    served_by(ordering, "limited", "limited.example.org", directory)


def test_a_failed_renewal_keeps_serving_and_is_tried_again_tomorrow(ordering: Site, directory: Pebble, limiter: Limiter, trusted: Any) -> None:
    trusted("tomorrow", "tomorrow.example.org")
    ordering.do(i.ProvisionInstance(target="tomorrow"), 120.0)
    leaf = served_by(ordering, "tomorrow", "tomorrow.example.org", directory)
    ref = f"instance:{ordering.show('tomorrow').id}"
    limiter.refusals, limiter.retry_after = 1, str(3 * 86400)
    before = {op.id for op in ordering.operations()}
    rows(ordering, lambda tx: setattr(tx.get(CertificateRow, ref), "renew_at", datetime.now(timezone.utc)))
    renewal = until(lambda: next((op for op in ordering.operations() if op.id not in before and op.kind == "instance.renew-certificate"), None), 30.0)
    assert ordering.ended(renewal.id, 120.0).state is OperationState.FAILED
    told: i.SslRecord = ordering.call(i.ShowSsl("tomorrow"))
    assert "too many" in told.renewal_problem and told.renew_at is not None
    assert served_by(ordering, "tomorrow", "tomorrow.example.org", directory) == leaf
    assert ordering.show("tomorrow").state is InstanceState.RUNNING
    assert len([op for op in ordering.operations() if op.id not in before]) == 1, "one attempt, not one every few seconds"
    assert told.retry_at is not None and told.renew_at == told.retry_at > datetime.now(timezone.utc) + timedelta(hours=71), "when the directory wants"


def test_the_daemon_killed_in_the_middle_of_an_order(ordering: Site, directory: Pebble, trusted: Any) -> None:
    trusted("killed", "killed.example.org")
    operation = ordering.submit(i.ProvisionInstance(target="killed"))
    until(lambda: any("asking for a certificate" in text for text in ordering.texts("killed")), 60.0)
    ordering.kill()
    ordering.await_door()
    assert ordering.ended(operation.id, 120.0).state is OperationState.SUCCEEDED
    served_by(ordering, "killed", "killed.example.org", directory)


def test_a_lost_database_finds_its_account_on_the_data_disk(ordering: Site, directory: Pebble, trusted: Any) -> None:
    trusted("found", "found.example.org")
    ordering.do(i.ProvisionInstance(target="found"), 120.0)
    folder = ordering.disk("found") / "certificates"
    account = next(folder.glob("acme-account-*")).read_bytes()
    rows(ordering, lambda tx: tx.query(AcmeAccountRow).delete())
    ordering.do(i.RenewCertificate(target="found"), 120.0)
    assert next(folder.glob("acme-account-*")).read_bytes() == account
    assert rows(ordering, lambda tx: tx.query(AcmeAccountRow).one().uri)


def test_a_directory_that_forgot_the_account_learns_it_again(ordering: Site, directory: Pebble, trusted: Any) -> None:
    trusted("again", "again.example.org")
    ordering.do(i.ProvisionInstance(target="again"), 120.0)
    directory.stop()
    directory.start()
    directory.lead("again.example.org", "127.0.0.1")
    ordering.do(i.RenewCertificate(target="again"), 120.0)
    served_by(ordering, "again", "again.example.org", directory)
