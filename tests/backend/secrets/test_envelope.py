from __future__ import annotations

import base64
import os
import stat
import threading
from pathlib import Path

import pytest

from fleet_tui.backend.errors import AuthFailed, InternalError
from fleet_tui.backend.secrets.envelope import Envelope, read_or_create_key


@pytest.fixture
def envelope(tmp_path: Path) -> Envelope:
    return Envelope.from_file(tmp_path / "master.key")


@pytest.mark.parametrize("secret", [b"", b"hunter2", bytes(range(256)) * 300])
def test_a_secret_comes_back(envelope: Envelope, secret: bytes) -> None:
    assert envelope.open(envelope.seal(secret, "instance:i-1"), "instance:i-1") == secret


def test_sealed_text_tells_nothing_and_is_never_the_same(envelope: Envelope) -> None:
    first, second = (envelope.seal(b"hunter2", "a") for _ in range(2))
    assert first != second
    assert "hunter2" not in first
    assert base64.urlsafe_b64encode(b"hunter2").decode().rstrip("=") not in first


def test_a_secret_opens_only_for_what_it_was_sealed_for(envelope: Envelope) -> None:
    with pytest.raises(AuthFailed):
        envelope.open(envelope.seal(b"x", "instance:i-1"), "instance:i-2")


def test_any_changed_character_is_noticed(envelope: Envelope) -> None:
    sealed = envelope.seal(b"hunter2", "a")
    for place in range(0, len(sealed), 5):
        wrong = "A" if sealed[place] != "A" else "B"
        with pytest.raises(AuthFailed):
            envelope.open(sealed[:place] + wrong + sealed[place + 1 :], "a")


@pytest.mark.parametrize("nonsense", ["", "v1", "v1.a.b.c", "v2.a.b.c", "....", "v1.é.b.c"])
def test_nonsense_does_not_open(envelope: Envelope, nonsense: str) -> None:
    with pytest.raises(AuthFailed):
        envelope.open(nonsense, "a")


def test_another_master_key_is_named(envelope: Envelope, tmp_path: Path) -> None:
    other = Envelope.from_file(tmp_path / "other.key")
    with pytest.raises(AuthFailed, match=envelope.key_id):
        other.open(envelope.seal(b"x", "a"), "a")


def test_the_key_file_is_private_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    old = os.umask(0)
    try:
        key = read_or_create_key(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_create_key(path) == key
    assert [found.name for found in tmp_path.iterdir()] == ["master.key"]


def test_daemons_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    gate = threading.Barrier(8)

    def make() -> None:
        gate.wait(10)
        keys.append(read_or_create_key(tmp_path / "master.key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    read_or_create_key(path)
    path.chmod(0o640)
    with pytest.raises(AuthFailed, match="read by others"):
        read_or_create_key(path)


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(InternalError, match="5 bytes"):
        read_or_create_key(path)
