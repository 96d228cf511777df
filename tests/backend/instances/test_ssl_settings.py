"""Certificates in the settings: judged at save, keys sealed apart, what lacks listed at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from fleet_tui.backend.certificates import keys
from fleet_tui.backend.certificates.rows import CertificateKeyRow
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.cloud.rows import CloudAccountRow
from fleet_tui.backend.errors import AuthFailed, InvalidInput, Problem, WrongState
from fleet_tui.backend.instances import CreateInstance, EditInstance, hooks, ssl_settings
from fleet_tui.backend.instances import settings as saved
from fleet_tui.backend.instances.links import pending_of
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow, TemplateRow
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, new_id
from tests.backend.certificates.authority import Authority

CLOCK = SystemClock()
SEALER = Envelope(b"k" * 32)
SANS = "DNS:web.example"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "ca")


@pytest.fixture(scope="module")
def pairs(ca: Authority) -> list[tuple[str, str]]:
    """Three good pairs: (chain, key)."""
    return [(ca.chain(ca.issue(f"p{n}", ca.key(f"p{n}"), "web.example", sans=SANS)), (ca.folder / f"p{n}.key").read_text()) for n in range(3)]


@pytest.fixture
def site(store: Store) -> Iterator[Store]:
    with store.write() as tx:
        for label, profile in (("hello", ""), ("profiled", "arn:aws:iam::123456789012:instance-profile/reader")):
            tx.add(TemplateRow(id=new_id("t"), label=label, application="hello-app", setup_actions=[], version=1, runtime_profile_arn=profile))
        for label, provider, strategy in (
            ("plain", "local", "none"), ("given", "local", "per_instance"), ("cloud", "aws", "per_instance"), ("ordered", "local", "letsencrypt"),
        ):
            tx.add(NetworkRow(id=new_id("n"), label=label, provider=provider, https_strategy=strategy))
    yield store


def create(store: Store, network: str = "given", **settings: Any) -> str:
    with store.write() as tx:
        return saved.create(tx, CreateInstance(label="web", network=network, settings=named(settings)), CLOCK, SEALER).label


def named(settings: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in settings.items()}


def edit(store: Store, **changes: Any) -> list[Problem]:
    """The warnings."""
    warned: list[Problem] = []
    with store.write() as tx:
        version = saved.find_row(tx, "web").version
        saved.edit(tx, EditInstance("web", version, named(changes)), CLOCK, SEALER, warned.append)
    return warned


def refused(store: Store, **changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as problem:
        edit(store, **changes)
    return {p.field: p.message for p in problem.value.problems}


def row(store: Store) -> InstanceRow:
    with store.read() as tx:
        return saved.find_row(tx, "web")


def kept(store: Store) -> list[CertificateKeyRow]:
    with store.read() as tx:
        return list(tx.query(CertificateKeyRow))


def lacks(store: Store, now: datetime | None = None) -> dict[str, str]:
    with store.read() as tx:
        return {p.field: p.message for p in ssl_settings.missing(tx, saved.find_row(tx, "web"), now or CLOCK.now())}


def test_a_pair_is_saved_and_its_key_is_sealed_apart(site: Store, pairs: list[tuple[str, str]]) -> None:
    certificate, key = pairs[0]
    create(site)
    assert edit(site, ssl__certificate_pem=certificate, ssl__private_key_pem=key) == []
    settings = row(site).settings
    assert settings["ssl.certificate_pem"].split() == certificate.split()
    assert keys.key_id_of(settings["ssl.private_key_pem"]) == kept(site)[0].key_id
    assert b"PRIVATE KEY" in SEALER.open(kept(site)[0].sealed, keys.context_of(f"instance:{row(site).id}", kept(site)[0].key_id))
    assert lacks(site) == {}


def test_no_dump_of_the_database_holds_a_key(site: Store, pairs: list[tuple[str, str]]) -> None:
    """Every table, whichever server it is on."""
    certificate, key = pairs[0]
    create(site, ssl__certificate_pem=certificate, ssl__private_key_pem=key)
    with site.write() as tx:
        row = saved.find_row(tx, "web")
        row.applied = dict(row.settings)
    from fleet_tui.backend.store import Base

    with site.engine.connect() as connection:
        found = [tuple(one) for table in Base.metadata.sorted_tables for one in connection.execute(text(f'SELECT * FROM "{table.name}"'))]
    dump = repr(found)
    body = [line for line in key.splitlines() if "-----" not in line]
    assert certificate.splitlines()[2] in dump, "it was looked at the right things"
    assert body[0][-20:] not in dump and body[1][:24] not in dump and "PRIVATE KEY" not in dump


def test_a_sealed_key_opens_for_its_instance_alone(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    found = kept(site)[0]
    with pytest.raises(AuthFailed):
        SEALER.open(found.sealed, keys.context_of("instance:i-other", found.key_id))


def test_a_new_certificate_needs_its_own_key(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    assert "give the certificate and its key together" in refused(site, ssl__certificate_pem=pairs[1][0])["ssl.private_key_pem"]
    assert "does not belong" in refused(site, ssl__private_key_pem=pairs[1][1])["ssl.private_key_pem"]
    edit(site, ssl__certificate_pem=pairs[1][0], ssl__private_key_pem=pairs[1][1])
    assert len(kept(site)) == 1


def test_a_renewed_certificate_for_the_same_key_is_taken_alone(site: Store, ca: Authority, pairs: list[tuple[str, str]]) -> None:
    create(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    renewed = ca.issue("renewed", ca.folder / "p0.key", "web.example", sans=SANS, days=500)
    edit(site, ssl__certificate_pem=ca.chain(renewed))
    assert row(site).settings["ssl.certificate_pem"].split() == ca.chain(renewed).split() and lacks(site) == {}


def test_a_key_without_any_certificate_and_taking_the_certificate_out(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site)
    assert "a certificate is needed" in refused(site, ssl__private_key_pem=pairs[0][1])["ssl.certificate_pem"]
    edit(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    edit(site, ssl__certificate_pem="")
    assert row(site).settings["ssl.private_key_pem"] == "" and kept(site) == []


def test_the_mark_sent_back_changes_nothing_and_another_mark_is_no_key(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    mark = row(site).settings["ssl.private_key_pem"]
    edit(site, ssl__private_key_pem=mark, notes="kept")
    assert row(site).settings["ssl.private_key_pem"] == mark and len(kept(site)) == 1
    assert "no PEM block" in refused(site, ssl__private_key_pem=keys.mark_of("0" * 64))["ssl.private_key_pem"]


def test_the_key_of_what_runs_is_kept_until_the_new_one_runs(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    with site.write() as tx:
        found = saved.find_row(tx, "web")
        found.applied, found.disk_made = dict(found.settings), True
    edit(site, ssl__certificate_pem=pairs[1][0], ssl__private_key_pem=pairs[1][1])
    assert len(kept(site)) == 2 and row(site).pending == ["ssl.certificate_pem", "ssl.private_key_pem"]
    edit(site, ssl__certificate_pem=pairs[2][0], ssl__private_key_pem=pairs[2][1])
    assert len(kept(site)) == 2, "one that was saved and never ran is not kept"
    with site.write() as tx:
        found = saved.find_row(tx, "web")
        hooks.applied(tx, found, None, {"boot": {"settings": found.settings, "image": ""}})  # type: ignore[arg-type]
    assert len(kept(site)) == 1 and row(site).pending == []


def test_settings_of_before_there_were_these_fields_wait_for_nothing(site: Store) -> None:
    create(site)
    with site.write() as tx:
        found = saved.find_row(tx, "web")
        old = {name: value for name, value in found.settings.items() if not name.startswith(("ssl.", "domains", "public_ip"))}
        found.settings, found.applied = dict(old), dict(old)
        tx.flush()
        assert pending_of(tx, found) == []
    edit(site, domains=[])
    assert row(site).pending == []


def test_a_stale_save_tells_no_key(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site)
    with site.write() as tx, pytest.raises(WrongState) as stale:
        saved.edit(tx, EditInstance("web", 99, {"ssl.private_key_pem": pairs[0][1], "notes": pairs[0][1], "ssl.certificate_pem": pairs[0][0]}), CLOCK, SEALER)
    assert pairs[0][1].splitlines()[2] not in str(stale.value.as_json()) and pairs[0][1].splitlines()[1][-20:] not in str(stale.value.as_json())


def test_in_the_cloud_a_key_of_the_cloud_seals(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site, network="cloud")
    entered = {"ssl__certificate_pem": pairs[0][0], "ssl__private_key_pem": pairs[0][1]}
    assert "set the CMK id in Cloud Setup first" in refused(site, **entered)["ssl.private_key_pem"]
    told = ("site", "region", "authentication", "role_arn", "access_key_id", "secret_key_sealed", "endpoint", "aws_cmk_id", "machine_image", "machine_type")
    account = dict.fromkeys((*told, "account", "identity"), "x")
    with site.write() as tx:
        tx.add(CloudAccountRow(id="aws", version=1, cmk_arn="arn:aws:kms:eu-west-1:123456789012:key/1", **account))
    edit(site, **entered)
    assert lacks(site) == {}
    with site.write() as tx:
        tx.get_one(CloudAccountRow, "aws").cmk_arn = ""
    assert "set the CMK id" in lacks(site)["ssl.private_key_pem"], "again before a machine is made"


@pytest.mark.parametrize("storage", ["secret_manager", "vault_bundle"])
def test_a_vault_needs_a_cloud_and_a_role(site: Store, storage: str) -> None:
    create(site)
    assert "runs on local, which has no secret manager" in refused(site, ssl__key_storage=storage)["ssl.key_storage"].replace("instances of given run", "runs")
    edit(site, virtual_network="cloud")
    said = refused(site, ssl__key_storage=storage)["ssl.key_storage"]
    assert "template hello has no runtime_profile_arn" in said
    edit(site, template="profiled")
    edit(site, ssl__key_storage=storage)
    lacking = {"ssl.secret_id"} | ({"ssl.certificate_pem"} if storage == "secret_manager" else set())
    assert set(lacks(site)) == lacking


def test_a_key_is_not_entered_where_it_lives_in_the_vault(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site, network="cloud", template="profiled")
    edit(site, template="profiled")
    edit(site, ssl__key_storage="secret_manager", ssl__certificate_pem=pairs[0][0], ssl__secret_id="web/key")
    assert "lives in the vault" in refused(site, ssl__private_key_pem=pairs[0][1])["ssl.private_key_pem"]
    assert lacks(site) == {}


def test_a_key_from_before_the_vault_serves_no_certificate_from_then(site: Store, pairs: list[tuple[str, str]]) -> None:
    """Saved beside the key of another certificate, which nobody looks at while the vault has the key."""
    create(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    edit(site, virtual_network="cloud", template="profiled")
    edit(site, ssl__key_storage="secret_manager", ssl__certificate_pem=pairs[1][0], ssl__secret_id="web/key")
    assert lacks(site) == {}
    with site.write() as tx:
        network = tx.query(NetworkRow).filter_by(label="given").one()
        found = saved.find_row(tx, "web")
        found.network_id, found.settings = network.id, {**found.settings, "virtual_network": "given"}
    assert "does not belong to this certificate" in refused(site, ssl__key_storage="inline_encrypted")["ssl.private_key_pem"]
    with site.write() as tx:
        found = saved.find_row(tx, "web")
        found.settings = {**found.settings, "ssl.key_storage": "inline_encrypted"}  # as an earlier program let it be saved
    assert "does not belong to this certificate" in lacks(site)["ssl.private_key_pem"], "before a machine is touched"
    edit(site, ssl__certificate_pem=pairs[0][0])
    assert lacks(site) == {}, "the certificate of the key on record"


def test_whoever_leaves_for_the_vault_is_not_held_up_by_what_stays_behind(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    edit(site, virtual_network="cloud", template="profiled")
    with site.write() as tx:
        found = saved.find_row(tx, "web")
        found.settings = {**found.settings, "ssl.private_key_pem": keys.mark_of("0" * 64)}
    edit(site, ssl__key_storage="vault_bundle", ssl__secret_id="web/bundle")
    assert lacks(site) == {}


def test_the_region_is_taken_ignored_and_warned_of(site: Store) -> None:
    create(site, network="cloud")
    assert [p.field for p in edit(site, ssl__region="eu-west-1")] == ["ssl.region"]


@pytest.mark.parametrize(("domains", "words"), [
    (["*.example.org"], "wildcard"), (["10.0.0.1"], "is an address"), (["::1"], "is an address"), (["localhost"], "full domain name"),
    (["https://a.example.org"], "URL"), (["a.example.org:443"], "port"), (["a.example.org/x"], "URL"), (["-a.example.org"], "not a host name"),
    (["a." + "b" * 64 + ".org"], "not a host name"), ([f"{'a.' * 130}org"], "not a host name"),
])  # fmt: skip
def test_domains_that_nobody_would_certify(site: Store, domains: list[str], words: str) -> None:
    create(site, network="ordered")
    assert words in refused(site, domains=domains)["domains"]


def test_everything_lets_encrypt_lacks_is_listed(site: Store) -> None:
    create(site, network="ordered")
    assert list(lacks(site)) == ["contact_mail", "domains", "public_ip_allocation"]
    edit(site, domains=["web.example.org"], public_ip_allocation="192.0.2.7")
    with site.write() as tx:
        tx.query(NetworkRow).filter_by(label="ordered").one().contact_mail = "ops@example.org"
    assert lacks(site) == {}
    with site.write() as tx:
        tx.query(NetworkRow).filter_by(label="ordered").one().internet_access = "no"
    assert list(lacks(site)) == ["internet_access"]


def test_what_would_keep_lets_encrypt_out_is_said_and_not_refused(site: Store) -> None:
    create(site, network="ordered", domains=["web.example.org"])
    assert edit(site, public_ip_allocation="192.0.2.7") == []
    with site.write() as tx:
        network = tx.query(NetworkRow).filter_by(label="ordered").one()
        network.contact_mail, network.internet_access = "ops@example.org", "egress_only"
        network.findings = [{"field": "security_groups", "text": "sg-1 does not open TCP port 80", "is_error": False}]
    warned = edit(site, domains=["shop.example.org"])
    assert [p.field for p in warned] == ["internet_access", "security_groups"] and "lets nobody in" in warned[0].message
    assert lacks(site) == {}
    with site.write() as tx:
        assert ssl_settings.doubts(tx, saved.find_row(tx, "web")) == warned, "again before a machine is made"
        tx.query(NetworkRow).filter_by(label="ordered").one().https_strategy = "self_signed"
    assert edit(site, domains=["web.example.org"]) == []


def test_what_was_good_when_saved_is_judged_again(site: Store, pairs: list[tuple[str, str]]) -> None:
    create(site, ssl__certificate_pem=pairs[0][0], ssl__private_key_pem=pairs[0][1])
    later = datetime.now(timezone.utc) + timedelta(days=800)
    assert "ended on" in lacks(site, later)["ssl.certificate_pem"]
    with site.write() as tx:
        keys.forget(tx, f"instance:{saved.find_row(tx, 'web').id}")
    assert "a private key is needed" in lacks(site)["ssl.private_key_pem"]


def test_fields_tell_where_they_mean_nothing(site: Store) -> None:
    create(site, network="plain")
    with site.read() as tx:
        locked = saved.show(tx, "web").locked
    assert {"ssl.certificate_pem", "ssl.private_key_pem", "domains", "ssl.sans"} <= set(locked)
    edit(site, virtual_network="given")
    with site.read() as tx:
        locked = saved.show(tx, "web").locked
    assert "ssl.certificate_pem" not in locked and "key storage inline_encrypted" in locked["ssl.secret_id"] and "domains" in locked


def test_a_file_that_is_no_text_reaches_the_check(site: Store, ca: Authority, tmp_path: Path) -> None:
    from tests.backend.certificates.authority import openssl

    openssl("x509", "-in", ca.middle, "-outform", "DER", "-out", tmp_path / "x.der")
    create(site)
    assert "openssl x509 -inform DER" in refused(site, ssl__certificate_pem=(tmp_path / "x.der").read_bytes().decode("latin-1"))["ssl.certificate_pem"]
