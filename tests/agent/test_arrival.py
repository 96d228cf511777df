"""The first program on a machine in a cloud: which disk is the data disk it says by the volume's name, and leaves the rest to the agent (DAT-1)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_tui.agent import arrival, volume
from fleet_tui.agent.disk import check_disk
from fleet_tui.agent.failures import Failure
from fleet_tui.agent.identity import Identity
from fleet_tui.agent.layout import Layout
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.standing import Standing
from fleet_tui.backend.providers import BootConfiguration
from fleet_tui.backend.providers.user_data import user_data
from tests.agent.test_volume import MIB, ext4, other_ext4, swap, tool

VOLUME = "vol-0a1b2c3d4e5f60718"


class Journal:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def sayer(self, phase: str) -> Callable[[str], None]:
        return self.lines.append


@pytest.fixture
def arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose first program ran up to the point where it becomes the agent."""
    place = tmp_path / "machine"
    text = user_data(BootConfiguration("m-1", "one-time", "https://door.example.org:6978", "PEM"), VOLUME)
    monkeypatch.setattr(arrival, "ROOT", "")
    monkeypatch.setattr(arrival, "PLACE", str(place))
    monkeypatch.setattr(arrival, "user_data", lambda: text)
    monkeypatch.setattr(arrival, "fetch", lambda orders, part, target: Path(target).write_bytes(part.encode()))
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, words, environment: became.append(words))
    arrival.main("")
    assert became[0][-2:] == [str(place / "agent.pyz"), str(place)]
    assert json.loads((place / "agent.json").read_text())["data_serial"] == VOLUME
    identity = Identity.load(Layout(place))
    standing = Standing(["data-disk"], lambda: None)
    return Machine("m-1", Layout(place), {"disk": {"id": "d-1", "size_gb": 1}}, Journal(), standing, identity.data_serial)  # type: ignore[arg-type]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk of the machine, found as NVMe controllers name volumes: without the dash."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    serial = tmp_path / "block/nvme1n1/device/serial"
    serial.parent.mkdir(parents=True)
    serial.write_text(VOLUME.replace("-", "").ljust(20))
    found = volume.device_of

    def device_of(serial: str, blocks: Path) -> str:
        return str(path) if found(serial, tmp_path / "block") == "/dev/nvme1n1" else ""

    monkeypatch.setattr(volume, "device_of", device_of)
    return path


@pytest.mark.parametrize(("make", "named"), [(other_ext4, "ext4, label 'mysql'"), (swap, "swap")])
def test_a_foreign_signature_stops_the_start_up_and_is_left_as_it_is(
    arrived: Machine, device: Path, make: Callable[[Path], None], named: str
) -> None:
    make(device)
    before = device.read_bytes()
    with pytest.raises(Failure) as refused:
        check_disk(arrived)
    assert f"foreign signature: {named};" in str(refused.value) and VOLUME in str(refused.value)
    assert device.read_bytes() == before and not arrived.disk.folder.exists()


@pytest.mark.parametrize("make", [ext4, None], ids=["ours", "blank"])
def test_one_that_is_blank_or_ours_is_mounted_for_good(
    arrived: Machine, device: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None] | None
) -> None:
    """On a loop device, so that the kernel really mounts it."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("mounting takes root and loop devices")
    if make:
        make(device)
    loop = tool("losetup", "--find", "--show", device).strip()
    monkeypatch.setattr(volume, "device_of", lambda serial, blocks: loop if serial == VOLUME else "")
    try:
        check_disk(arrived)
        assert os.path.ismount(arrived.disk.folder) and volume.signature_of(loop)["LABEL"] == volume.LABEL
        assert json.loads(arrived.disk.signature.read_text())["id"] == "d-1"
        check_disk(arrived)
    finally:
        subprocess.run(["umount", str(arrived.disk.folder)], check=False)
        tool("losetup", "--detach", loop)
