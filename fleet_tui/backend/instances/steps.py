"""Bodies of the steps of instance operations. Each looks first, then acts, so it can be repeated after any crash.

What a step leaves for later ones is its result; what it leaves for people is on the instance's row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, NotFound, TimedOut, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances.document import assign_port, image_of, start_up_document
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.registers import find_network, find_template
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.settings import TEMPLATE_VERSION, check_image
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations.catalogue import StepContext
from fleet_tui.backend.operations.overview import outcome
from fleet_tui.backend.providers import BootConfiguration, MachineSpec, MachineState, Provider
from fleet_tui.backend.telemetry.rows import AgentRow

LONGEST_STARTUP_S = 4 * 3600.0
"""Bound on a start-up as a whole; the agent's own limits per phase end it long before."""
LOST_S = 5.0
"""How long a machine may be seen without its agent before the start-up is given up: its last words may be on the way."""

Result = Mapping[str, Any] | None
Undo = Callable[[StepContext], Result]


def instance_of(tx: Session, ref: str) -> InstanceRow:
    """The row an operation works on."""
    row = tx.get(InstanceRow, ref.removeprefix("instance:"))
    if row is None:
        raise NotFound("the instance is gone", hint="nothing is left to do")
    return row


def changed(tx: Session, row: InstanceRow, text: str = "", level: str = "info", operation_id: str | None = None) -> None:
    append(tx, type="instance.changed", ref=f"instance:{row.id}", text=text, level=level, operation_id=operation_id)


def _provider(ctx: StepContext) -> Provider:
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        return ctx.use(Drivers).providers.named(find_network(tx, row.settings["virtual_network"]).provider)


def _machine(ctx: StepContext) -> str | None:
    with ctx.read() as tx:
        return instance_of(tx, ctx.operation.target_ref).machine


# --- stage 1: resources --------------------------------------------------------------------------------------------


def validate(ctx: StepContext) -> Result:
    """Everything that can be known to be wrong before anything is made."""
    drivers = ctx.use(Drivers)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        check_image(tx, row, row.image if row.applied is not None else "")
        image = image_of(tx, row)
        port = assign_port(tx, row)
        network = find_network(tx, row.settings["virtual_network"])
        drivers.providers.named(network.provider)
        first = not row.disk_made
        template = find_template(tx, row.settings["template"])
        fresh = {"settings": {**row.settings, TEMPLATE_VERSION: template.version}, "image": f"{image.name} {image.version}", "bundle": image.path, "new_disk": first}
        size = row.settings["data_disk.size_gb"]
    ctx.say(f"{fresh['image']} on {network.label} ({network.https_strategy}), port {port}, data disk {size} GiB{' (new)' if first else ''}")
    return fresh


def ensure_disk(ctx: StepContext) -> Result:
    """Make the data disk, or check that the kept one is there and free."""
    provider = _provider(ctx)
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        disk_id, size, kept = row.disk_id, row.settings["data_disk.size_gb"], row.disk_made
    found = provider.find_disk(disk_id)
    if kept and found is None:
        raise NotFound(f"the data disk {disk_id} is gone from {provider.name}", hint="restore it from a backup; nothing was made in its place")
    if found is not None and found.attached_to not in (None, _machine_id(ctx)):
        raise Busy(f"the data disk {disk_id} is attached to {found.attached_to}", hint="deprovision that machine first", holders=[found.attached_to])
    disk = provider.ensure_disk(disk_id, size, ctx.token, ctx.say)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.disk_made, row.disk_path = True, disk.path
    return {"path": disk.path}


def remove_new_disk(ctx: StepContext) -> Result:
    """Undo: a disk this run made and nothing ever mounted. A disk that existed before is never touched."""
    if not ctx.results["validate"]["new_disk"] or _has_booted(ctx):
        return None
    provider = _provider(ctx)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.disk_made, row.disk_path, row.disk_used_bytes = False, "", None
        disk_id = row.disk_id
    provider.delete_disk(disk_id)
    ctx.say("removed the data disk this run had made")
    return None


def _machine_id(ctx: StepContext) -> str:
    return f"vm-{ctx.operation.id.removeprefix('o-')}"


def create_machine(ctx: StepContext) -> Result:
    """The machine, with an empty OS disk. Its id follows from the operation, and is on record before it exists."""
    provider = _provider(ctx)
    machine = _machine_id(ctx)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.machine = machine
        spec = MachineSpec(id=machine, instance_id=row.id, label=row.label, token=ctx.token)
    provider.create_machine(spec, ctx.say)
    return {"machine": machine}


def remove_machine(ctx: StepContext) -> Result:
    """Undo: the machine this run made, whatever became of it."""
    provider = _provider(ctx)
    machine = _machine_id(ctx)
    with ctx.read() as tx:
        disk_id = instance_of(tx, ctx.operation.target_ref).disk_id
    if provider.find_machine(machine).state is not MachineState.ABSENT:
        provider.shut_down(machine, 5.0, ctx.say)
        provider.detach_disk(machine, disk_id)
        provider.terminate(machine, ctx.say)
    _forget_machine(ctx, machine)
    ctx.say("removed the machine this run had made")
    return None


def remove_machine_unless_started(ctx: StepContext) -> Result:
    """Undo of a provision: after boot the machine is kept for inspection, unless a person cancelled."""
    with ctx.read() as tx:
        how = outcome(tx, ctx.operation.id)
    if how.cancelled or how.failed_step not in STARTUP_STEPS:
        return remove_machine(ctx)
    ctx.say("the machine is kept for inspection: retry its start-up, or deprovision it", "warn")
    return None


STARTUP_STEPS = ("boot", "start-up", "health-check")


def _has_booted(ctx: StepContext) -> bool:
    return "boot" in ctx.results


def attach_disk(ctx: StepContext) -> Result:
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        machine, disk_id = row.machine, row.disk_id
    _provider(ctx).attach_disk(_known(machine), disk_id)
    ctx.say(f"data disk {disk_id} attached")
    return None


def assign_address(ctx: StepContext) -> Result:
    """Addresses as the provider gave them, and the URL that follows."""
    provider = _provider(ctx)
    machine = _known(_machine(ctx))
    info = provider.find_machine(machine)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.private_ip, row.public_ip, row.host_name = info.private_ip or None, info.public_ip or None, info.host_name or None
        row.host = info.host_name or provider.name
        scheme = "http" if find_network(tx, row.settings["virtual_network"]).https_strategy == "none" else "https"
        row.url = f"{scheme}://{info.public_ip or info.private_ip}:{row.port}/"
        changed(tx, row)
        url = row.url
    ctx.say(f"address {info.private_ip}, URL {url}")
    return {"url": url}


# --- stage 2: the agent's sequence ---------------------------------------------------------------------------------


def boot(ctx: StepContext) -> Result:
    """Start the machine's agent and wait for its first word."""
    drivers = ctx.use(Drivers)
    provider = _provider(ctx)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        machine = _known(row.machine)
        document = start_up_document(tx, row, drivers.timeouts)
        token = drivers.agents.expect(tx, machine, f"instance:{row.id}", document, ctx.operation.id, ctx.token)
        bundle = image_of(tx, row).path
    ctx.progress("waiting for the agent's hello")
    if not _said_hello(ctx, machine):
        provider.boot(machine, BootConfiguration(machine=machine, token=token, door=drivers.door), bundle, ctx.say)
    lost = _Lost(drivers, provider, machine)

    def hello() -> bool:
        if _said_hello(ctx, machine):
            return True
        if lost():
            raise Unreachable("the agent ended before it said hello", hint="look at agent.out in the machine's folder, then retry the start-up")
        return False

    try:
        ctx.wait(hello, drivers.timeouts.hello_s)
    except TimedOut:
        raise TimedOut(f"the agent did not call within {drivers.timeouts.hello_s:.0f} s", hint="check that the machine can reach this daemon, then retry the start-up") from None
    return {"machine": machine}


def _said_hello(ctx: StepContext, machine: str) -> bool:
    with ctx.read() as tx:
        row = tx.get(AgentRow, machine)
        return row is not None and row.expected_by == ctx.token and row.hello_at is not None


class _Lost:
    """Asks the provider, at most once a second, whether a machine has been without its agent for too long."""

    def __init__(self, drivers: Drivers, provider: Provider, machine: str) -> None:
        self._clock, self._provider, self._machine = drivers.clock, provider, machine
        self._asked = self._clock.monotonic()
        self._since: float | None = None

    def __call__(self) -> bool:
        now = self._clock.monotonic()
        if now - self._asked >= 1.0:
            self._asked = now
            if self._provider.find_machine(self._machine).state is MachineState.ON:
                self._since = None
            elif self._since is None:
                self._since = now
        return self._since is not None and now - self._since > LOST_S


def start_up(ctx: StepContext) -> Result:
    """Follow the agent through its phases; ends with the first that fails."""
    drivers = ctx.use(Drivers)
    provider = _provider(ctx)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        machine = _known(row.machine)
        if row.state != InstanceState.REPROVISIONING.value:
            row.state = InstanceState.STARTING_UP.value
            changed(tx, row)
    lost = _Lost(drivers, provider, machine)
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
    machine = _known(_machine(ctx))
    lost = _Lost(drivers, _provider(ctx), machine)
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
            hint="read its log, mend it, then retry the start-up",
        ) from None
    ctx.say("the application answers")
    return None


# --- towards the end -----------------------------------------------------------------------------------------------


def tell_agent(
    verb: str, timeout: Callable[[Drivers], float], arguments: Callable[[Session, InstanceRow], Mapping[str, Any]] | None = None,
    *, needed: bool = True,
) -> Callable[[StepContext], Result]:
    """A body that has the agent do something and waits for its answer. Not ``needed``: nothing happens without an agent."""

    def body(ctx: StepContext) -> Result:
        drivers = ctx.use(Drivers)
        machine = _machine(ctx)
        provider = _provider(ctx)
        if machine is None or provider.find_machine(machine).state is not MachineState.ON:
            if needed:
                raise Unreachable(f"no agent runs on {ctx.operation.target}", hint="retry the start-up, or reprovision")
            ctx.say("no agent to ask; going on without", "warn")
            return None
        with ctx.write() as tx:
            drivers.agents.belong(tx, machine, ctx.operation.id)
            extra = arguments(tx, instance_of(tx, ctx.operation.target_ref)) if arguments else {}
            drivers.agents.command(tx, machine, ctx.token, verb, extra)
        drivers.agents.ring()
        lost = _Lost(drivers, provider, machine)

        def answered() -> tuple[str, str] | None:
            with ctx.read() as tx:
                row = drivers.agents.answer(tx, ctx.token)
            if row is not None and row[0] != "given":
                return row
            if lost():
                return ("gone", "the agent's process ended")
            return None

        try:
            state, detail = ctx.wait(answered, timeout(drivers)) or ("gone", "")
        except TimedOut:
            if needed:
                raise TimedOut(f"the agent did not finish {verb} within {timeout(drivers):.0f} s", hint="look at its log") from None
            ctx.say(f"the agent did not finish {verb} in time; going on without", "warn")
            return None
        if state == "failed" or (state == "gone" and needed):
            if needed:
                raise WrongState(f"{verb} failed: {detail or 'the agent gave no reason'}", hint="look at the instance's log")
            ctx.say(f"{verb}: {detail}", "warn")
        return None

    return body


def power_off(ctx: StepContext) -> Result:
    """Everything of the machine stopped; its OS disk stays."""
    machine = _machine(ctx)
    if machine is not None:
        _provider(ctx).shut_down(machine, 10.0, ctx.say)
        ctx.say("machine off")
    return None


def detach_disk(ctx: StepContext) -> Result:
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        machine, disk_id = row.machine, row.disk_id
    if machine is not None:
        _provider(ctx).detach_disk(machine, disk_id)
        ctx.say(f"data disk {disk_id} detached and kept")
    return None


def terminate_machine(ctx: StepContext) -> Result:
    machine = _machine(ctx)
    if machine is not None:
        _provider(ctx).terminate(machine, ctx.say)
        _forget_machine(ctx, machine)
        ctx.say("machine terminated, its OS disk thrown away")
    return None


def _forget_machine(ctx: StepContext, machine: str) -> None:
    drivers = ctx.use(Drivers)
    with ctx.write() as tx:
        drivers.agents.forget(tx, machine)
        row = instance_of(tx, ctx.operation.target_ref)
        if row.machine == machine:
            row.machine = row.host = row.health = None
            row.health_detail = ""
            changed(tx, row)


def release_address(ctx: StepContext) -> Result:
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.private_ip = row.public_ip = row.host_name = row.url = None
    return None


def note_storage(ctx: StepContext) -> Result:
    """What goes on costing room (DAT-5)."""
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        size, used = row.settings["data_disk.size_gb"], row.disk_used_bytes
    ctx.say(f"data disk of {size} GiB kept" + (f", {used / 1024**2:.0f} MiB used" if used is not None else ""))
    return None


def _known(machine: str | None) -> str:
    if machine is None:
        raise WrongState("the instance has no machine", hint="provision it")
    return machine
