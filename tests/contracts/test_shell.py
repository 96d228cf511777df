"""What every shell must do, the scripted one included: it is trusted because it passes what SSH passes on real machines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_tui.backend.errors import AuthFailed, FleetError, NotFound, TimedOut, Unreachable
from fleet_tui.backend.remote import Shell
from tests.contracts.benches import Bench, FakeBench
from tests.lab.bench import lab_bench
from tests.lab.fixtures import REAL_HOSTS
from tests.waiting import until


@pytest.fixture(params=["fake", pytest.param("lab", marks=REAL_HOSTS)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    found = FakeBench(tmp_path) if request.param == "fake" else lab_bench(request)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def shell(bench: Bench) -> Iterator[Shell]:
    found = bench.reach().open(bench.login(bench.hosts[0]))
    yield found
    found.close()


def test_a_command_gives_its_output_and_how_it_ended(bench: Bench, shell: Shell) -> None:
    assert shell.run("hostname").out == f"{bench.hosts[0]}\n"
    assert shell.run("exit 3").exit_code == 3
    failed = shell.run("cat /nowhere/at-all")
    assert failed.exit_code == 1 and not failed.out and "No such file or directory" in failed.err
    assert shell.run("no-such-command").exit_code == 127
    assert shell.run("echo 'grün ✓'").out == "grün ✓\n"
    assert shell.login == bench.login(bench.hosts[0])


def test_input_reaches_the_command(shell: Shell) -> None:
    text = "".join(f"line {number} ü\n" for number in range(20_000))
    assert shell.run("cat", input=text).out == text
    assert shell.run("cat").out == ""


def test_files_are_replaced_as_a_whole(shell: Shell) -> None:
    path, data = "/tmp/fleet-contract", bytes(range(256)) * 300
    with pytest.raises(NotFound):
        shell.read(path)
    for content in (data, b"short", b""):
        shell.write(path, content)
        assert shell.read(path) == content and shell.read(path, limit=3) == content[:3]
    shell.write(path, b"seen by commands\n", mode=0o644)
    assert shell.run(f"cat {path}").out == "seen by commands\n"
    shell.run(f"rm -f {path}")
    with pytest.raises(NotFound):
        shell.read(path)
    assert shell.run(f"test -e {path}").exit_code == 1


def test_a_host_key_is_shown_without_a_log_in_and_has_to_match(bench: Bench) -> None:
    reach, login = bench.reach(), bench.login(bench.hosts[0])
    key, other = reach.host_key(login.address, login.port), reach.host_key(bench.login(bench.hosts[1]).address)
    assert key.text == login.host_key and key.fingerprint.startswith("SHA256:") and key != other
    for wrong in (other.text, ""):
        with pytest.raises(AuthFailed) as refused:
            reach.open(replace(login, host_key=wrong))
        assert refused.value.details["reason"] == "access-denied" and refused.value.details["host_key"] in (key.text, "")


def test_credentials_are_looked_at(bench: Bench) -> None:
    reach, login = bench.reach(), bench.login(bench.hosts[0])
    by_password = replace(login, private_key="", password=bench.password())
    reach.open(by_password).close()
    for wrong in (replace(by_password, password="wrong"), replace(by_password, user="nobody-here"), replace(by_password, password="")):
        with pytest.raises(AuthFailed) as refused:
            reach.open(wrong)
        assert refused.value.details["reason"] == "access-denied"
        assert "wrong" not in f"{refused.value.message} {refused.value.hint} {refused.value.details}"


def test_a_password_is_changed_from_standard_input(bench: Bench, shell: Shell) -> None:
    reach, login = bench.reach(), replace(bench.login(bench.hosts[0]), private_key="")
    changed = shell.run("chpasswd", input="root:another: one\n")
    assert changed.exit_code == 0, changed.err
    reach.open(replace(login, password="another: one")).close()
    with pytest.raises(AuthFailed):
        reach.open(replace(login, password=bench.password()))
    assert shell.run("chpasswd", input="nobody-here:x\n").exit_code != 0
    assert shell.run("chpasswd", input=f"root:{bench.password()}\n").exit_code == 0
    reach.open(replace(login, password=bench.password())).close()


def test_a_command_that_does_not_end_is_given_up(shell: Shell) -> None:
    with pytest.raises(TimedOut):
        shell.run("sleep 30", timeout_s=0.5)
    assert shell.run("echo on").out == "on\n", "the connection is as good as before"


def test_a_link_that_breaks_in_mid_command_is_said(bench: Bench, shell: Shell) -> None:
    errors: list[BaseException] = []
    begun = threading.Event()

    def run() -> None:
        begun.set()
        try:
            shell.run("sleep 60", timeout_s=45.0)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    begun.wait(5.0)
    bench.power_off(bench.hosts[0])
    until(lambda: errors, 50.0, "the command comes back")
    assert isinstance(errors[0], Unreachable | TimedOut)
    with pytest.raises(FleetError) as lost:
        shell.run("true", timeout_s=5.0)
    assert isinstance(lost.value, Unreachable | TimedOut)
    with pytest.raises(FleetError) as refused:
        bench.reach().open(bench.login(bench.hosts[0]), timeout_s=5.0)
    assert isinstance(refused.value, Unreachable | TimedOut) and refused.value.details["reason"] == "unreachable"
    bench.power_on(bench.hosts[0])
    bench.reach().open(bench.login(bench.hosts[0])).close()


def test_a_closed_shell_does_nothing(bench: Bench, shell: Shell) -> None:
    shell.close()
    shell.close()
    for act in (lambda: shell.run("true"), lambda: shell.read("/etc/hostname"), lambda: shell.write("/tmp/fleet-contract", b"")):
        with pytest.raises(Unreachable):
            act()
    assert bench.reach().open(bench.login(bench.hosts[0])).run("true").exit_code == 0
