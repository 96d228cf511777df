"""The cloud account: tried before it is saved, its secret sealed, its key changed without losing a secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend.api.cloud_answers import CloudAnswers
from fleet_tui.backend.api.requests import parameters_of
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.cloud import DEFAULT_MACHINE_TYPE, RemoveCloud, RewrapKeys, SetUpCloud, operations
from fleet_tui.backend.cloud.account import AWS, REWRAP, Account
from fleet_tui.backend.cloud.rows import CloudAccountRow
from fleet_tui.backend.cloud.sealed import MASTER, columns
from fleet_tui.backend.errors import AuthFailed, ConfirmationRequired, InUse, InvalidInput, NotFound, PermissionDenied, Unreachable, WrongState
from fleet_tui.backend.identity import Role
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.instances import CreateInstance
from fleet_tui.backend.instances import settings as saved
from fleet_tui.backend.instances.rows import NetworkRow, SnapshotRow, TemplateRow
from fleet_tui.backend.instances.specs import uses_of_cloud
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.secrets.kms import key_of
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench
from tests.cloud.account import ACCOUNT, IMAGE, KEY_ID, REGION, SECRET, CloudAccount, cloud_account

OWN = Envelope(b"k" * 32)


@pytest.fixture
def aws(moto: int, tmp_path: Path) -> Iterator[CloudAccount]:
    with cloud_account(moto, tmp_path / "content") as found:
        yield found


KEPT = tuple(TemplateRow.__table__.c[name] for name in ("license_sealed", "setup_actions"))
"""A text and a JSON column that the vault of these tests seals."""


@pytest.fixture
def account(store: Store) -> Account:
    return Account(store, OWN, SystemClock(), columns=KEPT)


def wanted(aws: CloudAccount, **more: Any) -> SetUpCloud:
    told = {"region": REGION, "authentication": "keypair", "access_key_id": KEY_ID, "secret_access_key": SECRET, "endpoint": aws.proxy.endpoint}
    return SetUpCloud(**{**told, "machine_image": IMAGE, **more})


def test_what_was_tried_is_saved_and_no_secret_is_told(account: Account, aws: CloudAccount, store: Store) -> None:
    assert not account.show().provider and account.show().machine_type == DEFAULT_MACHINE_TYPE
    with pytest.raises(NotFound, match="no cloud account"):
        account.session()
    assert account.set_up(wanted(aws)) is False
    record = account.show()
    assert (record.provider, record.account, record.region, record.has_secret_key) == ("aws", ACCOUNT, REGION, True)
    assert record.identity.startswith("arn:aws") and record.site.startswith("site-") and record.steps and "ec2:RunInstances" in record.permissions
    account.set_up(SetUpCloud(machine_type="m5.large"))
    assert (account.show().machine_type, account.show().site, account.show().version) == ("m5.large", record.site, 2)
    row = account.existing()
    held = repr([getattr(row, column.key) for column in row.__table__.columns]) + repr(account.show()) + repr(wanted(aws))
    assert SECRET not in held and SECRET not in json.dumps(parameters_of(wanted(aws)))
    assert account.session().client("sts").call("get_caller_identity")["Account"] == ACCOUNT


@pytest.mark.parametrize(("field", "value"), [
    ("region", "Ireland"), ("region", ""), ("authentication", "password"), ("access_key_id", "short"), ("endpoint", "ftp://x"),
    ("machine_image", "debian"), ("machine_type", "large"), ("aws_cmk_id", "two words"),
])
def test_a_field_that_cannot_be_right_is_refused_before_aws_is_asked(account: Account, aws: CloudAccount, field: str, value: str) -> None:
    aws.proxy.calls.clear()
    with pytest.raises(InvalidInput) as refused:
        account.set_up(wanted(aws, **{field: value}))
    assert field in {problem.field for problem in refused.value.problems} and not aws.proxy.calls and not account.show().provider


def test_every_field_at_fault_is_named_at_once(account: Account, aws: CloudAccount) -> None:
    with pytest.raises(InvalidInput) as refused:
        account.set_up(wanted(aws, region="x", secret_access_key="", machine_type="x"))
    assert {problem.field for problem in refused.value.problems} == {"region", "secret_access_key", "machine_type"}


def test_what_aws_refuses_is_not_saved(account: Account, aws: CloudAccount) -> None:
    aws.proxy.denied.add("ec2:DescribeAvailabilityZones")
    with pytest.raises(PermissionDenied, match="ec2:DescribeAvailabilityZones"):
        account.set_up(wanted(aws))
    aws.proxy.calm()
    with pytest.raises(NotFound):
        account.set_up(wanted(aws, aws_cmk_id="alias/nobody"))
    with pytest.raises(Unreachable):
        account.set_up(wanted(aws, endpoint="http://127.0.0.1:9"))
    assert not account.show().provider


def test_a_role_is_taken_and_its_call_is_what_is_refused(account: Account, aws: CloudAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    role = f"arn:aws:iam::{ACCOUNT}:role/fleet"
    account.set_up(wanted(aws, authentication="iam_role", role_arn=role))
    record = account.show()
    assert "assumed-role/fleet" in record.identity and not record.access_key_id and not record.has_secret_key and aws.proxy.calls["sts:AssumeRole"]
    account.set_up(SetUpCloud(authentication="same_as_control_plane"))
    assert "assumed-role" not in account.show().identity and not account.show().role_arn
    aws.proxy.denied.add("sts:AssumeRole")
    with pytest.raises(PermissionDenied, match="sts:AssumeRole"):
        account.set_up(SetUpCloud(authentication="iam_role", role_arn=f"{role}2"))


def key_used(account: Account) -> str:
    return str(account.session().client("sts")._client._request_signer._credentials.access_key)


def test_credentials_that_changed_outside_are_read_again(account: Account, aws: CloudAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    def rotated(key: str) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    rotated("AKIAFIRST000000000")
    account.set_up(wanted(aws, authentication="same_as_control_plane"))
    rotated("AKIASECOND00000000")
    assert key_used(account) == "AKIAFIRST000000000", "kept while they are taken"
    assert account.test().passed and key_used(account) == "AKIASECOND00000000"
    rotated("AKIATHIRD000000000")
    account.set_up(SetUpCloud(machine_type="m5.large"))
    assert key_used(account) == "AKIATHIRD000000000"
    rotated("AKIAFOURTH00000000")
    aws.proxy.failing["ec2:DescribeVolumes"] = [("OptInRequired", "not opted in")]
    with pytest.raises(AuthFailed):
        account.session().client("ec2").call("describe_volumes")
    assert key_used(account) == "AKIATHIRD000000000"
    aws.proxy.failing["ec2:DescribeVolumes"] = [("AuthFailure", "not validated")]
    with pytest.raises(AuthFailed):
        account.session().client("ec2").call("describe_volumes")
    assert key_used(account) == "AKIAFOURTH00000000"


def test_an_account_is_tried_as_it_is_and_every_refusal_names_what_is_missing(account: Account, aws: CloudAccount) -> None:
    with pytest.raises(NotFound):
        account.test()
    account.set_up(wanted(aws, aws_cmk_id=aws.key()))
    before = account.show()
    verdict = account.test()
    assert verdict.passed and verdict.identity == before.identity
    assert [check.name for check in verdict.checks] == ["identity", "machines", "describe", "encrypt and decrypt", "region"]
    aws.proxy.denied |= {"ec2:DescribeAvailabilityZones", "kms:Decrypt"}
    verdict = account.test()
    failed = {check.name: check for check in verdict.checks if check.verdict == "failed"}
    assert not verdict.passed and set(failed) == {"machines", "key"}
    assert "ec2:DescribeAvailabilityZones" in failed["machines"].hint and "kms:Decrypt" in failed["key"].hint
    assert account.show() == before, "trying changes nothing"


def test_a_refusal_says_which_field_led_to_it(account: Account, aws: CloudAccount) -> None:
    for denied, more, field in (
        ("sts:GetCallerIdentity", {}, "secret_access_key"), ("ec2:DescribeAvailabilityZones", {}, "secret_access_key"),
        ("kms:Encrypt", {"aws_cmk_id": aws.key()}, "aws_cmk_id"),
    ):
        aws.proxy.denied.add(denied)
        with pytest.raises(PermissionDenied) as refused:
            account.set_up(wanted(aws, **more))
        assert refused.value.details["field"] == field
        aws.proxy.calm()
    with pytest.raises(Unreachable) as away:
        account.set_up(wanted(aws, endpoint="http://127.0.0.1:9"))
    assert away.value.details["field"] == "endpoint"


def test_two_who_save_at_once_do_not_overwrite_each_other(account: Account, aws: CloudAccount) -> None:
    account.set_up(wanted(aws))
    account.set_up(SetUpCloud(machine_type="m5.large", version=1))
    with pytest.raises(WrongState, match="version 2"):
        account.set_up(SetUpCloud(machine_type="c5.large", version=1))


def test_another_account_or_region_is_refused_while_instances_are_there(store: Store, aws: CloudAccount) -> None:
    account = Account(store, OWN, SystemClock(), users=lambda tx: ["web-1", "web-2"])
    account.set_up(wanted(aws))
    with pytest.raises(InUse, match="while it is used: web-1, web-2") as refused:
        account.set_up(SetUpCloud(region="us-east-1"))
    assert refused.value.details["users"] == ["web-1", "web-2"] and account.show().region == REGION
    account.set_up(SetUpCloud(machine_type="m5.large"))


def test_an_account_is_removed_when_nothing_is_in_it_and_its_number_was_typed(store: Store, aws: CloudAccount) -> None:
    used = ["instance web-1", "data disk of web-2", *(f"snapshot s-{number} of web-2" for number in range(9))]
    account = Account(store, OWN, SystemClock(), users=lambda tx: used, columns=KEPT)
    with pytest.raises(NotFound, match="it has none"):
        account.remove(RemoveCloud(ACCOUNT, ACCOUNT))
    account.set_up(wanted(aws))
    with pytest.raises(NotFound, match=f"it has {ACCOUNT}"):
        account.remove(RemoveCloud("999999999999", "999999999999"))
    with pytest.raises(InUse, match=r"instance web-1, data disk of web-2, snapshot s-0 of web-2, .* and 6 more") as refused:
        account.remove(RemoveCloud(ACCOUNT, ACCOUNT))
    assert refused.value.details["users"] == used
    used.clear()
    for confirm in ("", "aws"):
        with pytest.raises(ConfirmationRequired, match="cannot be undone"):
            account.remove(RemoveCloud(ACCOUNT, confirm))
    assert account.show().provider == "aws"
    assert account.remove(RemoveCloud(ACCOUNT, ACCOUNT)) == f"cloud account {ACCOUNT} removed"
    assert not account.show().provider and account.keys() is None and account.keyed() is None
    with pytest.raises(NotFound, match="no cloud account"):
        account.session()
    account.set_up(wanted(aws))
    assert account.show().provider == "aws", "it can be registered again"


def test_an_account_whose_key_alone_opens_secrets_stays(account: Account, aws: CloudAccount, store: Store) -> None:
    account.set_up(wanted(aws, aws_cmk_id=aws.key()))
    with store.write() as tx:
        for name, sealer in (("t-own", OWN), ("t-cloud", account.vault)):
            text = sealer.seal(b"secret", f"{name}:license")
            tx.add(TemplateRow(id=name, label=name, application="x", setup_actions=[], version=1, license_sealed=text))
    with pytest.raises(InUse, match="its key alone opens secrets of t-cloud"):
        account.remove(RemoveCloud(ACCOUNT, ACCOUNT))
    with store.write() as tx:
        tx.delete(tx.get_one(TemplateRow, "t-cloud"))
    account.remove(RemoveCloud(ACCOUNT, ACCOUNT))


def test_another_account_is_refused_while_secrets_are_under_a_key_of_this_one(account: Account, aws: CloudAccount, store: Store) -> None:
    """Its key could not be used with the other's credentials, and nobody's secrets opened; keys that are the other's are no hindrance."""
    account.set_up(wanted(aws))
    with store.write() as tx:
        tx.get_one(CloudAccountRow, AWS).account = "999999999999"  # so that the one of these tests is another one
        for name, owner in (("theirs", "999999999999"), ("ours", ACCOUNT)):
            parts = (f"arn:aws:kms:{REGION}:{owner}:key/k1", f"{name}:license", "what the key service made of it")
            sealed = ".".join(("k1", *(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)))
            tx.add(TemplateRow(id=name, label=name, application="x", setup_actions=[], version=1, license_sealed=sealed))
    with pytest.raises(InUse, match=f"1 secrets are sealed under a key that is not of account {ACCOUNT}") as refused:
        account.set_up(wanted(aws))
    assert refused.value.details["users"] == [f"arn:aws:kms:{REGION}:999999999999:key/k1"] and account.show().account == "999999999999"
    with store.write() as tx:
        tx.delete(tx.get_one(TemplateRow, "theirs"))
    account.set_up(wanted(aws))
    assert account.show().account == ACCOUNT


def test_an_account_whose_secrets_are_moving_stays(account: Account, aws: CloudAccount, store: Store) -> None:
    account.set_up(wanted(aws, aws_cmk_id=aws.key()))
    operation = _bench(store, account).submission.submit("kms.rewrap", RewrapKeys(), "ada").operation
    assert operation is not None
    with pytest.raises(InUse, match=operation.id):
        account.remove(RemoveCloud(ACCOUNT, ACCOUNT))


def test_what_is_in_the_account_is_named(store: Store) -> None:
    now = SystemClock().now()
    with store.write() as tx:
        tx.add(TemplateRow(id="t-1", label="hello", application="x", setup_actions=[], version=1))
        for name, provider in (("aws", "aws"), ("here", "local")):
            tx.add(NetworkRow(id=f"n-{name}", label=name, provider=provider, https_strategy="none"))
        tx.flush()
        for label, network, more in (
            ("runs", "aws", {"machine": "vm-1", "disk_made": True}), ("rests", "aws", {"disk_made": True}), ("saved", "aws", {}),
            ("local", "here", {"machine": "m-1", "disk_made": True}),
        ):
            row = saved.create(tx, CreateInstance(label=label, network=network), SystemClock())
            for name, value in more.items():
                setattr(row, name, value)
        for provider in ("aws", "local"):
            tx.add(SnapshotRow(id=f"s-{provider}", instance_id="i-gone", instance_label="gone", disk_id="d-gone", provider=provider, created_at=now))
        tx.flush()
        assert uses_of_cloud(tx) == ["data disk of rests", "instance runs", "data disk of runs", "snapshot s-aws of gone"]


def test_a_simulated_site_touches_no_cloud(account: Account, aws: CloudAccount) -> None:
    answers = CloudAnswers(account, Any, simulated=True)  # type: ignore[arg-type]
    with pytest.raises(WrongState, match="simulated"):
        answers.table()["cloud.setup"](Caller("ada", Role.ROOT_ADMIN, 0, "test"), wanted(aws))


# --- the key ----------------------------------------------------------------------------------------------------------------


def test_the_key_is_tested_and_what_it_does_not_pass_is_told(account: Account, aws: CloudAccount) -> None:
    account.set_up(wanted(aws))
    with pytest.raises(InvalidInput, match="no key"):
        account.test_key("")
    arn = aws.key()
    verdict = account.test_key(arn)
    assert verdict.passed and verdict.key == arn and [check.verdict for check in verdict.checks] == ["ok"] * 3
    aws.sdk("kms").disable_key(KeyId=arn.rpartition("/")[2])
    verdict = account.test_key(arn)
    assert not verdict.passed and "Disabled" in verdict.checks[0].text and verdict.checks[0].hint
    with pytest.raises(WrongState, match="Disabled"):
        account.set_up(SetUpCloud(aws_cmk_id=arn))


def _keep(store: Store, account: Account, number: int) -> None:
    """Templates with a secret in a column of its own, and one deep in their actions."""
    with store.write() as tx:
        for n in range(number):
            tx.add(TemplateRow(
                id=f"t-{n}", label=f"t{n}", application="hello-app", license_sealed=account.vault.seal(f"license {n}".encode(), f"t-{n}:license"),
                setup_actions=[{"kind": "k", "parameters": {"deep": {"password": account.vault.seal(f"password {n}".encode(), f"t-{n}:password")}}}],
            ))


def _check_all(store: Store, account: Account, number: int) -> None:
    with store.read() as tx:
        for n in range(number):
            row = tx.get_one(TemplateRow, f"t-{n}")
            assert account.vault.open(row.license_sealed, f"t-{n}:license") == f"license {n}".encode()
            deep = row.setup_actions[0]["parameters"]["deep"]["password"]
            assert account.vault.open(deep, f"t-{n}:password") == f"password {n}".encode()


def _bench(store: Store, account: Account) -> Bench:
    return Bench(store, *operations.OPERATIONS, resources={Account: account})


def _rewrap(bench: Bench) -> Any:
    submitted = bench.submission.submit("kms.rewrap", operations.RewrapKeys(), "ada")
    assert submitted.operation is not None and submitted.operation.id in bench.claim().started
    return bench.run(submitted.operation.id)


def test_every_secret_moves_to_the_first_key_and_to_the_next(account: Account, aws: CloudAccount, store: Store) -> None:
    account.set_up(wanted(aws))
    _keep(store, account, 3)
    assert account.show().sealed == {MASTER: 6}
    bench = _bench(store, account)
    with pytest.raises(WrongState, match="no cloud's key"):
        _rewrap(bench)
    for _ in range(2):
        arn = aws.key()
        assert account.set_up(SetUpCloud(aws_cmk_id=arn)) is True, "there is something to move"
        _check_all(store, account, 3)
        assert _rewrap(bench).state is OperationState.SUCCEEDED
        assert account.show().sealed == {arn: 6} and account.set_up(SetUpCloud()) is False
        _check_all(store, account, 3)
    with pytest.raises(InUse, match="6 secrets"):
        account.set_up(SetUpCloud(aws_cmk_id=""))


def test_secrets_whose_move_nobody_was_asked_for_are_noticed(account: Account, aws: CloudAccount, store: Store) -> None:
    """By the daemon that starts after one that died between the save and the request."""
    assert not account.is_left_behind()
    account.set_up(wanted(aws))
    _keep(store, account, 1)
    bench = _bench(store, account)
    for _ in range(2):
        assert not account.is_left_behind(), "nothing is to be done"
        account.set_up(SetUpCloud(aws_cmk_id=aws.key()))
        assert account.is_left_behind()
        operation = bench.submission.submit(REWRAP, RewrapKeys(), "ada").operation
        assert not account.is_left_behind() and operation is not None
        assert operation.id in bench.claim().started and bench.run(operation.id).state is OperationState.SUCCEEDED
    account.set_up(SetUpCloud(aws_cmk_id=aws.key()))
    submitted = bench.submission.submit(REWRAP, RewrapKeys(), "ada").operation
    assert submitted is not None
    bench.submission.cancel(submitted.id, "ada")
    assert not account.is_left_behind(), "what a person called off is not begun again"


def test_columns_of_secrets_are_found_by_their_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEPT[0].info, "sealed", True)
    assert KEPT[0] in columns() and KEPT[1] not in columns()


def test_a_move_cut_short_loses_nothing_and_goes_on_where_it_was(account: Account, aws: CloudAccount, store: Store) -> None:
    first, second = aws.key(), aws.key()
    account.set_up(wanted(aws, aws_cmk_id=first))
    _keep(store, account, 3)
    account.set_up(SetUpCloud(aws_cmk_id=second))
    bench = _bench(store, account)
    ordered = [("AccessDeniedException", "not now")] * 9
    aws.proxy.done = lambda action: action == "kms:ReEncrypt" and aws.proxy.failing.update({"kms:ReEncrypt": ordered}) is not None
    ended = _rewrap(bench)
    assert ended.state is OperationState.FAILED and ended.error is not None and "kms:ReEncrypt" in ended.error.message
    assert account.show().sealed == {first: 5, second: 1} or account.show().sealed == {second: 1, first: 5}
    _check_all(store, account, 3)
    aws.proxy.calm()
    aws.proxy.done = lambda action: False
    assert _rewrap(bench).state is OperationState.SUCCEEDED and account.show().sealed == {second: 6}
    _check_all(store, account, 3)


def test_a_secret_saved_while_it_is_moved_is_the_one_that_stays(account: Account, aws: CloudAccount, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    account.set_up(wanted(aws, aws_cmk_id=aws.key()))
    _keep(store, account, 1)
    account.set_up(SetUpCloud(aws_cmk_id=aws.key()))
    move, saved = account.vault.move, []

    def move_late(sealed: str) -> str:
        if not saved:
            saved.append(account.vault.seal(b"newer", "t-0:license"))
            with store.write() as tx:
                tx.get_one(TemplateRow, "t-0").license_sealed = saved[0]
        return move(sealed)

    monkeypatch.setattr(account.vault, "move", move_late)
    assert _rewrap(_bench(store, account)).state is OperationState.SUCCEEDED
    with store.read() as tx:
        text = tx.get_one(TemplateRow, "t-0").license_sealed
    assert account.vault.open(text, "t-0:license") == b"newer" and key_of(text) == account.existing().cmk_arn


def test_the_answer_to_another_key_names_the_move_it_began(account: Account, aws: CloudAccount, store: Store) -> None:
    account.set_up(wanted(aws, aws_cmk_id=aws.key()))
    _keep(store, account, 1)
    bench = _bench(store, account)
    answers = CloudAnswers(account, bench.submission, simulated=False)  # type: ignore[arg-type]
    told = answers.table()["cloud.setup"](Caller("ada", Role.ROOT_ADMIN, 0, "test"), replace(SetUpCloud(), aws_cmk_id=aws.key()))
    assert told.rewrap_id and bench.show(told.rewrap_id).kind == "kms.rewrap"
