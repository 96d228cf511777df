"""``fleet cloud …`` over a real door, with a real account on moto behind it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend.api.cloud_answers import CloudAnswers
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.cloud import RewrapKeys
from fleet_tui.backend.cloud.account import Account
from fleet_tui.backend.events import EventBatch
from fleet_tui.backend.identity import Role
from fleet_tui.backend.operations import Submitted
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.telemetry import LineBatch
from fleet_tui.cli import main
from tests.cloud.account import ACCOUNT, KEY_ID, REGION, SECRET, CloudAccount, cloud_account
from tests.doors import Door
from tests.fleet_stub import operation


class Desk:
    def __init__(self, door: Door, account: Account, aws: CloudAccount) -> None:
        self.door, self.account, self.aws = door, account, aws
        self.asked: list[Any] = []
        door.handlers.update(CloudAnswers(account, self, simulated=False).table())  # type: ignore[arg-type]
        door.handlers.update({
            "kms.rewrap": lambda caller, request: self.submit("kms.rewrap", request, caller.user),
            "operations.show": lambda caller, request: operation(request.id, "cloud", state="succeeded"),
            "events.after": lambda caller, request: EventBatch((), max(1, request.cursor)),
            "lines.read": lambda caller, request: LineBatch((), request.after),
        })

    def submit(self, kind: str, request: RewrapKeys, user: str) -> Submitted:
        self.asked.append(request)
        return Submitted(operation("o-1", "cloud"))


@pytest.fixture
def desk(moto: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    with cloud_account(moto, tmp_path / "content") as aws:
        account = Account(store, Envelope(b"k" * 32), SystemClock())
        door = Door(_made(store), tmp_path / "run" / "fleetd.sock")
        found = Desk(door, account, aws)
        door.open()
        monkeypatch.setenv("FLEET_HOME", str(tmp_path))
        monkeypatch.setattr("sys.stdin", io.StringIO(SECRET + "\n"))
        yield found
        door.close()
    store.close()


def _made(store: Store) -> Store:
    store.create_all()
    return store


def run(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(line.split())
    said = capsys.readouterr()
    return code, said.out, said.err


def set_up(desk: Desk, capsys: pytest.CaptureFixture[str], more: str = "") -> tuple[int, str, str]:
    words = f"cloud setup --region {REGION} --auth keypair --access-key {KEY_ID} --endpoint {desk.aws.proxy.endpoint} {more}"
    return run(capsys, f"{words} --output text")


def test_an_account_is_set_up_shown_and_its_secret_stays_unsaid(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "cloud show --output text")
    assert code == 0 and "no cloud account" in out
    code, out, err = set_up(desk, capsys)
    assert code == 0, err
    assert ACCOUNT in out and SECRET not in out + err
    code, out, _ = run(capsys, "cloud show --output text")
    assert code == 0 and KEY_ID in out and "master key" in out and "fleet:site=site-" in out and SECRET not in out
    told = json.loads(run(capsys, "cloud show --output json")[1])
    assert told["region"] == REGION and told["has_secret_key"] is True and SECRET not in json.dumps(told)
    steps = run(capsys, "cloud show --steps --output text")[1]
    assert "ec2:RunInstances" in steps and steps.startswith("1. ")
    assert SECRET not in repr(desk.door.records())


def test_the_account_is_tried_and_the_exit_code_tells(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(desk, capsys)
    code, out, _ = run(capsys, "cloud test --output text")
    assert code == 0 and "identity" in out and "machines" in out and desk.account.show().version == 1
    desk.aws.proxy.denied.add("ec2:DescribeAvailabilityZones")
    code, out, _ = run(capsys, "cloud test --output text")
    assert code == 1 and "allow ec2:DescribeAvailabilityZones in the policy" in out


def test_a_key_is_tested_chosen_and_secrets_are_moved(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(desk, capsys)
    arn = desk.aws.key()
    code, out, _ = run(capsys, f"cloud test-key {arn} --output text")
    assert code == 0 and "came back" in out
    code, out, _ = run(capsys, "cloud test-key alias/nobody --output text")
    assert code == 1 and "failed" in out
    assert json.loads(run(capsys, f"cloud test-key {arn} --output json")[1])["passed"] is True
    code, out, err = run(capsys, f"cloud setup --cmk {arn} --output text")
    assert code == 0 and "move to the new key" not in err, "there is nothing to move"
    code, _, err = run(capsys, "cloud rewrap --output text")
    assert code == 0 and isinstance(desk.asked[-1], RewrapKeys), err


def test_an_account_is_removed_by_its_number(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(desk, capsys)
    code, _, err = run(capsys, f"cloud remove {ACCOUNT} --output text")
    assert code != 0 and ACCOUNT in err, "it wants the number typed"
    code, out, err = run(capsys, f"cloud remove {ACCOUNT} --confirm {ACCOUNT} --output text")
    assert code == 0 and f"cloud account {ACCOUNT} removed" in out, err
    assert "no cloud account" in run(capsys, "cloud show --output text")[1]


@pytest.mark.parametrize(("line", "code", "word"), [
    ("cloud setup", 2, "nothing to set up"), ("cloud setup --auth sudo", 2, "invalid choice"), ("cloud setup --region Ireland", 3, "region"),
    ("cloud test-key", 4, "no cloud account"), ("cloud remove 123456789012 --confirm 123456789012", 4, "it has none"),
])
def test_what_cannot_be_is_said_in_a_sentence(desk: Desk, capsys: pytest.CaptureFixture[str], line: str, code: int, word: str) -> None:
    try:
        got, _, err = run(capsys, line)
    except SystemExit as ended:
        got, err = int(ended.code or 0), capsys.readouterr().err
    assert got == code and word in err


def test_only_root_admins_change_it(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.door.become(Role.ADMIN)
    for line in (f"cloud setup --region {REGION}", "cloud test-key x", "cloud rewrap"):
        code, _, err = run(capsys, line)
        assert code == 5 and "root-admin" in err, line
    assert run(capsys, "cloud show --output text")[0] == 0


def test_a_dry_run_says_what_would_be_and_nothing_of_the_secret(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = set_up(desk, capsys, "--dry-run")
    assert code == 0 and REGION in out and SECRET not in out + err and not desk.account.show().provider
