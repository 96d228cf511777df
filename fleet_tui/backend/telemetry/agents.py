"""Agents: their first word, what they report, and what they are told to do.

An agent is known by its machine's id and a secret: a token that works once, then a key. Only hashes are kept. A report is
one transaction: lines it has not had acknowledged, phases, health, disk use, results; sending it again changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets as random_secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import AuthFailed, InvalidInput, Problem
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry import Acknowledged, AgentLine, Command, Hello, Report, Welcome
from fleet_tui.backend.telemetry.lines import Lines, NewLine, once_of
from fleet_tui.backend.telemetry.rows import AgentRow, CommandRow
from fleet_tui.backend.text import clean

CLOCK_SKEW_S = 300.0
"""Most seconds an agent's clock may differ (spec 4.7, phase hello)."""
MOST_LINES = 2000
"""Lines taken from one report."""
_BOOTS_KEPT = 20
_LONGEST_SPOOLED = timedelta(days=30)
"""A machine may be off so long before the lines of its last boot are sent; then they are past retention anyway."""
_AT_ONCE = 2000
"""Agents touched in one statement."""
_LAST_MOMENT = 253_402_300_799.0
"""The year 9999, where calendars end."""
_MOST_BYTES = _LARGEST = 2**62
"""Larger numbers no database takes."""

Observer = Callable[[Session, AgentRow, "Change"], None]


@dataclass(frozen=True, slots=True)
class Change:
    """What a report changed, for the slice that owns the agent's object."""

    phases: bool = False
    health: bool = False
    disk: bool = False
    facts: bool = False
    hello: bool = False

    def __bool__(self) -> bool:
        return self.phases or self.health or self.disk or self.facts or self.hello


class Agents:
    """All agents of the site. ``observe`` runs in the report's own transaction."""

    def __init__(
        self, store: Store, lines: Lines, envelope: Envelope, *, clock: Clock | None = None,
        heartbeat_s: float = 30.0, disk_use_s: float = 60.0, poll_s: float = 1.0,
    ) -> None:
        self._store = store
        self._lines = lines
        self._envelope = envelope
        self._clock = clock or SystemClock()
        self._given = threading.Condition()
        self._poll_s = poll_s
        self.heartbeat_s = heartbeat_s
        self.disk_use_s = disk_use_s
        self.observe: Observer = lambda tx, row, change: None
        self.bells: list[Callable[[], None]] = []
        """Rung when a command was committed, for agents that live in this process."""

    # --- for operations ----------------------------------------------------------------------------------------

    def expect(
        self, tx: Session, machine: str, ref: str, document: Mapping[str, Any], operation_id: str | None, expected_by: str
    ) -> str:
        """Prepare for a boot of a machine and give its one-time token.

        ``expected_by`` is the client token of the step that boots it: asked again by the same step, the same token is
        given and nothing is forgotten, so a step repeated after a crash finds the agent it started. What an earlier life of
        the agent was told and did not do is taken back: the next one would do it.
        """
        row = tx.get(AgentRow, machine)
        context = f"agent-token:{machine}"
        if row is not None and row.expected_by == expected_by and row.token_sealed:
            return self._envelope.open(row.token_sealed, context).decode()
        self.withdraw(tx, machine)
        token = random_secrets.token_urlsafe(32)
        self._lines.masker.learn_of(context, token)
        if row is None:
            row = AgentRow(
                machine=machine, ref=ref, token_hash="", document="", acknowledged=0, earlier={}, standing=0, phases=[], facts={}, version=""
            )
            tx.add(row)
        row.expected_by = expected_by
        row.token_hash, row.token_sealed = _hash(token), self._envelope.seal(token.encode(), context)
        row.document = self._envelope.seal(json.dumps(document).encode(), f"agent:{machine}")
        row.operation_id = operation_id
        if row.boot is not None:
            row.earlier = _kept(row.earlier, row.boot, row.acknowledged)
        row.boot = row.key_hash = row.hello_at = None
        row.phases, row.facts = [], {}
        row.health, row.health_detail, row.acknowledged, row.standing = "", "", 0, 0
        return token

    def find(self, tx: Session, machine: str) -> AgentRow | None:
        return tx.get(AgentRow, machine)

    def belong(self, tx: Session, machine: str, operation_id: str | None) -> None:
        """From now on the agent's lines belong to this operation, or to none."""
        if (row := tx.get(AgentRow, machine)) is not None:
            row.operation_id = operation_id

    def command(self, tx: Session, machine: str, command_id: str, verb: str, arguments: Mapping[str, Any]) -> CommandRow:
        """Tell the agent to do something, once per id; gives how it stands. Arguments may hold secrets, so they are sealed."""
        row = tx.get(CommandRow, command_id)
        if row is None:
            sealed = {"sealed": self._envelope.seal(json.dumps(dict(arguments)).encode(), f"command:{command_id}")} if arguments else {}
            row = CommandRow(
                id=command_id, machine=machine, verb=verb, arguments=sealed, created_at=self._clock.now(),
                state="given", detail="",
            )
            tx.add(row)
        return row

    def answer(self, tx: Session, command_id: str) -> tuple[str, str] | None:
        """(state, detail) of a command; ``None`` when there is no such command."""
        row = tx.get(CommandRow, command_id)
        return None if row is None else (row.state, row.detail)

    def take_back(self, tx: Session, command_id: str) -> tuple[str, str] | None:
        """Nobody waits any more for a command: an agent that hears of it only now is not to do it. Gives how it stands, which is its answer where
        that came first, else ``withdrawn``; ``None`` when there is no such command."""
        row = tx.get(CommandRow, command_id, with_for_update=True)
        if row is None:
            return None
        if row.state == "given":
            row.state = "withdrawn"
        return row.state, row.detail

    def ring(self) -> None:
        """Wake waiting agents: a command was committed."""
        with self._given:
            self._given.notify_all()
        for bell in tuple(self.bells):
            bell()

    def withdraw(self, tx: Session, machine: str) -> None:
        """Commands that nobody did are taken back, all of a machine's: the agent they were for is no more."""
        for row in tx.scalars(select(CommandRow).where(CommandRow.machine == machine, CommandRow.state == "given")):
            row.state = "withdrawn"

    def forget(self, tx: Session, machine: str) -> None:
        """The machine is gone. Its lines stay."""
        self._lines.masker.learn_of(f"agent-token:{machine}")
        tx.execute(delete(CommandRow).where(CommandRow.machine == machine))
        tx.execute(delete(AgentRow).where(AgentRow.machine == machine))

    def salvage(self, machine: str, boot: str, lines: Sequence[AgentLine]) -> None:
        """Store lines that an ended agent left on its machine, except those it had sent already."""
        with self._store.write() as tx:
            row = tx.get(AgentRow, machine, with_for_update=True)
            if row is not None:
                self._store_lines(tx, row, boot, lines, 0)

    # --- for agents --------------------------------------------------------------------------------------------

    def hello(self, request: Hello) -> Welcome:
        """Exchange the one-time token for a key and the start-up document.

        Raises:
            AuthFailed: unknown machine, wrong token, or a token another boot has used.
            InvalidInput: the agent's clock is more than five minutes off, or a number is none that can be.
        """
        _check_numbers(pid=request.pid, most=2**31 - 1)
        skew = request.clock - self._clock.now().timestamp()
        with self._store.write() as tx:
            row = tx.get(AgentRow, request.machine, with_for_update=True)
            if row is None or not hmac.compare_digest(row.token_hash, _hash(request.token)):
                raise AuthFailed("the token is not the one this machine was given", hint="reprovision the instance: its data disk is kept")
            if row.boot is not None and row.boot != request.boot:
                raise AuthFailed("the token was used before, by another boot", hint="reprovision the instance: its data disk is kept")
            if abs(skew) > CLOCK_SKEW_S:
                raise InvalidInput(
                    f"the machine's clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}; 300 s are allowed",
                    hint="set its clock, then retry the start-up",
                )
            # The key follows from the token, so a repeated hello of the same boot gets the same one.
            key = hashlib.sha256(f"key:{request.token}:{request.boot}".encode()).hexdigest()
            self._lines.masker.learn_of(f"agent-token:{request.machine}", request.token, key)
            row.boot, row.key_hash, row.pid = request.boot, _hash(key), request.pid
            row.hello_at = row.hello_at or self._clock.now()
            row.last_seen = self._clock.now()
            row.version = clean(request.agent_version, 20)[:20]
            document = json.loads(self._envelope.open(row.document, f"agent:{request.machine}"))
            self.observe(tx, row, Change(hello=True))
        return Welcome(key=key, document=document, heartbeat_s=self.heartbeat_s, disk_use_s=self.disk_use_s)

    def expected(self, machine: str, token: str) -> Mapping[str, Any]:
        """Start-up document of a machine whose agent is still to come.

        Raises:
            AuthFailed: unknown machine, or not the token that it was given.
        """
        with self._store.read() as tx:
            row = tx.get(AgentRow, machine)
        if row is None or not hmac.compare_digest(row.token_hash, _hash(token)):
            raise AuthFailed("the token is not the one this machine was given", hint="reprovision the instance: its data disk is kept")
        document: Mapping[str, Any] = json.loads(self._envelope.open(row.document, f"agent:{machine}"))
        return document

    def authenticated(self, tx: Session, machine: str, key: str) -> tuple[AgentRow, Mapping[str, Any]]:
        """The agent that calls, and the document it was given.

        Raises:
            AuthFailed: the key is not this machine's.
        """
        row = tx.get(AgentRow, machine)
        if row is None or row.key_hash is None or not hmac.compare_digest(row.key_hash, _hash(key)):
            raise AuthFailed("the key is not this machine's", hint="the machine was replaced; its agent should end")
        document: Mapping[str, Any] = json.loads(self._envelope.open(row.document, f"agent:{machine}"))
        return row, document

    def report(self, request: Report) -> Acknowledged:
        """Store what an agent says; then, with ``wait_s``, hold the answer until there is a command for it.

        Raises:
            AuthFailed: the key is not this machine's.
            InvalidInput: a number is none that can be.
        """
        _check_numbers(standing=request.standing, dropped=request.dropped)
        acknowledged = self._store_report(request)
        deadline = self._clock.monotonic() + min(request.wait_s, 60.0)
        while True:
            commands = self._open_commands(request.machine)
            left = deadline - self._clock.monotonic()
            if commands or left <= 0:
                return Acknowledged(acknowledged, commands)
            with self._given:
                self._given.wait(min(left, self._poll_s))

    def touch(self, machines: Sequence[str]) -> None:
        """Many agents are heard of at once: heartbeats of a simulated fleet, which would flood the store one by one."""
        now = self._clock.now()
        for first in range(0, len(machines), _AT_ONCE):
            with self._store.write() as tx:
                tx.execute(
                    update(AgentRow).where(AgentRow.machine.in_(machines[first:first + _AT_ONCE])).values(last_seen=now),
                    execution_options={"synchronize_session": False},
                )

    def called(self) -> tuple[str, ...]:
        """Machines that have a command nobody has answered."""
        with self._store.read() as tx:
            return tuple(tx.scalars(select(CommandRow.machine).where(CommandRow.state == "given").distinct()))

    def _store_report(self, request: Report) -> int:
        with self._store.write() as tx:
            row = tx.get(AgentRow, request.machine, with_for_update=True)
            if row is None or row.key_hash is None or not hmac.compare_digest(row.key_hash, _hash(request.key)):
                raise AuthFailed("the key is not this machine's", hint="the machine was replaced; its agent should end")
            row.last_seen = self._clock.now()
            acknowledged = self._store_lines(tx, row, request.lines_of or request.boot, request.lines[:MOST_LINES], request.dropped)
            change = _take(row, request) if request.standing >= row.standing else Change()
            for result in request.results:
                command = tx.get(CommandRow, result.id)
                if command is not None and command.machine == row.machine and command.state == "given":
                    command.state = "done" if result.state == "done" else "failed"
                    command.detail = clean(result.detail, 1000)
                    command.data = _harmless(result.data) if result.data is not None else None
            self.observe(tx, row, change)
            return acknowledged

    def _store_lines(self, tx: Session, row: AgentRow, boot: str, lines: Sequence[AgentLine], dropped: int) -> int:
        """Add what is new of a boot's lines to the log; gives the number of its newest stored one."""
        now = self._clock.now()
        acknowledged = row.acknowledged if boot == row.boot else int(row.earlier.get(boot, 0))
        fresh = [line for line in lines if acknowledged < line.seq <= _LARGEST]
        if fresh or dropped:
            told = [NewLine(_time(line.time, now), line.phase, line.level, line.text) for line in fresh]
            # A report whose answer was lost comes again with the same lines; one without lines may well say the same twice.
            once = once_of(f"dropped:{row.machine}:{boot}:{lines[0].seq}:{dropped}") if dropped and lines else None
            if dropped and not self._lines.has_said(tx, once):
                told.insert(0, NewLine(now, "", "warn", f"{dropped} lines were dropped by the agent: its spool was full", once))
            if told:
                self._lines.add(tx, row.ref, "instance-agent", told, row.operation_id)
        if fresh:
            acknowledged = fresh[-1].seq
            if boot == row.boot:
                row.acknowledged = acknowledged
            else:
                row.earlier = _kept(row.earlier, boot, acknowledged)
        return acknowledged

    def _open_commands(self, machine: str) -> tuple[Command, ...]:
        with self._store.read() as tx:
            query = select(CommandRow).where(CommandRow.machine == machine, CommandRow.state == "given").order_by(CommandRow.created_at)
            return tuple(Command(row.id, row.verb, self._opened(row)) for row in tx.scalars(query))

    def _opened(self, row: CommandRow) -> Mapping[str, Any]:
        sealed = row.arguments.get("sealed")
        if not isinstance(sealed, str):  # none, or given by an earlier program
            return row.arguments
        arguments: Mapping[str, Any] = json.loads(self._envelope.open(sealed, f"command:{row.id}"))
        return arguments


def any_sealed(store: Store) -> str:
    """Something that was sealed for an agent, by which the site's master key is known; empty when nothing was yet."""
    with store.read() as tx:
        return tx.scalar(select(AgentRow.document).where(AgentRow.document.like("v1.%")).limit(1)) or ""


def _take(row: AgentRow, request: Report) -> Change:
    """Copy a report's standing into the row; says what differs from before."""
    phases = health = disk = facts = False
    row.standing = request.standing
    if request.phases:
        told = [
            {
                "name": clean(p.name, 60)[:60], "state": clean(p.state, 12)[:12], "started": _moment(p.started), "ended": _moment(p.ended),
                "error": clean(p.error, 1000),
            }
            for p in request.phases[:40]
        ]
        phases, row.phases = told != row.phases, told
    if request.health:
        said = (clean(request.health, 20)[:20], clean(request.health_detail, 500))
        health = said != (row.health, row.health_detail)
        row.health, row.health_detail = said
    if request.disk_used_bytes is not None:
        used = max(0, min(request.disk_used_bytes, _MOST_BYTES))
        disk, row.disk_used_bytes = used != row.disk_used_bytes, used
    if request.facts is not None:
        told_facts = _harmless(dict(list(request.facts.items())[:40]))
        facts, row.facts = told_facts != row.facts, told_facts
    return Change(phases, health, disk, facts)


def _check_numbers(*, most: int = _LARGEST, **numbers: int) -> None:
    for name, number in numbers.items():
        if not 0 <= number <= most:
            raise InvalidInput(f"{name} is no number that can be", problems=[Problem(name, f"from 0 to {most}")])


def _moment(unix: float | None) -> float | None:
    """A Unix time that can be told and subtracted; an agent may claim anything."""
    return unix if unix is not None and 0.0 <= unix <= _LAST_MOMENT else None


def _harmless(value: Any, depth: int = 4) -> Any:
    """What an agent sent as free JSON, such as any database takes and any terminal can show."""
    if isinstance(value, str):
        return clean(value, 500)
    if isinstance(value, int | float):
        return value if abs(value) <= _LARGEST else None  # also what is no number
    if isinstance(value, Mapping):
        return {clean(str(key), 60): _harmless(item, depth - 1) for key, item in list(value.items())[:100]} if depth else None
    if isinstance(value, list | tuple):
        return [_harmless(item, depth - 1) for item in value[:1000]] if depth else None
    return value


def _kept(earlier: Mapping[str, int], boot: str, acknowledged: int) -> dict[str, int]:
    """The newest few boots; lines of one that is older than all of them are long gone."""
    return dict([*((name, seq) for name, seq in earlier.items() if name != boot), (boot, acknowledged)][-_BOOTS_KEPT:])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _time(unix: float, now: datetime) -> datetime:
    """When the line was written over there; when it came, if that cannot be: an agent may claim anything, or have no clock."""
    try:
        told = datetime.fromtimestamp(unix, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return now
    if not now - _LONGEST_SPOOLED <= told <= now + timedelta(seconds=CLOCK_SKEW_S):
        return now
    return told.replace(microsecond=told.microsecond // 1000 * 1000)
