"""Bundles: what is taken, what is refused, and that packing is repeatable."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.instances.bundle import MANIFEST, Manifest, digest, pack, read_manifest

HELLO = Path(__file__).parents[3] / "examples/hello-app"
GOOD = 'name = "x"\nversion = "1.0"\nstart = "run"\n'


def make(path: Path, manifest: str = GOOD, top: str = MANIFEST, **member: Any) -> Path:
    with tarfile.open(path, "w") as archive:
        data = manifest.encode()
        info = tarfile.TarInfo(top)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
        if member:
            extra = tarfile.TarInfo()
            for key, value in member.items():
                setattr(extra, key, value)
            archive.addfile(extra, io.BytesIO(b"x" * extra.size))
    return path


def refusal(path: Path) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        read_manifest(path)
    return {problem.field: problem.message for problem in refused.value.problems}


def test_example_is_a_good_bundle(tmp_path: Path) -> None:
    manifest = pack(HELLO, tmp_path / "hello.tar")
    assert (manifest.name, manifest.health, manifest.port) == ("hello-app", "/healthz", 8080)
    assert read_manifest(tmp_path / "hello.tar") == manifest
    assert set(manifest.as_document()) == {"name", "version", "install", "upgrade", "start", "stop", "reload", "health", "port"}


def test_packing_gives_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "app"
    source.mkdir()
    (source / MANIFEST).write_text(GOOD)
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "again").hardlink_to(source / "run")
    (source / "__pycache__").mkdir()
    (source / "__pycache__/x.pyc").write_bytes(b"x")
    pack(source, tmp_path / "a.tar")
    os.utime(source / "run", (1, 1))
    (source / "run").chmod(0o700)
    pack(source, tmp_path / "b.tar")
    assert digest(tmp_path / "a.tar") == digest(tmp_path / "b.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == ["again", MANIFEST, "run"]
        assert archive.getmember("run").isreg() and archive.getmember("again").isreg() and archive.getmember("run").mode == 0o755


def test_packing_a_bad_folder_leaves_the_old_bundle(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "b.tar").write_bytes(b"old")
    with pytest.raises(InvalidInput):
        pack(tmp_path / "app", tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_bytes() == b"old" and sorted(p.name for p in tmp_path.iterdir()) == ["app", "b.tar"]


def test_defaults_and_dotted_names(tmp_path: Path) -> None:
    assert read_manifest(make(tmp_path / "b.tar", top=f"./{MANIFEST}")) == Manifest("x", "1.0", "run")


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    bad = 'name = "X Y"\nversion = "one"\nstart = " "\nhealth = "x"\nport = 0\nstop = 3\ncolour = "red"\n'
    assert set(refusal(make(tmp_path / "b.tar", bad))) == {"name", "version", "start", "health", "port", "stop", "colour"}
    assert set(refusal(make(tmp_path / "b.tar", ""))) == {"name", "version", "start"}


def test_bad_toml_says_where(tmp_path: Path) -> None:
    assert "line 2" in refusal(make(tmp_path / "b.tar", 'name = "x"\nversion = \n'))[MANIFEST]


def test_missing_manifest_and_no_tar(tmp_path: Path) -> None:
    assert MANIFEST in refusal(make(tmp_path / "b.tar", top="other.toml"))
    (tmp_path / "n.tar").write_bytes(b"nothing like a tar" * 100)
    assert "path" in refusal(tmp_path / "n.tar")
    assert "path" in refusal(tmp_path / "missing.tar")


@pytest.mark.parametrize(
    "member",
    [
        {"name": "../out", "size": 1}, {"name": "/etc/out", "size": 1}, {"name": "a/../../out", "size": 1},
        {"name": "l", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, {"name": "a/l", "type": tarfile.SYMTYPE, "linkname": "../../x"},
        {"name": "d", "type": tarfile.BLKTYPE}, {"name": "f", "type": tarfile.FIFOTYPE}, {"name": "h", "type": tarfile.LNKTYPE, "linkname": "x"},
    ],
)
def test_dangerous_entry_is_refused_by_name(tmp_path: Path, member: dict[str, Any]) -> None:
    assert member["name"] in refusal(make(tmp_path / "b.tar", **member))["path"]


def test_link_that_stays_inside_is_taken(tmp_path: Path) -> None:
    read_manifest(make(tmp_path / "b.tar", name="a/l", type=tarfile.SYMTYPE, linkname="../x"))
