"""A real site whose guests attack whoever looks at them: its own daemon, real agents, and two of them turned.

``fresh`` was never provisioned. ``noisy`` runs, and its setup action and application print every payload. ``broken`` failed in the same way. ``taken`` stands
still in the middle of its start-up: its agent was stopped, and somebody who stole its token reports in its place.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import update

from fleet_tui.backend import instances as i
from fleet_tui.backend import telemetry as t
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.identity import PutUser, Role
from fleet_tui.backend.identity.rows import UserRow
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow, NetworkRow, SnapshotRow, TemplateRow
from fleet_tui.backend.operations.rows import OperationRow, StepRow
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.telemetry.rows import AgentRow, LineRow, StreamRow
from tests.journeys.site import Site, site, tasks
from tests.terminal.hostile import MARK, PAYLOADS
from tests.waiting import until

LINES = {**PAYLOADS, "C1 string": f"{MARK}\x90+q544e\x9cafter", "combining": f"{MARK}e{chr(0x301) * 200}end"}
"""What guests print: also a device control string, and 200 combining marks on one letter."""
NASTY = " ".join(text for name, text in LINES.items() if name not in ("megabyte", "combining", "lone surrogate"))
"""Nearly all of it in one string that JSON can carry."""
SHORT = f"{MARK}\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e[/nope][@click=app.quit]\x1b[2J"
"""The worst of it in few characters."""
START = "cat '{file}'; exec '{python}' -m http.server $FLEET_PORT --bind 127.0.0.1"


class Impostor:
    """Stops an instance's agent and says whatever it likes in its place, with the token that one was given."""

    def __init__(self, site: Site, label: str) -> None:
        row = site.show(label)
        assert row.machine is not None
        pid = site.agent(label)
        os.kill(pid, signal.SIGSTOP)
        self._site, self._machine = site, row.machine
        with site.store().read() as tx:
            agent = tx.get(AgentRow, row.machine)
            assert agent is not None and agent.boot is not None
            sealed, self._boot, self._seq = agent.token_sealed, agent.boot, agent.acknowledged
        self._standing = 1 << 60
        token = Envelope.from_file(site.places.master_key).open(sealed, f"agent-token:{row.machine}").decode()
        hello = t.Hello(machine=row.machine, boot=self._boot, token=token, clock=time.time(), pid=pid, agent_version=SHORT)
        self._key = site.call(hello).key

    def report(self, lines: Sequence[str] = (), **fields: Any) -> t.Acknowledged:
        told = tuple(t.AgentLine(self._seq + n, time.time(), SHORT, "error" if n % 2 else "info", text) for n, text in enumerate(lines, 1))
        self._seq += len(told)
        self._standing += 1  # later than all the real one has said
        known = {"machine": self._machine, "boot": self._boot, "key": self._key, "standing": self._standing}
        reply: t.Acknowledged = self._site.call(t.Report(**known, lines=told, **fields))
        return reply

    def refuse(self, detail: str) -> None:
        """Answer the next command with a failure."""
        commands = until(lambda: self.report().commands, what="a command for the agent")
        self.report(results=tuple(t.CommandResult(command.id, "failed", detail, {detail: detail}) for command in commands))


def besiege(site: Site) -> Impostor:
    """Bring hostile text in by every way there is; gives the agent that stands in the middle of a start-up."""
    file = site.home / "payload"
    file.write_bytes(b"\n".join(text.encode("utf-8", "surrogateescape") for text in LINES.values()) + b"\n\xff\xfe\xc3\x28 last\n")
    site.image("loud", install="", upgrade="", stop="", health="", start=START.format(file=file, python=sys.executable))
    site.template("loud", tasks(f"task {SHORT}", f"cat '{file}'; printf 'to stderr \\033[2J\\n' >&2"), application="loud")
    site.template("stuck", tasks(f"action {SHORT}", "sleep 600"), application="loud")
    site.template("broken", tasks(SHORT, f"cat '{file}'; exit 3"), application="loud")
    for label, template in (("noisy", "loud"), ("taken", "stuck"), ("broken", "broken"), ("fresh", "loud")):
        site.create(label, template=template, notes=NASTY, fleet_tags=["evil"])
    site.call(PutUser("eve", Role.MONITOR, uid=61234, display_name=NASTY))
    began = [site.submit(i.ProvisionInstance(target=label)).id for label in ("noisy", "taken", "broken")]
    until(lambda: site.show("taken").agent.phase == "actions:before_install", 60.0)
    taken = Impostor(site, "taken")
    phases = tuple(
        t.PhaseReport(f"{n}{SHORT}", state, started, ended, NASTY)
        for n, state, started, ended in (
            (1, "done", 1.0, 2.0), (2, "done", -1e308, 1e308), (3, f"x{SHORT}", 1.0, 1e300), (4, "running", 3.0, None)
        )
    )
    taken.report([*(text.encode("utf-8", "replace").decode() for text in LINES.values()), NASTY], phases=phases)
    site.ended(began[0])
    site.ended(began[2])
    site.do(i.SnapshotDisk(target="noisy", reason=NASTY[:200]))
    noisy = Impostor(site, "noisy")
    facts = {SHORT: NASTY, "nested": [NASTY, {SHORT: SHORT}], "certificate_fingerprint": NASTY}
    noisy.report([NASTY], health="app-down", health_detail=NASTY, facts=facts)
    refused = site.submit(i.RestartApplication(target="noisy", confirmed=True))
    noisy.refuse(NASTY)
    site.ended(refused.id)
    return taken


def poison(site: Site) -> None:
    """Write payloads past the daemon's cleaning into every column that is shown, as if an older daemon had stored them."""
    said = {
        InstanceRow: {"failure": NASTY, "health_detail": NASTY, "failed_stage": SHORT, "image": SHORT, "disk_path": NASTY, "host": SHORT,
                      "host_name": SHORT, "public_ip": SHORT, "pending": [SHORT], "certificate_fingerprint": SHORT},
        OperationRow: {"title": SHORT, "user": SHORT, "error_message": NASTY, "error_hint": SHORT, "waiting_for": [NASTY],
                       "cancel_requested_by": SHORT, "result": {SHORT: NASTY}},
        StepRow: {"error_code": "internal", "error_message": NASTY, "error_hint": SHORT, "progress": NASTY[:200]},
        EventRow: {"text": NASTY, "user": SHORT},
        LineRow: {"text": NASTY, "phase": SHORT},
        StreamRow: {"label": SHORT},
        SnapshotRow: {"reason": NASTY, "instance_label": SHORT},
        HostRow: {"name": SHORT, "address": SHORT, "resource_state": SHORT, "connection_state": SHORT},
        TemplateRow: {
            "setup_actions": [
                {"kind": SHORT, "name": SHORT, "parameters": {SHORT: NASTY}},
                {"kind": "run_tasks", "name": SHORT, "parameters": {"tasks": [{"name": SHORT, "run": NASTY}]}},
            ], "machine_type": SHORT, "ssh_key_pair": SHORT, "runtime_profile_arn": SHORT, "api_key_id": SHORT,
        },
        NetworkRow: {"region": SHORT, "account": SHORT, "contact_mail": SHORT, "findings": [{"field": SHORT, "text": NASTY, "is_error": True}]},
        UserRow: {"display_name": NASTY},
    }
    with site.store().write() as tx:
        for table, values in said.items():
            tx.execute(update(table).values(**values))
        for label in ("broken", "noisy", "fresh"):
            tx.execute(update(InstanceRow).where(InstanceRow.label == label).values(label=f"{label} {SHORT}"))
        tx.execute(update(OperationRow).values(target=f"target {SHORT}"))
        # What settings name keeps its name, or nothing could be planned; what is shown beside an instance does not.
        tx.add(TemplateRow(id="t-evil", label=f"evil {SHORT}", application=SHORT, setup_actions=[], version=1))
        tx.add(NetworkRow(id="n-evil", label=f"evil {SHORT}", provider="local", https_strategy="none"))
        tx.add(ImageRow(id="m-evil", name=SHORT, version=SHORT, sha256="evil", size_bytes=1, path=SHORT, manifest={}, created_at=datetime.now(timezone.utc)))
        tx.flush()
        tx.execute(update(InstanceRow).values(template_id="t-evil", network_id="n-evil"))


@contextmanager
def besieged(*flags: str) -> Iterator[tuple[Site, Impostor]]:
    """A besieged site while the block runs, and its standing impostor."""
    with site("", (1,), ("--site", "siege", *flags)) as found:
        yield found, besiege(found)


NEEDY = ("snapshots.list", "vlans.list")
"""Lists of something that has to be named."""


def stored(site: Site) -> str:
    """Everything that the daemon ever says, as one string: what is in it could reach any program."""
    from fleet_tui.backend.api import METHODS, wire

    def asked(request: Any) -> str:
        return json.dumps(wire.encode(site.call(request)), ensure_ascii=False)

    no_need = [m.request for m in METHODS.values() if m.read and not m.stream and m.name.endswith(".list") and m.name not in NEEDY]
    single = [request(label) for label in ("noisy", "taken", "broken") for request in (i.ShowInstance, i.ShowSettings, i.ListSnapshots)]
    return "".join(asked(request) for request in [*(one() for one in no_need), *single, t.ReadLines(tail=5000)])
