"""The register of bundles: where they lie, also after the state directory has moved."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import ConfirmationRequired, InUse, NotFound
from fleet_tui.backend.instances import CreateInstance, RemoveImage
from fleet_tui.backend.instances.bundle import pack
from fleet_tui.backend.instances.images import bundle_file, register_image, remove_image, sweep_parts, take_bundle
from fleet_tui.backend.instances.rows import ImageRow
from fleet_tui.backend.instances.settings import create, find_row
from fleet_tui.backend.site import example
from fleet_tui.backend.store import Store
from tests.backend.providers.yard import opened

CLOCK = SystemClock()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    pack(example("hello-app"), tmp_path / "hello.tar")
    return tmp_path / "hello.tar"


def register(store: Store, bundle: Path, folder: Path) -> None:
    taken = take_bundle(bundle, folder)
    with store.write() as tx:
        register_image(tx, taken, CLOCK)


def found(store: Store, folder: Path) -> Path:
    with store.read() as tx:
        return bundle_file(tx.scalars(select(ImageRow)).one(), folder)


def test_images_move_with_their_folder(store: Store, bundle: Path, tmp_path: Path) -> None:
    register(store, bundle, tmp_path / "old/images")
    (tmp_path / "old").rename(tmp_path / "new")
    assert found(store, tmp_path / "new/images").is_file()


def test_one_that_was_lost_comes_back_by_registering_it_again(store: Store, bundle: Path, tmp_path: Path) -> None:
    register(store, bundle, tmp_path / "old")
    shutil.rmtree(tmp_path / "old")
    assert found(store, tmp_path / "new").parent == tmp_path / "new", "what is said to be gone is told by where it should be"
    register(store, bundle, tmp_path / "new")
    assert found(store, tmp_path / "new").read_bytes() == found(store, tmp_path / "elsewhere").read_bytes() == bundle.read_bytes()


def test_copies_that_nobody_finishes_go_after_a_day(tmp_path: Path, bundle: Path) -> None:
    now = CLOCK.now()
    for name, age in ((".left.part", timedelta(days=2)), (".at-work.part", timedelta(hours=2)), ("f00.tar", timedelta(days=9))):
        (tmp_path / name).touch()
        moment = (now - age).timestamp()
        os.utime(tmp_path / name, (moment, moment))
    sweep_parts(tmp_path, now)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".at-work.part", "f00.tar", "hello.tar"]
    sweep_parts(tmp_path / "none", now)


def test_one_is_removed_with_its_bundle_once_nobody_uses_it(store: Store, tmp_path: Path) -> None:
    with opened(store, tmp_path) as yard, store.write() as tx:
        for number in ("1.3.0", "1.5.0"):
            (tmp_path / f"{number}.tar").touch()
            tx.add(ImageRow(
                id=f"m-{number}", name="hello-app", version=number, sha256=number, size_bytes=0, path=str(tmp_path / f"{number}.tar"),
                manifest={}, created_at=CLOCK.now(),
            ))
        tx.flush()
        create(tx, CreateInstance(label="newest"), CLOCK)
        create(tx, CreateInstance(label="chosen", settings={"image": "hello-app 1.3.0"}), CLOCK)
        tx.flush()

        def remove(target: str, confirm: str = "") -> str:
            return remove_image(tx, RemoveImage(target, confirm), tmp_path, "ada")

        for used, label in (("hello-app 1.3.0", "chosen"), ("m-1.5.0", "newest")):
            with pytest.raises(InUse, match=f"used by {label}"):
                remove(used, "x")
        for row, state in ((find_row(tx, "newest"), "reprovisioning"), (find_row(tx, "newest"), "running")):
            row.state, row.machine, row.image = state, "vm-1", "hello-app 1.4.0" if state == "running" else "hello-app 1.3.0"
            with pytest.raises(InUse, match="used by newest"):
                remove("m-hello", "x")
        find_row(tx, "newest").machine = None
        with pytest.raises(ConfirmationRequired) as refused:
            remove("m-hello", "hello")
        assert refused.value.hint == "type its name: --confirm 'hello-app 1.4.0'"
        assert remove("m-hello", "hello-app 1.4.0") == "hello-app 1.4.0" and not (yard.folder / "bundle.tar").exists()
        with pytest.raises(NotFound):
            remove("hello-app 1.4.0", "hello-app 1.4.0")
        tx.delete(find_row(tx, "newest"))
        tx.flush()
        assert remove("m-1.5.0", "m-1.5.0") == "hello-app 1.5.0", "its id names it as well"
