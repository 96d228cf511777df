"""A whole site for a journey: real daemons, real agents, real applications, all under one throw-away home, all gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

from fleet_tui.agent import processes
from fleet_tui.backend import directories
from fleet_tui.backend import instances as i
from fleet_tui.backend.api.client import Client
from fleet_tui.backend.api.sockets import answers
from fleet_tui.backend.errors import Busy, FleetError, TimedOut, Unreachable
from fleet_tui.backend.instances import profiles
from fleet_tui.backend.instances.bundle import pack
from fleet_tui.backend.operations import ListOperations, OperationRecord, OperationRequest, OperationState, ShowOperation, Submitted
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.telemetry import LogLine, ReadLines
from tests.waiting import until

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples/hello-app"
PARTS = ("application", "containers", "certificates")
AWAY_S = 30.0
"""How long a call is repeated while the daemon is away, because somebody killed it."""

T = TypeVar("T")


class Site:
    """One home, its database, and one or more daemons on it.

    Args:
        database: URL; SQLite in the home when empty.
        flags: given to every daemon.
    """

    def __init__(self, database: str = "", slots: Sequence[int] = (1,), flags: Sequence[str] = ()) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="fleet-site-"))
        self.places = directories.find({"FLEET_HOME": str(self.home)})
        self.database = database or sqlite_url(self.places.database)
        self.slots = tuple(slots)
        self._flags = flags
        self._ports = _claim_ports()
        self._programs: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: dict[int, Client] = {}
        self._frozen: set[int] = set()
        """Slots whose daemon answers nothing and need not be asked."""

    # --- daemons -----------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Of every program on this site."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEET", "PYTEST", "NO_COLOR"))}
        return {**kept, "FLEET_HOME": str(self.home), "FLEET_TEST_PORTS": self._ports.words, "PYTHONPATH": str(ROOT)}

    def start(self, *slots: int) -> None:
        """Begin daemons, all at once, and their lives after each kill; returns when their doors are open."""
        for slot in slots:
            self._begin(slot)
        for slot in slots:
            self.await_door(slot)

    def _begin(self, slot: int) -> None:
        control = self.control(slot)
        control.mkdir(parents=True, exist_ok=True)
        several = ["--slot", str(slot), "--database", self.database] if not self.database.startswith("sqlite") else []
        with (self.home / f"daemon-{slot}.out").open("ab") as output:
            self._programs[slot] = subprocess.Popen(
                [sys.executable, "-m", "tests.journeys.doomed_daemon", str(control), *several, *self._flags],
                cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )

    def await_door(self, slot: int = 1) -> None:
        until(lambda: self.alive(slot) and answers(self.socket(slot)), 60.0, f"daemon {slot} answers")

    def alive(self, slot: int = 1) -> bool:
        """Raises when the program ended that should keep it alive."""
        status = self._programs[slot].poll()
        assert status is None, f"daemon {slot} ended with {status}:\n{self.words(slot)}"
        return True

    def kill(self, slot: int = 1, *, stay_away: bool = False) -> None:
        """``kill -9``. The next life begins at once, unless it is to stay away until :meth:`let_live`."""
        if stay_away:
            (self.control(slot) / "hold").touch()
        self._programs[slot].send_signal(signal.SIGUSR1)

    def let_live(self, slot: int = 1) -> None:
        (self.control(slot) / "hold").unlink(missing_ok=True)

    def freeze_at(self, point: str) -> None:
        """The first daemon to reach that checkpoint stops there like one whose machine hangs."""
        (self.home / "frost").write_text(point)

    def frozen(self) -> int:
        """The slot that froze, once one has."""
        pid = until(lambda: (self.home / "frozen").exists() and int((self.home / "frozen").read_text()), 60.0, "a daemon freezes")
        until(lambda: (found := processes.find(pid)) is not None and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        slot = next(slot for slot in self.slots if self.pid(slot) == pid)
        self._frozen.add(slot)
        return slot

    def thaw(self, slot: int) -> None:
        (self.home / "frozen").unlink()
        os.kill(self.pid(slot), signal.SIGCONT)
        self._frozen.discard(slot)

    def pid(self, slot: int = 1) -> int:
        """Process id of the present life, from its lock."""
        return int((self.places.lock if slot == 1 else self.places.state / f"fleetd-{slot}.lock").read_text())

    def stop(self, slot: int = 1) -> None:
        """In order, as ``fleet daemon stop`` would."""
        program = self._programs.pop(slot)
        program.send_signal(signal.SIGTERM)
        try:
            program.wait(timeout=60)
        except subprocess.TimeoutExpired:
            program.kill()
            raise

    def control(self, slot: int = 1) -> Path:
        return self.home / f"control-{slot}"

    def socket(self, slot: int = 1) -> Path:
        return self.places.runtime / ("fleetd.sock" if slot == 1 else f"fleetd-{slot}.sock")

    def log(self) -> list[str]:
        """Lines of all daemons' logs."""
        return [line for file in sorted(self.places.logs.glob("fleetd*.log")) for line in file.read_text(errors="replace").splitlines()]

    def complaints(self) -> list[str]:
        """What daemons logged as errors, with what follows it: refused requests are none."""
        log = self.log()
        return ["\n".join(log[number:number + 40]) for number, line in enumerate(log) if " ERROR " in line]

    def words(self, slot: int = 1) -> str:
        """The end of a daemon's output and log, for the text of a failure."""
        log = self.places.daemon_log if slot == 1 else self.places.logs / f"fleetd-{slot}.log"
        files = (self.home / f"daemon-{slot}.out", log)
        return "\n".join(file.read_text(errors="replace")[-6000:] for file in files if file.exists())

    def close(self) -> None:
        """End everything of this home, whatever state it is in, and remove it."""
        for program in self._programs.values():
            program.kill()
        for program in self._programs.values():
            program.wait(timeout=20)
        for client in self._clients.values():
            client.close()
        try:
            until(self._end_machines, 20.0, "every process of the site's machines has ended")
        finally:
            shutil.rmtree(self.home, ignore_errors=True)
            self._ports.close()

    def _end_machines(self) -> bool:
        left = [process for group in self.processes().values() for process in group]
        for process in left:
            processes.send(process, signal.SIGKILL)
        return not left

    # --- calls -------------------------------------------------------------------------------------------------

    def client(self, slot: int = 1) -> Client:
        if slot not in self._clients:
            self._clients[slot] = Client(self.socket(slot), client="journey")
        return self._clients[slot]

    def call(self, request: Any) -> Any:
        """The reply of whichever daemon answers, asked again for a while when all are away. Requests with an id are not done twice."""
        return away(lambda: self._call_any(request))

    def _call_any(self, request: Any) -> Any:
        asked = [slot for slot in self.slots if slot not in self._frozen]
        for slot in asked:
            try:
                return self.client(slot).call(request)
            except (Unreachable, TimedOut):
                if slot == asked[-1]:
                    raise
        raise AssertionError("a site has at least one slot")

    def submit(self, request: OperationRequest) -> OperationRecord:
        submitted: Submitted = self.call(request if request.request_id else replace(request, request_id=uuid.uuid4().hex))
        assert submitted.operation is not None
        return submitted.operation

    def do(self, request: OperationRequest, timeout: float = 60.0) -> OperationRecord:
        """Submit and wait for success."""
        ended = self.ended(self.submit(request).id, timeout)
        assert ended.state is OperationState.SUCCEEDED, f"{ended}\n{self.story(ended.target)}"
        return ended

    def fails(self, request: OperationRequest, timeout: float = 60.0) -> OperationRecord:
        """Submit and wait for the failure."""
        ended = self.ended(self.submit(request).id, timeout)
        assert ended.state is OperationState.FAILED, f"{ended}\n{self.story(ended.target)}"
        return ended

    def ended(self, operation_id: str, timeout: float = 60.0) -> OperationRecord:
        def final() -> OperationRecord | None:
            record: OperationRecord = self.call(ShowOperation(operation_id))
            return record if record.state.is_final else None

        try:
            found = until(final, timeout, f"operation {operation_id} ends")
        except AssertionError as problem:
            record = self.call(ShowOperation(operation_id))
            raise AssertionError(f"{problem}\n{record}\n{self.story(record.target)}") from None
        assert found is not None
        return found

    def operations(self) -> tuple[OperationRecord, ...]:
        found: tuple[OperationRecord, ...] = self.call(ListOperations(limit=5000))
        return found

    def create(self, label: str, *, network: str = "local", template: str = "hello", **settings: Any) -> i.InstanceRecord:
        named = {name.replace("__", "."): value for name, value in settings.items()}
        record: i.InstanceRecord = self.call(
            i.CreateInstance(label=label, network=network, template=template, settings=named, request_id=uuid.uuid4().hex)
        )
        return record

    def show(self, label: str) -> i.InstanceRecord:
        record: i.InstanceRecord = self.call(i.ShowInstance(label))
        return record

    def template(self, label: str, *actions: i.SetupAction, application: str = "hello-app") -> None:
        self.call(profiles.PutTemplate(label=label, application=application, setup_actions=actions))

    def image(self, name: str, version: str = "1.0.0", **changes: str) -> None:
        """Register the example application under another name, with other lines in its manifest or other scripts."""
        with tempfile.TemporaryDirectory(dir=self.home) as scratch:
            folder = Path(scratch) / "app"
            shutil.copytree(HELLO, folder, ignore=shutil.ignore_patterns("__pycache__"))
            manifest = {"install": "sh install.sh", "upgrade": "sh upgrade.sh", "start": "exec sh start.sh", "stop": "sh stop.sh",
                        "health": "/healthz", **changes, "name": name, "version": version}
            (folder / "application.toml").write_text("".join(f"{key} = '''{value}'''\n" for key, value in manifest.items()))
            pack(folder, Path(scratch) / "bundle.tar")
            self.call(i.RegisterImage(str(Path(scratch) / "bundle.tar")))

    # --- what can be seen from outside -------------------------------------------------------------------------

    def lines(self, label: str, operation: str = "") -> list[LogLine]:
        """Every line of an instance, whose numbers must have no gap, or of an operation."""
        found: list[LogLine] = []
        while True:
            after = found[-1].id if operation and found else found[-1].seq if found else 0
            request = ReadLines(operation=operation, after=after, limit=5000) if operation else ReadLines(target=label, after=after, limit=5000)
            batch = self.call(request).lines
            found.extend(batch)
            if not batch:
                break
        if not operation:
            assert [line.seq for line in found] == list(range(1, len(found) + 1)), "a log has a gap"
        return found

    def texts(self, label: str, phase: str = "") -> list[str]:
        return [line.text for line in self.lines(label) if not phase or line.phase == phase]

    def story(self, label: str) -> str:
        """An instance's log and the daemons' words, for the text of a failure."""
        try:
            log = [f"{line.seq} {line.source} {line.phase} {line.level} {line.text}" for line in self.lines(label)[-60:]]
        except (FleetError, AssertionError) as problem:
            log = [str(problem)]
        return "\n".join([f"--- {label}", *log, *(f"--- daemon {slot}\n{self.words(slot)}" for slot in self.slots)])

    def processes(self) -> dict[str, list[processes.Process]]:
        """Every process that a machine of this site marked, by machine. Read from /proc by hand: the product's own search is on trial."""
        root = os.fsencode(f"{processes.FOLDER}={self.places.machines}/")
        found: dict[str, list[processes.Process]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (process := processes.find(int(entry.name))) is not None:
                for word in _environment(entry):
                    if word.startswith(root):
                        found.setdefault(os.fsdecode(word[len(root):]), []).append(process)
        return found

    def agent(self, label: str) -> int:
        """Process id of an instance's agent, from its lock."""
        record = self.show(label)
        assert record.machine is not None
        return int((self.places.machines / record.machine / "agent.lock").read_text())

    def machines(self) -> set[str]:
        """Everything in the folder of machines, unfinished and discarded ones too."""
        return {entry.name for entry in self.places.machines.iterdir()} if self.places.machines.exists() else set()

    def disk(self, label: str) -> Path:
        return Path(self.show(label).data_disk.path)

    def get(self, label: str, path: str = "/") -> str:
        """The application's page. Over HTTPS only the certificate on the data disk is believed."""
        record = self.show(label)
        assert record.url is not None
        context = None
        if record.url.startswith("https:"):
            context = ssl.create_default_context(cafile=self.disk(label) / "certificates/self-signed.crt")
        with urlopen(record.url.rstrip("/") + path, timeout=10, context=context) as answer:
            return str(answer.read().decode())

    def store(self) -> Store:
        return Store(self.database)

    def fleet(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return subprocess.run(self.command(*words), cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=90, check=False)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "fleet_tui", *words]


def away(call: Callable[[], T]) -> T:
    """What ``call`` returns, tried again while the daemon is away."""

    def answers_now() -> list[T]:
        try:
            return [call()]
        except (Unreachable, TimedOut, Busy):
            return []

    return until(answers_now, AWAY_S, "an answer of the daemon")[0]


def marked(disk: Path, word: str = "kept") -> dict[str, bytes]:
    """Leave a file in each part of a data disk."""
    for part in PARTS:
        (disk / part / "marker").write_bytes(f"{word} {part} {uuid.uuid4()}\n".encode() + bytes(range(256)))
    return markers(disk)


def markers(disk: Path) -> dict[str, bytes]:
    return {part: (disk / part / "marker").read_bytes() for part in PARTS}


def tasks(name: str, run: str, stage: str = "before_install", *, enabled: bool = True) -> i.SetupAction:
    """A setup action of one shell command."""
    return i.SetupAction("run_tasks", name, {"tasks": [{"name": name, "run": run}]}, stage, enabled)


@contextmanager
def site(database: str = "", slots: Sequence[int] = (1,), flags: Sequence[str] = ()) -> Iterator[Site]:
    """A running site."""
    found = Site(database, slots, flags)
    try:
        found.start(*slots)
        yield found
    finally:
        found.close()


class _Ports:
    """A hundred ports of our own: the last one is held as a sign for other sites on this machine."""

    def __init__(self, first: int, sign: socket.socket) -> None:
        self.words = f"{first}-{first + 98}"
        self._sign = sign

    def close(self) -> None:
        self._sign.close()


def _claim_ports() -> _Ports:
    for first in range(21000, 30000, 100):
        sign = socket.socket()
        try:
            sign.bind(("127.0.0.1", first + 99))
            sign.listen(1)
        except OSError:
            sign.close()
            continue
        return _Ports(first, sign)
    raise AssertionError("every block of ports is taken")


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
