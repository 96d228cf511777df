"""Local data disks of earlier versions, built as those wrote them: every verb works on them, what is on them never moves before a restore,
and taking one over can be killed between any two effects, and done by several at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from fleet_tui.backend import directories
from fleet_tui.backend.errors import Busy, InternalError, NotFound, WrongState
from fleet_tui.backend.providers import DiskInfo, MachineSpec
from fleet_tui.backend.providers.local import LocalProvider
from fleet_tui.backend.providers.older_disks import OlderDisks
from tests.backend.providers.test_local import Killed, kill_after, quiet

Kind = Callable[..., Path]


def provider(home: Path) -> LocalProvider:
    return LocalProvider(directories.find({"FLEET_HOME": str(home)}))


def plain(home: Path, attached_to: str | None = None) -> Path:
    """With one record beside the folder that was the disk. Gives what is on it."""
    disks = home / "disks"
    (disks / "d-1").mkdir(parents=True)
    record = {"id": "d-1", "size_gb": 10, "attached_to": attached_to, "used_bytes": 7, "token": "t"}
    (disks / "d-1.json").write_text(json.dumps(record, indent=2))
    (disks / ".lock").touch()
    return disks / "d-1"


def versioned(home: Path, attached_to: str | None = None) -> Path:
    """With versions of its record in its folder, beside what is on it."""
    folder, version = home / "disks/d-1", 1_764_000_000_000
    content = f"{version}-0a1b2c"
    (folder / content).mkdir(parents=True)
    record = {"id": "d-1", "size_gb": 10, "token": "t", "content": content, "attached_to": attached_to, "used_bytes": 7}
    for number in (version, version + 1):  # the former was to be removed next
        (folder / f"{number}.json").write_text(json.dumps({**record, "version": number, "used_bytes": 7 if number > version else None}))
    return folder / content


@pytest.fixture(params=[plain, versioned], ids=["plain", "versioned"])
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture
def old(kind: Kind, tmp_path: Path) -> Iterator[Path]:
    """What is on a disk of that kind: files, one of which is called as a record would be."""
    path = kind(tmp_path)
    (path / "a").write_text("before")
    (path / "5.json").write_text("the application's own")
    yield path


def disk(local: LocalProvider) -> DiskInfo:
    found = local.find_disk("d-1")
    assert found is not None
    return found


def files(home: Path) -> set[str]:
    return {path.name for path in home.glob("disks/*")} - {".lock"}


def test_it_is_found_where_it_lies(old: Path, tmp_path: Path) -> None:
    assert disk(provider(tmp_path)) == DiskInfo("d-1", 10, 7, str(old), None)
    assert disk(provider(tmp_path)).path == str(old) and files(tmp_path) == {".records", "d-1"}
    assert {path.name for path in old.iterdir()} == {"a", "5.json"}
    assert not list(old.parent.glob("*.json")), "the older record is gone"


def test_it_is_ensured_larger_and_grown(old: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert provider(tmp_path).ensure_disk("d-1", 20, "another", said.append).size_gb == 20 and "found" in said[0]
    assert provider(tmp_path).grow_disk("d-1", 30, quiet).size_gb == 30
    assert disk(provider(tmp_path)) == DiskInfo("d-1", 30, 7, str(old), None) and (old / "a").read_text() == "before"


@pytest.mark.parametrize("attached", [True, False])
def test_a_machine_has_it_goes_on_having_it_and_gives_it_back(kind: Kind, tmp_path: Path, attached: bool) -> None:
    path, local = kind(tmp_path, "m-1" if attached else None), provider(tmp_path)
    (path / "a").write_text("12345")
    for machine in ("m-1", "m-2"):
        local.create_machine(MachineSpec(machine, f"i-{machine}", machine, "t"), quiet)
    if attached:
        (tmp_path / "machines/m-1/data").symlink_to(path)
    else:
        local.attach_disk("m-1", "d-1")
    assert disk(provider(tmp_path)).attached_to == "m-1"
    assert (tmp_path / "machines/m-1/data").resolve() == path, "its link leads where it led"
    for refused in (lambda: local.attach_disk("m-2", "d-1"), lambda: local.delete_disk("d-1"), lambda: local.ensure_disk("d-1", 10, "t", quiet)):
        with pytest.raises(Busy, match="attached to machine m-1"):
            refused()
    local.detach_disk("m-1", "d-1")
    assert disk(local).attached_to is None and (disk(local).used_bytes or 0) >= 5
    local.attach_disk("m-2", "d-1")
    local.terminate("m-2", quiet)
    assert disk(local).attached_to is None and (path / "a").read_text() == "12345"
    local.terminate("m-1", quiet)


def test_what_a_machine_has_is_known_before_anything_else_looked_at_it(kind: Kind, tmp_path: Path) -> None:
    kind(tmp_path, "m-1")
    local = provider(tmp_path)
    local.create_machine(MachineSpec("m-1", "i-1", "web", "t"), quiet)
    local.ensure_disk("d-2", 10, "t", quiet)
    with pytest.raises(Busy, match="has data disk d-1"):
        local.attach_disk("m-1", "d-2")
    local.terminate("m-1", quiet)
    assert disk(local).attached_to is None


def test_it_is_snapshotted_and_restored(old: Path, tmp_path: Path) -> None:
    local = provider(tmp_path)
    local.snapshot_disk("d-1", "s-1", quiet)
    (old / "a").write_text("after")
    local.restore_disk("d-1", "s-1", quiet)
    now = Path(disk(local).path)
    assert (now / "a").read_text() == "before" and (now / "5.json").read_text() == "the application's own"
    assert files(tmp_path) == {".records", now.name}, "what was on it before is gone"
    local.restore_disk("d-1", "s-1", quiet)
    assert files(tmp_path) == {".records", Path(disk(local).path).name}


def test_it_is_erased_and_made_again(old: Path, tmp_path: Path) -> None:
    local = provider(tmp_path)
    local.delete_disk("d-1")
    assert local.find_disk("d-1") is None and files(tmp_path) == {".records"} and not list((tmp_path / "disks/.records").iterdir())
    local.ensure_disk("d-1", 10, "t", quiet)
    assert not list(Path(disk(local).path).iterdir())


VERBS: dict[str, Callable[[LocalProvider], object]] = {
    "find": lambda local: local.find_disk("d-1"),
    "ensure": lambda local: local.ensure_disk("d-1", 20, "t", quiet),
    "restore": lambda local: local.restore_disk("d-1", "s-1", quiet),
    "delete": lambda local: local.delete_disk("d-1"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("effects", range(18))
def test_killed_between_any_two_effects_it_is_there_whole_and_the_verb_can_be_repeated(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, effects: int
) -> None:
    keep_snapshot(old, tmp_path)
    (old / "a").write_text("after")
    kill_after(monkeypatch, effects)
    with suppress(Killed):
        VERBS[verb](provider(tmp_path))
    monkeypatch.undo()
    local = provider(tmp_path)
    if (found := local.find_disk("d-1")) is not None:
        assert found.size_gb in (10, 20) and (Path(found.path) / "a").read_text() in ("before", "after")
    else:
        assert verb == "delete"
    VERBS[verb](local)
    if verb == "delete":
        assert local.find_disk("d-1") is None and files(tmp_path) == {".records"}
    else:
        assert (Path(disk(local).path) / "a").read_text() == ("before" if verb == "restore" else "after")
        local.grow_disk("d-1", 40, quiet)
        assert files(tmp_path) == {".records", Path(disk(local).path).name if verb == "restore" else "d-1"}
        assert verb == "restore" or [path.name for path in old.parent.glob("*.json")] == []
    local.delete_disk("d-1")
    assert provider(tmp_path).find_disk("d-1") is None, "no older record brings it back"
    assert files(tmp_path) == {".records"} and not list((tmp_path / "disks/.records").iterdir())


def keep_snapshot(content: Path, home: Path) -> None:
    (home / "snapshots/s-1/content").mkdir(parents=True)
    (home / "snapshots/s-1/content/a").write_text("before")
    (home / "snapshots/s-1/snapshot.json").write_text(json.dumps({"id": "s-1", "disk": "d-1", "size_bytes": 6}))


@pytest.mark.parametrize("meanwhile", ["attach", "restore", "delete", "make again"])
def test_one_that_hung_while_taking_it_over_changes_nothing_that_others_did_since(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    keep_snapshot(old, tmp_path)
    (old / "a").write_text("after")
    link, local = os.link, provider(tmp_path)
    local.create_machine(MachineSpec("m-1", "i-1", "web", "t"), quiet)
    monkeypatch.setattr(os, "link", lambda *names: (monkeypatch.setattr(os, "link", link), others(), link(*names)))

    def others() -> None:
        if meanwhile == "attach":
            local.attach_disk("m-1", "d-1")
        elif meanwhile == "restore":
            local.restore_disk("d-1", "s-1", quiet)
        else:
            local.delete_disk("d-1")
            if meanwhile == "make again":
                local.ensure_disk("d-1", 10, "t", quiet)

    found = provider(tmp_path).find_disk("d-1")
    if meanwhile == "delete":
        assert found is None and files(tmp_path) == {".records"}
    else:
        assert found is not None and found == disk(local)
        text = {"attach": "after", "restore": "before"}.get(meanwhile)
        assert [path.read_text() for path in Path(found.path).glob("a")] == ([text] if text else [])
        assert (found.attached_to == "m-1") is (meanwhile == "attach")
    local.terminate("m-1", quiet)


def test_taken_over_between_two_looks_what_the_application_wrote_is_no_record(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, others = OlderDisks._records, provider(tmp_path)

    def late(older: OlderDisks, disk_id: str) -> dict[int, Path]:
        monkeypatch.setattr(OlderDisks, "_records", looked)
        others.find_disk("d-1")
        return looked(older, disk_id)

    monkeypatch.setattr(OlderDisks, "_records", late)
    assert disk(provider(tmp_path)) == disk(others) == DiskInfo("d-1", 10, 7, str(old), None)
    assert (old / "5.json").read_text() == "the application's own"


def test_many_take_it_over_at_once_and_each_growth_counts(old: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda size: provider(tmp_path).grow_disk("d-1", size, quiet), range(11, 19)))
    assert disk(provider(tmp_path)) == DiskInfo("d-1", 18, 7, str(old), None) and (old / "a").read_text() == "before"


# --- what only one of the two could leave --------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "text"), [
    ({"d-1": "now", ".d-1.copy-1": "part"}, "now"), ({"d-1": "now", ".d-1.new": "restored"}, "now"),
    ({".d-1.old": "was", ".d-1.new": "restored"}, "restored"), ({"d-1": "restored", ".d-1.old": "was"}, "restored"),
    ({".d-1.old": "was"}, "was"),
])
def test_a_restore_that_an_earlier_version_left_half_done_is_finished_or_taken_back(tmp_path: Path, left: dict[str, str], text: str) -> None:
    plain(tmp_path).rmdir()
    for name, words in left.items():
        (tmp_path / "disks" / name).mkdir()
        (tmp_path / "disks" / name / "a").write_text(words)
    local = provider(tmp_path)
    for _ in range(2):
        assert (Path(disk(local).path) / "a").read_text() == text
        local.grow_disk("d-1", disk(local).size_gb + 1, quiet)
    local.snapshot_disk("d-1", "s-1", quiet)
    local.restore_disk("d-1", "s-1", quiet)
    assert (Path(disk(local).path) / "a").read_text() == text and len(files(tmp_path)) == 2


def test_an_erasing_that_an_earlier_version_left_half_done_is_finished(tmp_path: Path) -> None:
    plain(tmp_path).rename(tmp_path / "disks/.d-1.gone-0a1b2c3d")
    local = provider(tmp_path)
    with pytest.raises(NotFound, match="content of data disk d-1 is gone"):
        local.ensure_disk("d-1", 10, "t", quiet)
    local.delete_disk("d-1")
    assert local.find_disk("d-1") is None and files(tmp_path) == {".records"}
    (tmp_path / "disks/.d-1.gone-0a1b2c3d").mkdir()
    local.delete_disk("d-1")
    assert files(tmp_path) == {".records"}


def test_one_that_was_being_erased_stays_erased(tmp_path: Path) -> None:
    content = versioned(tmp_path)
    record = {"id": "d-1", "version": 1_764_000_000_002, "size_gb": 10, "token": "t", "content": "", "attached_to": None, "used_bytes": 7}
    (content.parent / "1764000000002.json").write_text(json.dumps(record))
    local = provider(tmp_path)
    assert local.find_disk("d-1") is None
    local.ensure_disk("d-1", 10, "t", quiet)
    assert files(tmp_path) == {".records", Path(disk(local).path).name}


def test_files_without_a_record_are_never_replaced_by_a_blank_disk(tmp_path: Path) -> None:
    content = plain(tmp_path)
    (content / "a").write_text("kept")
    (tmp_path / "disks/d-1.json").unlink()
    with pytest.raises(WrongState, match="no record of it; nothing was changed"):
        provider(tmp_path).ensure_disk("d-1", 10, "t", quiet)
    assert (content / "a").read_text() == "kept"


def test_a_record_that_cannot_be_read_is_kept_and_so_is_the_disk(old: Path, tmp_path: Path) -> None:
    for record in [*tmp_path.glob("disks/*.json"), *tmp_path.glob("disks/d-1/1*.json")]:
        record.write_text("{}")
    for act in (lambda: provider(tmp_path).ensure_disk("d-1", 10, "t", quiet), lambda: provider(tmp_path).delete_disk("d-1")):
        with pytest.raises(InternalError, match="record of data disk d-1 cannot be read"):
            act()
    assert (old / "a").read_text() == "before"


def test_of_two_who_make_one_at_once_the_one_that_hung_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, local = os.rename, provider(tmp_path)

    def others(*names: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        local.ensure_disk("d-1", 20, "t", quiet)
        (Path(disk(local).path) / "a").write_text("written since")
        rename(*names)

    monkeypatch.setattr(os, "rename", others)
    assert provider(tmp_path).ensure_disk("d-1", 10, "t", quiet).size_gb == 20
    assert (Path(disk(local).path) / "a").read_text() == "written since" and len(files(tmp_path)) == 2
