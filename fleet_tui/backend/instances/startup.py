"""The second half of coming up: boot, the agent's sequence, health. Followed here, done by the agent (spec 4.7)."""

from __future__ import annotations

from fleet_tui.backend.errors import TimedOut, Unreachable, WrongState
from fleet_tui.backend.instances.document import image_of, start_up_document
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.images import bundle_file
from fleet_tui.backend.instances.serving import url_of
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.instances.steps import Lost, Result, changed, instance_of, known, machine_of, provider_of, what_runs
from fleet_tui.backend.operations.catalogue import StepContext
from fleet_tui.backend.providers import BootConfiguration
from fleet_tui.backend.telemetry.rows import AgentRow

LONGEST_STARTUP_S = 4 * 3600.0
"""Bound on a start-up as a whole; the agent's own limits per phase end it long before."""


def boot(ctx: StepContext) -> Result:
    """Start the machine's agent and wait for its first word."""
    drivers = ctx.use(Drivers)
    provider = provider_of(ctx)
    door = drivers.door_for(provider)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        machine = known(row.machine)
        # A plain start brings up what was there; changes that wait for a reprovision go on waiting.
        held = ctx.operation.kind == "instance.start" and row.applied is not None
        document = start_up_document(tx, row, drivers, held)
        token = drivers.agents.expect(tx, machine, f"instance:{row.id}", document, ctx.operation.id, ctx.token)
        bundle = str(bundle_file(image_of(tx, row, held), drivers.bundles))
        runs = {} if held else what_runs(tx, row)
        if runs and row.url:
            row.url = url_of(row, runs["settings"])
    ctx.progress("waiting for the agent's hello")
    if not _said_hello(ctx, machine):
        provider.boot(machine, BootConfiguration(machine, token, door.address, door.ca_pem), bundle, ctx.say)
    lost = Lost(drivers, provider, machine)

    def hello() -> bool:
        if _said_hello(ctx, machine):
            return True
        if lost():
            raise Unreachable("the agent ended before it said hello", hint="look at agent.out in the machine's folder, then retry the start-up")
        return False

    try:
        ctx.wait(hello, drivers.timeouts.hello_s)
    except TimedOut:
        raise TimedOut(
            f"the agent did not call within {drivers.timeouts.hello_s:g} s",
            hint="check that the machine can reach this daemon, then retry the start-up",
        ) from None
    return {"machine": machine, **runs}


def _said_hello(ctx: StepContext, machine: str) -> bool:
    with ctx.read() as tx:
        row = tx.get(AgentRow, machine)
        return row is not None and row.expected_by == ctx.token and row.hello_at is not None


def start_up(ctx: StepContext) -> Result:
    """Follow the agent through its phases; ends with the first that fails."""
    drivers = ctx.use(Drivers)
    provider = provider_of(ctx)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        machine = known(row.machine)
        if row.state != InstanceState.REPROVISIONING.value:
            row.state = InstanceState.STARTING_UP.value
            changed(tx, row)
    lost = Lost(drivers, provider, machine)
    shown = ""

    def through() -> bool:
        nonlocal shown
        with ctx.read() as tx:
            agent = tx.get(AgentRow, machine)
            phases = list(agent.phases) if agent is not None else []
        for number, phase in enumerate(phases, 1):
            if phase["state"] == "failed":
                raise PhaseFailed(phase["name"], phase["error"] or "the agent gave no reason")
            if phase["state"] == "running" and (words := f"phase {number}/10 {phase['name']}") != shown:
                ctx.progress(words)
                shown = words
        if any(p["name"] == "ready" and p["state"] == "done" for p in phases):
            return True
        if lost():
            now = next((p["name"] for p in phases if p["state"] == "running"), "hello")
            raise PhaseFailed(now, "the agent's process ended")
        return False

    ctx.wait(through, LONGEST_STARTUP_S)
    return None


class PhaseFailed(WrongState):
    """A phase of the start-up sequence failed; names it first, because that is what a person looks for."""

    def __init__(self, phase: str, reason: str) -> None:
        super().__init__(f"start-up failed at {phase}: {reason}", hint="mend the cause, then retry the start-up or reprovision", phase=phase)


def health_check(ctx: StepContext) -> Result:
    """Wait until the application answers, as its agent sees it."""
    drivers = ctx.use(Drivers)
    machine = known(machine_of(ctx))
    lost = Lost(drivers, provider_of(ctx), machine)
    detail = "no answer yet"

    def healthy() -> bool:
        nonlocal detail
        with ctx.read() as tx:
            agent = tx.get(AgentRow, machine)
        if agent is not None and agent.health == "ok":
            return True
        detail = agent.health_detail if agent is not None and agent.health_detail else detail
        if lost():
            raise Unreachable("the agent's process ended before the application was healthy", hint="retry the start-up")
        return False

    ctx.progress("waiting for the health check")
    try:
        ctx.wait(healthy, drivers.timeouts.health_s)
    except TimedOut:
        raise TimedOut(
            f"the application did not pass its health check within {drivers.timeouts.health_s:.0f} s: {detail}",
            hint=f"read its log, mend it, then {'restart the application' if ctx.operation.kind == 'instance.restart-app' else 'retry the start-up'}",
        ) from None
    ctx.say("the application answers")
    with ctx.read() as tx:
        return {"machine": machine, "url": instance_of(tx, ctx.operation.target_ref).url}
