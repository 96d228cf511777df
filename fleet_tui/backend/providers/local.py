"""This machine as a place for instances: a machine is a process tree with an OS folder, a data disk is a folder that is kept.

    <state>/machines/<id>/      machine.json agent.json agent.pyz agent.lock bundle.tar spool/ ... data -> the disk
    <state>/disks/<id>.<version>-<hex>/, disks/.records/<id>/<version>.json     what is on a data disk, and its record
    <state>/snapshots/<id>/     snapshot.json, content/

The agent holds ``agent.lock`` as long as it lives; everything it starts inherits two marks in its environment, by which all
of a machine is found and nothing else.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from fleet_tui.agent import processes
from fleet_tui.agent.layout import Layout
from fleet_tui.agent.spool import Spool
from fleet_tui.backend.directories import Directories
from fleet_tui.backend.errors import Busy, InternalError, NotFound, WrongState
from fleet_tui.backend.providers import ANY_DISK, BootConfiguration, DiskInfo, DiskSpec, MachineInfo, MachineSpec, MachineState, SnapshotInfo
from fleet_tui.backend.providers.archive import place, place_agent
from fleet_tui.backend.providers.disks import Disks
from fleet_tui.backend.providers.ids import FORM, checked_id
from fleet_tui.backend.telemetry import AgentLine

log = logging.getLogger("fleetd.local")
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL")
"""What a machine sees of the daemon's environment; the rest may hold secrets."""
_BOOT_S = 20.0
"""How long the agent's process may take to hold its lock."""
_TERMINATE_GRACE_S = 10.0
_OUTPUT_LIMIT = 1024 * 1024


class LocalProvider:
    """The provider protocol with real processes of this user.

    Args:
        directories: where the site keeps its things.
        python: interpreter the agent runs on, 3.8 or later.
    """

    name = "local"
    is_elsewhere = False
    look_s = 1.0
    copies_over_time = True

    def __init__(self, directories: Directories, python: str = sys.executable) -> None:
        self._machines = directories.machines
        self._disks = Disks(directories.disks, directories.snapshots, self._exists)
        self._state = directories.state
        self._python = python

    # --- disks -------------------------------------------------------------------------------------------------

    def ensure_disk(self, disk_id: str, size_gb: int, token: str, say: Callable[[str], None], spec: DiskSpec = ANY_DISK) -> DiskInfo:
        return self._disks.ensure(checked_id(disk_id), size_gb, token, say)

    def grow_disk(self, disk_id: str, size_gb: int, say: Callable[[str], None]) -> DiskInfo:
        return self._disks.grow(checked_id(disk_id), size_gb, say)

    def find_disk(self, disk_id: str) -> DiskInfo | None:
        return self._disks.find(checked_id(disk_id))

    def delete_disk(self, disk_id: str) -> None:
        self._disks.delete(checked_id(disk_id))

    def attach_disk(self, machine_id: str, disk_id: str) -> None:
        folder = self._existing(machine_id)
        path = self._disks.attach(checked_id(disk_id), machine_id)
        link = folder / f".data.{uuid.uuid4().hex[:8]}"
        link.symlink_to(path)
        link.rename(folder / "data")

    def detach_disk(self, machine_id: str, disk_id: str) -> None:
        disk = self._disks.find(checked_id(disk_id))
        if disk is None or disk.attached_to != machine_id:
            return
        self._refuse_users(machine_id, Path(disk.path))
        link = self._folder(machine_id) / "data"
        if link.is_symlink():
            link.unlink()
        self._disks.detach(disk_id, machine_id)

    def snapshot_disk(self, disk_id: str, snapshot_id: str, say: Callable[[str], None]) -> SnapshotInfo:
        return self._disks.snapshot(checked_id(disk_id), checked_id(snapshot_id), say)

    def restore_disk(self, disk_id: str, snapshot_id: str, say: Callable[[str], None], token: str = "") -> None:
        self._disks.restore(checked_id(disk_id), checked_id(snapshot_id), say)

    def delete_snapshot(self, snapshot_id: str, region: str = "") -> None:
        self._disks.delete_snapshot(checked_id(snapshot_id))

    # --- machines ----------------------------------------------------------------------------------------------

    def create_machine(self, spec: MachineSpec, say: Callable[[str], None]) -> MachineInfo:
        folder = self._folder(spec.id)
        if not folder.exists():
            self._machines.mkdir(mode=0o700, parents=True, exist_ok=True)
            remove(*self._machines.glob(f".{spec.id}.new-*"))
            fresh = self._machines / f".{spec.id}.new-{uuid.uuid4().hex[:8]}"
            fresh.mkdir(mode=0o700)
            record = {"id": spec.id, "instance": spec.instance_id, "label": spec.label, "token": spec.token}
            place(fresh / "machine.json", json.dumps(record, indent=2).encode(), 0o600)
            try:
                fresh.rename(folder)
                say(f"made machine {spec.id} in {folder}")
            except OSError:
                if not folder.exists():
                    raise
                remove(fresh)
        if _read(folder / "machine.json").get("token") != spec.token:
            raise WrongState(
                f"machine {spec.id} exists already and was made by something else", hint="terminate it first", state="present"
            )
        return self.find_machine(spec.id)

    def find_machine(self, machine_id: str) -> MachineInfo:
        folder = self._folder(machine_id)
        if not folder.exists():
            return MachineInfo(machine_id, MachineState.ABSENT)
        pid = self._agent(folder)
        state = MachineState.ON if pid is not None else MachineState.BROKEN if self._running(machine_id) else MachineState.OFF
        return MachineInfo(
            machine_id, state, private_ip="127.0.0.1", host_name="localhost", pid=pid, path=str(folder), host="localhost"
        )

    def boot(self, machine_id: str, configuration: BootConfiguration, bundle: str, say: Callable[[str], None]) -> None:
        folder = self._existing(machine_id)
        if self._agent(folder) is not None:
            say(f"the agent of machine {machine_id} runs already")
            return
        if bundle:
            self._copy_bundle(Path(bundle), folder / "bundle.tar")
        place_agent(folder / "agent.pyz")
        orders = {"machine": configuration.machine, "token": configuration.token, "door": configuration.door, "ca_pem": configuration.ca_pem}
        place(folder / "agent.json", json.dumps(orders).encode(), 0o600)
        self._launch(machine_id, folder)
        say(f"booted machine {machine_id}, its agent is process {self._agent(folder)}")

    def shut_down(self, machine_id: str, grace_s: float, say: Callable[[str], None]) -> None:
        folder = self._folder(machine_id)

        def is_asked(process: processes.Process) -> bool:
            # A living agent stops its application in order; only without one is everybody asked.
            agent = self._agent(folder)
            return agent is None or process.pid == agent

        killed, left = processes.end(lambda: self._running(machine_id), grace_s, is_asked)
        for process in killed:
            say(f"{process} did not end within {grace_s:.0f} s and was killed")
        if left:
            raise Busy(
                f"{left[0]} of machine {machine_id} does not end, not even by SIGKILL", holders=[str(process) for process in left],
                hint="it hangs in the kernel, usually in a file system; look at that first",
            )

    def terminate(self, machine_id: str, say: Callable[[str], None]) -> None:
        folder = self._folder(machine_id)
        if folder.exists() or self._running(machine_id):
            self.shut_down(machine_id, _TERMINATE_GRACE_S, say)
        for disk_id in self._disks.attached_to(machine_id):
            self._disks.detach(disk_id, machine_id)
        if folder.exists():
            folder.rename(self._machines / f".{machine_id}.gone-{uuid.uuid4().hex[:8]}")
            say(f"removed machine {machine_id} and its OS disk")
        if self._machines.exists():
            remove(*self._machines.glob(f".{machine_id}.gone-*"), *self._machines.glob(f".{machine_id}.new-*"))

    def unsent_lines(self, machine_id: str) -> Iterator[tuple[str, Sequence[AgentLine]]]:
        folder = self._folder(machine_id)
        spools = Layout(folder).spools
        if self._agent(folder) is not None or not spools.is_dir():
            return
        for boot in sorted((entry for entry in spools.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime):
            try:
                yield from _spooled(boot)
            except (ValueError, TypeError, OSError) as junk:  # the application may write there; its end does not hang on it
                log.warning("the rest of %s is left where it is, for it cannot be read: %s", boot, junk)

    def machines(self) -> Sequence[MachineInfo]:
        if not self._machines.exists():
            return ()
        return tuple(self.find_machine(entry.name) for entry in sorted(self._machines.iterdir()) if FORM.match(entry.name))

    def disks(self) -> Sequence[DiskInfo]:
        return self._disks.all()

    def snapshots(self) -> Sequence[SnapshotInfo]:
        return self._disks.all_snapshots()

    def measure_host(self) -> Mapping[str, Any]:
        cores = psutil.cpu_count() or 1
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(_nearest(self._state)))
        return {
            "cores": cores, "memory_bytes": memory.total, "memory_used_bytes": memory.total - memory.available,
            "disk_bytes": disk.total, "disk_used_bytes": disk.used, "load": os.getloadavg()[0] / cores,
        }

    # --- inside ------------------------------------------------------------------------------------------------

    def _folder(self, machine_id: str) -> Path:
        return self._machines / checked_id(machine_id)

    def _exists(self, machine_id: str) -> bool:
        return self._folder(machine_id).exists()

    def _existing(self, machine_id: str) -> Path:
        folder = self._folder(machine_id)
        if not folder.exists():
            raise NotFound(f"there is no machine {machine_id}", hint="reprovision the instance: its data disk is kept")
        return folder

    def _running(self, machine_id: str) -> list[processes.Process]:
        """Everything of the machine that lives, its agent included."""
        folder = self._folder(machine_id)
        run = _read(Layout(folder).application_run)
        roots = {int(run["pid"]): int(run["started"])} if run.get("started") else None
        return processes.marked(processes.marks(machine_id, folder), roots)

    def _agent(self, folder: Path) -> int | None:
        """Process id of the machine's agent; ``None`` when nobody holds its lock."""
        try:
            handle = os.open(folder / "agent.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.pread(handle, 32, 0) or b"0")
        finally:
            os.close(handle)
        return None

    def _launch(self, machine_id: str, folder: Path) -> None:
        layout = Layout(folder)
        if not self._clear_lock(layout.lock):
            return
        if layout.output.exists() and layout.output.stat().st_size > _OUTPUT_LIMIT:
            layout.output.rename(layout.output.with_suffix(".out.1"))
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment.update(processes.marks(machine_id, folder), HOME=str(folder))
        command = [self._python, "-I", "-S", str(folder / "agent.pyz"), "--detach", str(folder)]
        output = os.open(layout.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            done = subprocess.run(
                command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, timeout=_BOOT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InternalError(f"the agent of machine {machine_id} cannot be started: {error}") from error
        finally:
            os.close(output)
        deadline = time.monotonic() + _BOOT_S
        while done.returncode == 0 and time.monotonic() < deadline:
            # Its number stays in the file when it was refused and ended before we looked.
            if layout.lock.read_bytes():
                return
            time.sleep(0.02)
        raise InternalError(
            f"the agent of machine {machine_id} did not start: {_last_line(layout.output)}", hint=f"look at {layout.output}"
        )

    @staticmethod
    def _clear_lock(path: Path) -> bool:
        """Remove an ended agent's number from the lock; false when a living one holds it."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def _refuse_users(self, machine_id: str, path: Path) -> None:
        """Raises WrongState while something of the machine uses the disk; a passing look at it does not count."""
        for _ in range(20):
            holders = processes.holders(path, self._running(machine_id))
            if not holders:
                return
            time.sleep(0.05)
        raise WrongState(
            f"the data disk is in use by {', '.join(map(str, holders))}", hint="stop the application, or force it",
            holders=[str(holder) for holder in holders],
        )

    @staticmethod
    def _copy_bundle(source: Path, target: Path) -> None:
        if not source.is_file():
            raise NotFound(f"the application bundle {source} is gone", hint="register the image again")
        fresh = target.with_name(f".{target.name}.new")
        try:
            shutil.copyfile(source, fresh)
            fresh.rename(target)
        finally:
            fresh.unlink(missing_ok=True)


def remove(*folders: Path) -> None:
    """Remove folders for good; links in them are not followed."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return lines[-1] if lines else "it wrote nothing"


def _spooled(boot: Path) -> Iterator[tuple[str, Sequence[AgentLine]]]:
    """The lines of one boot. Raises `ValueError`, `TypeError` or `OSError` for what no agent wrote."""
    if strange := [file.name for file in boot.glob("*.lines") if file.is_symlink() or not file.is_file()]:
        raise ValueError(f"{', '.join(strange)} is no file")
    spool, last = Spool(boot), 0
    try:
        while rows := spool.read():
            lines = tuple(AgentLine(**row) for row in rows)
            texts = [text for line in lines for text in (line.phase, line.level, line.text)]
            if not all(isinstance(text, str) for text in texts) or not all(isinstance(line.time, int | float) for line in lines):
                raise ValueError("a line of it has parts of another kind")
            if lines[-1].seq <= last:
                raise ValueError("its numbers do not grow")
            yield spool.name, lines
            last = lines[-1].seq
            spool.acknowledge(last)
    finally:
        spool.close()


def _nearest(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
