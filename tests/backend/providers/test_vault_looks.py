"""Secrets that instances read with their own role: the site sees whether they are there, at save and before a machine is made or thrown away.

The account is moto's, the machines are simulated.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet_tui.backend.api.answers import Answers
from fleet_tui.backend.api.certificates_answers import CertificateAnswers
from fleet_tui.backend.cloud.keys import AwsSecrets
from fleet_tui.backend.identity import Role
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.instances import (
    CreateInstance,
    DeprovisionInstance,
    EditInstance,
    ProvisionInstance,
    ReprovisionInstance,
    SavedInstance,
    ShowSsl,
)
from fleet_tui.backend.instances.looks import Looks
from fleet_tui.backend.instances.rows import NetworkRow, TemplateRow
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.providers import SeesSecrets
from fleet_tui.backend.providers.aws import AwsProvider
from tests.backend.certificates.authority import Authority
from tests.backend.providers.yard import Yard
from tests.cloud.account import REGION, CloudAccount, cloud_account

CALLER = Caller("tester", Role.ROOT_ADMIN, 0)


@pytest.fixture(scope="module")
def account(moto: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudAccount]:
    with cloud_account(moto, tmp_path_factory.mktemp("content"), "site-vault") as found:
        yield found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    ca = Authority(tmp_path_factory.mktemp("ca") / "ca")
    return str(ca.chain(ca.issue("web", ca.key("web"), "web.example", sans="DNS:web.example")))


@pytest.fixture(scope="module")
def seeing(yard: Yard, account: CloudAccount) -> Yard:
    """Its machines are simulated ones of a provider that sees secrets as the real one does."""
    yard.provider.secret_problem = AwsProvider(account.terms).secret_problem  # type: ignore[attr-defined]
    yard.drivers.providers._by_name["aws"] = yard.provider
    assert isinstance(yard.provider, SeesSecrets)
    with yard.store.write() as tx:
        tx.add(NetworkRow(id="n-aws", label="aws", provider="aws", https_strategy="per_instance"))
        tx.add(TemplateRow(
            id="t-aws", label="profiled", application="hello-app", setup_actions=[], version=1,
            runtime_profile_arn="arn:aws:iam::123456789012:instance-profile/reader",
        ))
    return yard


@pytest.fixture(autouse=True)
def calm(account: CloudAccount) -> Iterator[None]:
    yield
    account.proxy.calm()


def answers(yard: Yard) -> Answers:
    return Answers(
        store=yard.store, feed=yard.feed, engine=yard.engine, lines=yard.lines, agents=yard.agents, clock=yard.clock, bundles=yard.folder,
        site=lambda: pytest.fail("not asked"), vault=yard.sealer, providers=yard.drivers.providers,
    )


def save(yard: Yard, label: str, certificate: str, **settings: str) -> SavedInstance:
    given = {"ssl.key_storage": "secret_manager", "ssl.certificate_pem": certificate, **{name.replace("__", "."): v for name, v in settings.items()}}
    request = CreateInstance(label=label, template="profiled", network="aws", settings=given)
    made: SavedInstance = answers(yard).table()["instances.create"](CALLER, request)
    return made


def test_a_secret_is_seen_and_never_opened(account: CloudAccount) -> None:
    vault, client = AwsSecrets(account.session), account.sdk("secretsmanager")
    arn = client.create_secret(Name="seen/key", SecretString="PEM")["ARN"]
    assert vault.problem("seen/key") == vault.problem(arn) == vault.problem("seen/key", REGION) == ""
    assert "replicate it" in vault.problem(arn, "eu-central-1") and "no secret seen/key in eu-central-1" in vault.problem("seen/key", "eu-central-1")
    client.delete_secret(SecretId="seen/key", RecoveryWindowInDays=7)
    assert "marked for deletion" in vault.problem("seen/key")
    assert not account.proxy.calls["secretsmanager:GetSecretValue"]


def test_a_missing_one_is_worth_a_word_at_save_and_stops_before_a_machine_is_made(
    seeing: Yard, account: CloudAccount, certificate: str
) -> None:
    saved = save(seeing, "vault-1", certificate, ssl__secret_id="vault-1/key")
    assert saved.warnings == (f"ssl.secret_id: there is no secret vault-1/key in {REGION}: make it in the secret manager, or correct its name",)
    ended = seeing.run("instance.provision", ProvisionInstance(target="vault-1"))
    assert ended.state is OperationState.FAILED and "there is no secret vault-1/key" in str(ended.error), ended
    assert seeing.instance("vault-1").machine is None
    tested = CertificateAnswers(seeing.store, seeing.drivers, Looks(seeing.store, seeing.drivers), seeing.sealer).table()["instances.ssl"]
    assert [p.field for p in tested(CALLER, ShowSsl("vault-1", test=True)).refusals] == ["ssl.secret_id"]
    for role, told in ((Role.OPERATOR, ("secret_manager", "vault-1/key")), (Role.AUDITOR, ("secret_manager", "vault-1/key")), (Role.MONITOR, ("", ""))):
        record = tested(Caller("tester", role, 0), ShowSsl("vault-1"))
        assert (record.key_storage, record.secret_id) == told and record.instance == "vault-1" and record.saved is not None, role
    account.sdk("secretsmanager").create_secret(Name="vault-1/key", SecretString="PEM")
    assert not tested(CALLER, ShowSsl("vault-1", test=True)).refusals
    seeing.run("instance.deprovision", DeprovisionInstance(target="vault-1", confirmed=True))
    assert seeing.run("instance.provision", ProvisionInstance(target="vault-1")).state is OperationState.SUCCEEDED
    machine = seeing.instance("vault-1").machine

    account.sdk("secretsmanager").delete_secret(SecretId="vault-1/key", RecoveryWindowInDays=7)
    ended = seeing.run("instance.reprovision", ReprovisionInstance(target="vault-1", confirmed=True))
    assert ended.state is OperationState.FAILED and "marked for deletion" in str(ended.error)
    after = seeing.instance("vault-1")
    assert (after.state, after.machine) == (InstanceState.RUNNING, machine), "the machine that serves goes on"


def test_what_the_site_may_not_look_at_is_left_to_the_machine(seeing: Yard, account: CloudAccount, certificate: str) -> None:
    account.proxy.denied.add("secretsmanager:DescribeSecret")
    (warning,) = save(seeing, "vault-2", certificate, ssl__secret_id="vault-2/key").warnings
    assert "could not be looked at from here" in warning and "secretsmanager:DescribeSecret" in warning
    assert seeing.run("instance.provision", ProvisionInstance(target="vault-2")).state is OperationState.SUCCEEDED
    assert any(line.level == "warn" and "could not be looked at" in line.text for line in seeing.log("vault-2"))


def test_a_bundles_password_is_looked_at_too_and_other_saves_ask_nobody(seeing: Yard, account: CloudAccount, certificate: str) -> None:
    account.sdk("secretsmanager").create_secret(Name="vault-3/bundle", SecretString="PEM")
    saved = save(
        seeing, "vault-3", "", ssl__key_storage="vault_bundle", ssl__secret_id="vault-3/bundle", ssl__password_secret_id="vault-3/password",
    )
    assert [warning.partition(":")[0] for warning in saved.warnings] == ["ssl.password_secret_id"]
    before = account.proxy.calls["secretsmanager:DescribeSecret"]
    edited = answers(seeing).table()["instances.edit"](CALLER, EditInstance("vault-3", saved.version, {"label": "vault-3b"}))
    assert edited.label == "vault-3b" and account.proxy.calls["secretsmanager:DescribeSecret"] == before
