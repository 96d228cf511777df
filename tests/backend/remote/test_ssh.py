"""Shells over SSH on real hosts: who is let in, who is believed, and that nothing waits for ever."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.errors import AuthFailed, InvalidInput, NotFound, TimedOut, Unreachable
from fleet_tui.backend.remote import Login
from fleet_tui.backend.remote import ssh as module
from fleet_tui.backend.remote.ssh import SshReach, SshShell
from tests.lab.commands import run
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.waiting import until

pytestmark = REAL_HOSTS
REACH = SshReach()


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.hosts[0]


@pytest.fixture
def shell(lab: Lab, host: Host) -> Iterator[SshShell]:
    found = REACH.open(lab.login(host))
    yield found
    found.close()


def test_fingerprint_is_the_one_that_ssh_keygen_prints(host: Host) -> None:
    shown = REACH.host_key(host.address)
    assert shown.text == host.host_key
    assert shown.fingerprint == run("ssh-keygen", "-lf", host.folder / "etc/ssh/ssh_host_ed25519_key.pub").split()[1]


def test_lets_in_by_key_or_by_password(lab: Lab, host: Host) -> None:
    for login in (lab.login(host), dataclasses.replace(lab.login(host), private_key="", password=lab.password)):
        shell = REACH.open(login)
        assert shell.run("id -un").out == "root\n"
        shell.close()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_reads_other_kinds_of_keys(lab: Lab, host: Host, tmp_path: Path, kind: str) -> None:
    for form in ("RFC4716", "PEM"):
        file = tmp_path / form
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-m", form, "-f", file)
        host.allow([file.with_suffix(".pub").read_text()])
        REACH.open(host.login(file.read_text())).close()


def test_refusals_say_why_and_keep_secrets(lab: Lab, host: Host, tmp_path: Path) -> None:
    right = lab.login(host)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "xyz-phrase", "-f", tmp_path / "locked")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    cases: list[tuple[Login, type[Exception], str]] = [
        (dataclasses.replace(right, private_key="", password="not-the-password"), AuthFailed, "access-denied"),
        (dataclasses.replace(right, private_key=(tmp_path / "other").read_text()), AuthFailed, "access-denied"),
        (dataclasses.replace(right, user="nobody"), AuthFailed, "access-denied"),
        (dataclasses.replace(right, host_key=""), AuthFailed, "access-denied"),
        (dataclasses.replace(right, private_key=(tmp_path / "locked").read_text()), InvalidInput, ""),
        (dataclasses.replace(right, private_key="-----BEGIN RUBBISH"), InvalidInput, ""),
    ]
    for login, kind, reason in cases:
        with pytest.raises(kind) as refusal:
            REACH.open(login)
        assert refusal.value.details.get("reason", "") == reason  # type: ignore[attr-defined]
        told = "".join(traceback.format_exception(refusal.value)) + repr(refusal.value.__dict__) + repr(login)
        assert "not-the-password" not in told and "PRIVATE" not in told and "RUBBISH" not in told


def test_a_changed_host_key_is_refused_before_any_secret_is_offered(lab: Lab, host: Host) -> None:
    login = lab.login(host)
    host.new_host_key()
    host.off()
    host.on()
    host.wait()
    with pytest.raises(AuthFailed, match="another host key") as refusal:
        REACH.open(login)
    assert refusal.value.details == {"reason": "access-denied", "host_key": host.host_key}
    log = (host.folder / "log/sshd.log").read_text()
    assert "Accepted" not in log.rsplit("Server listening", 1)[1]
    assert REACH.open(lab.login(host)).run("true").exit_code == 0


def test_the_kind_of_host_key_on_record_is_asked_for(lab: Lab, host: Host) -> None:
    """A host with several keys is the one on record by any of them."""
    rsa = host.folder / "etc/ssh/ssh_host_rsa_key"
    run("ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", rsa)
    with (host.folder / "etc/ssh/sshd_config").open("a") as config:
        config.write(f"HostKey /etc/ssh/{rsa.name}\n")
    host.off()
    host.on()
    host.wait()
    text = " ".join(rsa.with_suffix(".pub").read_text().split()[:2])
    REACH.open(dataclasses.replace(lab.login(host), host_key=text)).close()
    REACH.open(lab.login(host)).close()
    rsa.unlink()


def test_commands(shell: SshShell) -> None:
    assert shell.run("echo out; echo err >&2; exit 3") == module.Answer(3, "out\n", "err\n")
    assert shell.run("kill -9 $$").exit_code == -1
    assert shell.run("cat", input="a 'quoted' £ line\n").out == "a 'quoted' £ line\n"
    assert shell.run("exec >&- 2>&-; sleep 0.3; exit 4").exit_code == 4
    much = shell.run("head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2; wc -c", input="z" * 3_000_000)
    assert (len(much.out.rstrip()), much.out[-8:], len(much.err)) == (3_000_007, "3000000\n", 3_000_000)


def test_input_is_not_on_any_command_line(shell: SshShell, host: Host) -> None:
    """Secrets go through ``input``."""
    seen = shell.run("read secret; cat /proc/[0-9]*/cmdline | tr '\\0' ' '", input="hush-hush\n").out
    assert "read secret" in seen and "hush-hush" not in seen


def test_files(shell: SshShell) -> None:
    shell.write("/root/file", b"\x00one", mode=0o640)
    shell.write("/root/file", b"\x00two" * 500_000)
    assert shell.read("/root/file") == b"\x00two" * 500_000
    assert shell.read("/root/file", limit=4) == b"\x00two"
    assert shell.run("stat -c %a /root/file; ls /root").out == "600\nfile\n"
    assert b"Linux" in shell.read("/proc/version")
    with pytest.raises(NotFound):
        shell.read("/root/nothing")
    with pytest.raises(NotFound):
        shell.write("/root/nowhere/file", b"")


def test_a_command_that_does_not_end(shell: SshShell) -> None:
    with pytest.raises(TimedOut, match="did not end within"):
        shell.run("sleep 60", timeout_s=0.5)
    assert shell.run("echo on").out == "on\n"


def test_a_server_that_hangs(shell: SshShell, host: Host) -> None:
    """Also when it stops while a command is asked for: paramiko itself would wait for ever."""
    host.run("sh", "-c", "kill -STOP $(pgrep sshd)")
    with pytest.raises(TimedOut):
        shell.run("true", timeout_s=0.5)
    with pytest.raises(TimedOut) as refusal:
        REACH.host_key(host.address, timeout_s=0.5)
    assert refusal.value.details["reason"] == "no-rpc"
    host.run("sh", "-c", "kill -CONT $(pgrep sshd)")
    assert shell.run("echo on").out == "on\n"


def test_many_at_once(shell: SshShell) -> None:
    """More than the server's ten sessions: they take turns."""
    answers: list[str] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(shell.run(f"echo {n}").out)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == sorted(f"{n}\n" for n in range(24))


def test_what_cannot_be_reached_says_why(lab: Lab, host: Host) -> None:
    with pytest.raises(Unreachable) as refusal:
        REACH.host_key(host.address, 23)
    assert refusal.value.details["reason"] == "connection-refused"
    with pytest.raises(Unreachable) as refusal:
        REACH.host_key("no-such-host.invalid")
    assert refusal.value.details["reason"] == "unreachable"
    with pytest.raises(TimedOut) as late:
        REACH.host_key(f"{lab.network.net}.99", timeout_s=0.5)
    assert late.value.details["reason"] == "unreachable"
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=lambda: other.accept()[0].sendall(b"220 mail.example ESMTP\r\n" * 100), daemon=True).start()
        with pytest.raises(Unreachable) as refusal:
            REACH.host_key("127.0.0.1", other.getsockname()[1], timeout_s=5)
        assert refusal.value.details["reason"] == "no-service"


def test_a_link_that_breaks_in_a_command(shell: SshShell, host: Host) -> None:
    cut = threading.Timer(0.3, host.off)
    cut.start()
    with pytest.raises((Unreachable, TimedOut)):
        shell.run("sleep 60", timeout_s=3)
    cut.join()


def test_a_silent_link_breaks_by_itself(lab: Lab, host: Host) -> None:
    shell = SshReach(silence_s=3.0).open(lab.login(host))
    host.unplug()
    until(lambda: not shell.is_open, timeout=module.SILENCE_S, what="the link is given up")
    with pytest.raises(Unreachable) as refusal:
        shell.run("true")
    assert refusal.value.details["reason"] == "unreachable"


def test_relay_carries_bytes_both_ways_until_either_side_ends(shell: SshShell) -> None:
    relay = shell.relay("cat")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(relay.path)
        until(lambda: not os.path.exists(relay.path), what="nobody else can come")
        sent = os.urandom(2_000_000)
        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent):
            got += client.recv(1_000_000)
        assert got == sent
        relay.close()
        assert client.recv(1) == b""
    ended = shell.relay("echo gone >&2")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(ended.path)
        assert client.recv(1) == b""
    until(lambda: ended.is_closed and ended.said == "gone\n", what="its last words are known")
    unused = shell.relay("cat")
    unused.close()
    assert not os.path.exists(os.path.dirname(unused.path))
