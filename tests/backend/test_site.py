"""What every site is ready with, at its first start and at each later one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.directories import Directories
from fleet_tui.backend.instances.bundle import pack
from fleet_tui.backend.instances.images import list_images, register_image, take_bundle
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.site import Site, example, prepare_site
from fleet_tui.backend.store import Store


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Site:
    provider: Any = None  # a simulated site does not measure this machine
    return Site(store, SystemClock(), Directories(tmp_path, tmp_path, tmp_path), provider, Envelope(b"k" * 32))


def test_prepared_twice_is_prepared_once(site: Site, store: Store) -> None:
    prepare_site(site, simulated=True)
    prepare_site(site, simulated=True)
    with store.read() as tx:
        assert [image.name for image in list_images(tx)] == ["hello-app"]


def test_the_example_of_another_release_keeps_no_daemon_from_starting(
    site: Site, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Instances may run it, so it stays what it was."""
    old = shutil.copytree(example("hello-app"), tmp_path / "old")
    (old / "start.sh").write_text("exec sleep 1000\n")
    pack(old, tmp_path / "old.tar")
    taken = take_bundle(tmp_path / "old.tar", site.directories.images)
    with store.write() as tx:
        kept = register_image(tx, taken, site.clock)
    prepare_site(site, simulated=True)
    with store.read() as tx:
        assert list_images(tx) == (kept,)
    assert [file.name for file in site.directories.images.iterdir()] == [f"{kept.sha256}.tar"], "nothing else is left there"
    assert "not taken in: hello-app" in caplog.text
