"""The data disk as a device: what is found on one decides, and only one with nothing on it is formatted. Disks are files here; tools are real."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_tui.agent import volume
from fleet_tui.agent.failures import Failure

MIB = 1024**2


def tool(*command: str | Path, text: str = "") -> str:
    environment = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C"}
    return subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True, check=True, env=environment).stdout


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    return path


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch, device: Path) -> list[tuple[str, ...]]:
    """Everything is done but the mounting itself, which takes a real device."""
    done: list[tuple[str, ...]] = []
    run = volume._run

    def record(*command: str) -> None:
        done.append(command)
        if command[0] != "mount":
            run(*command)

    monkeypatch.setattr(volume, "_run", record)
    monkeypatch.setattr(volume, "device_of", lambda serial, blocks: str(device))
    return done


def ext4(device: Path) -> None:
    tool("mkfs.ext4", "-q", "-F", "-L", "fleet-data", device)


def other_ext4(device: Path) -> None:
    tool("mkfs.ext4", "-q", "-F", "-L", "mysql", device)


def unnamed_ext4(device: Path) -> None:
    tool("mkfs.ext4", "-q", "-F", device)


def swap(device: Path) -> None:
    tool("mkswap", device)


def partitions(device: Path) -> None:
    tool("sfdisk", "-q", device, text="label: gpt\nsize=8MiB\n")


def luks(device: Path) -> None:
    with device.open("r+b") as file:
        file.write(b"LUKS\xba\xbe\x00\x01" + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0"))
        file.seek(168)
        file.write(b"8b4a1c3e-0d52-4e8f-9a77-2f6f1d2c3b4a")


def vfat(device: Path) -> None:
    tool("mkfs.vfat", "-n", "USB", device)


@pytest.mark.parametrize(("make", "named"), [
    (other_ext4, "ext4, label 'mysql'"), (unnamed_ext4, "ext4"), (swap, "swap"), (partitions, "a partition table (gpt)"), (vfat, "vfat, label 'USB'"),
    (luks, "crypto_LUKS"),
])
def test_what_is_somebody_elses_is_named_and_left_alone(
    device: Path, tmp_path: Path, mounts: list[tuple[str, ...]], make: Callable[[Path], None], named: str
) -> None:
    make(device)
    before = device.read_bytes()
    with pytest.raises(Failure) as refused:
        volume.settle("d-1", tmp_path / "data", lambda text: None)
    assert f"foreign signature: {named};" in str(refused.value) and "nothing was changed" in str(refused.value)
    assert device.read_bytes() == before and not mounts and not (tmp_path / "data").exists()


def test_two_signatures_at_once_are_foreign_too(device: Path, tmp_path: Path, mounts: list[tuple[str, ...]]) -> None:
    ext4(device)
    luks(device)
    before = device.read_bytes()
    with pytest.raises(Failure, match="foreign signature: crypto_LUKS"):
        volume.settle("d-1", tmp_path / "data", lambda text: None)
    assert device.read_bytes() == before and not mounts


def test_one_without_any_signature_is_formatted_once(device: Path, tmp_path: Path, mounts: list[tuple[str, ...]]) -> None:
    said: list[str] = []
    volume.settle("d-1", tmp_path / "data", said.append)
    assert [command[0] for command in mounts] == ["mkfs.ext4", "mount"] and "formatting" in said[0]
    assert volume.signature_of(str(device))["LABEL"] == "fleet-data"
    identity = volume.signature_of(str(device))["UUID"]
    volume.settle("d-1", tmp_path / "data", said.append)
    assert [command[0] for command in mounts] == ["mkfs.ext4", "mount", "mount"]
    assert volume.signature_of(str(device))["UUID"] == identity, "it was not formatted again"


def test_one_that_cannot_be_read_is_not_taken_for_blank(device: Path, tmp_path: Path, mounts: list[tuple[str, ...]]) -> None:
    device.unlink()
    device.mkdir()
    with pytest.raises(Failure, match="cannot be read"):
        volume.settle("d-1", tmp_path / "data", lambda text: None)
    assert not mounts


@pytest.mark.parametrize(("place", "said"), [("serial", "d-4f2a71kq"), ("device/serial", "d4f2a71kq           ")])
def test_a_disk_is_found_by_its_serial(tmp_path: Path, place: str, said: str) -> None:
    for name, serial in (("vda", ""), ("vdb", "d-other"), ("vdc", said)):
        file = tmp_path / name / place
        file.parent.mkdir(parents=True)
        file.write_text(serial)
    assert volume.device_of("d-4f2a71kq", tmp_path) == "/dev/vdc"
    assert volume.device_of("d-none", tmp_path) == "" and volume.device_of("d-none", tmp_path / "nowhere") == ""


def test_one_that_does_not_appear_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "_APPEAR_S", 0.0)
    with pytest.raises(Failure, match="no data disk with serial d-1"):
        volume.settle("d-1", tmp_path / "data", lambda text: None, blocks=tmp_path)


@pytest.mark.parametrize("more", [0, 1, 100])
def test_a_file_system_that_is_smaller_than_its_disk_is_seen_however_little(device: Path, more: int) -> None:
    ext4(device)
    assert not volume.is_smaller(str(device))
    with device.open("r+b") as file:
        file.truncate((64 + more) * MIB)
    assert volume.is_smaller(str(device)) is bool(more)
    tool("resize2fs", "-f", device)
    assert not volume.is_smaller(str(device))


def test_what_is_no_ext4_is_never_grown(device: Path) -> None:
    swap(device)
    assert not volume.is_smaller(str(device))
