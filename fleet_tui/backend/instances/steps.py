"""Bodies of the steps of instance operations. Each looks first, then acts, so it can be repeated after any crash.

What a step leaves for later ones is its result; what it leaves for people is on the instance's row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Busy, FleetError, NotFound, TimedOut, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.instances.document import assign_port, free_port, image_of
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.links import VALIDATE, coming_up, machine_made_by
from fleet_tui.backend.instances.network_fields import SHARED_MACHINES
from fleet_tui.backend.instances.prerequisites import check_domains, check_record, check_secrets, literal_address, look_for_a_way_in
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.serving import answers_http, url_of
from fleet_tui.backend.instances.specs import disk_spec, machine_spec
from fleet_tui.backend.instances.virtual_networks import find_network
from fleet_tui.backend.operations.catalogue import LEFT, OperationCancelled, StepContext
from fleet_tui.backend.operations.overview import outcome
from fleet_tui.backend.providers import MachineState, Provider

LOST_S = 5.0
"""At least so long after a machine was seen without its agent it is looked at once more before it is given up: its last words may be on the way."""

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


def provider_of(ctx: StepContext) -> Provider:
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        return ctx.use(Drivers).providers.named(find_network(tx, row.settings["virtual_network"]).provider)


def machine_of(ctx: StepContext) -> str | None:
    with ctx.read() as tx:
        return instance_of(tx, ctx.operation.target_ref).machine


# --- stage 1: resources --------------------------------------------------------------------------------------------


def validate(ctx: StepContext) -> Result:
    """Everything that can be known to be wrong before anything is made."""
    drivers = ctx.use(Drivers)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        check_record(tx, row, drivers)
        fresh = {**what_runs(tx, row), "new_disk": not row.disk_made}
        port = assign_port(tx, row)
        network = find_network(tx, row.settings["virtual_network"])
        if not answers_http(network.https_strategy, network.http_mode) or network.provider not in SHARED_MACHINES:
            row.http_port = None
        elif row.http_port is None:
            row.http_port = free_port(tx)
        size = row.settings["data_disk.size_gb"]
        disk_id, provider = row.disk_id, drivers.providers.named(network.provider)
    check_secrets(ctx)
    check_domains(ctx)
    look_for_a_way_in(ctx)
    if fresh["new_disk"] and provider.find_disk(disk_id) is not None:
        fresh["new_disk"] = False
        ctx.say(f"there is a data disk {disk_id} that {ctx.operation.target} never made by its record: it is used as it is, and kept", "warn")
    disk = f"data disk {size} GiB{' (new)' if fresh['new_disk'] else ''}"
    ctx.say(f"{fresh['image']} on {network.label} ({network.https_strategy}), port {port}, {disk}")
    return fresh


def what_runs(tx: Session, row: InstanceRow) -> dict[str, Any]:
    """Settings and image that a machine made or booted now comes up with; kept as the instance's applied ones."""
    image = image_of(tx, row)
    return {"settings": coming_up(tx, row), "image": f"{image.name} {image.version}"}


def ensure_disk(ctx: StepContext) -> Result:
    """Make the data disk, or check that the kept one is there and free."""
    provider = provider_of(ctx)
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        disk_id, size, kept, spec = row.disk_id, row.settings["data_disk.size_gb"], row.disk_made, disk_spec(tx, row)
    found = provider.find_disk(disk_id)
    if kept and found is None:
        raise NotFound(f"the data disk {disk_id} is gone from {provider.name}", hint="restore it from a backup; nothing was made in its place")
    if found is not None and found.attached_to not in (None, _machine_id(ctx)):
        hint = how_to_free(ctx, provider, str(found.attached_to))
        raise Busy(f"the data disk {disk_id} is attached to {found.attached_to}", hint=hint, holders=[found.attached_to])
    disk = provider.ensure_disk(disk_id, size, ctx.token, ctx.say, spec)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.disk_made, row.disk_path = True, disk.path
    return {"path": disk.path}


def how_to_free(ctx: StepContext, provider: Provider, holder: str) -> str:
    """What lets a data disk go that something else has."""
    with ctx.read() as tx:
        owner = tx.scalar(select(InstanceRow.label).where(InstanceRow.machine == holder))
    if owner is not None:
        return f"it is the machine of {owner}: deprovision that first"
    if provider.find_machine(holder).state is MachineState.ABSENT:
        return f"{holder} is no machine of ours: detach the disk there"
    return "no instance has that machine: `fleet orphan remove` ends it, and lets the disk go"


def remove_new_disk(ctx: StepContext) -> Result:
    """Undo: a disk this run made and nothing ever mounted. A disk that existed before is never touched."""
    is_kept = machine_of(ctx) is not None  # for inspection, with its disk
    if not ctx.results[VALIDATE]["new_disk"] or _has_booted(ctx) or is_kept:
        return LEFT
    provider = provider_of(ctx)
    with ctx.read() as tx:
        disk_id = instance_of(tx, ctx.operation.target_ref).disk_id
    provider.delete_disk(disk_id)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.disk_made, row.disk_path, row.disk_used_bytes, row.disk_days = False, "", None, []
    ctx.say("removed the data disk this run had made")
    return None


def _machine_id(ctx: StepContext) -> str:
    return machine_made_by(ctx.operation.id)


def create_machine(ctx: StepContext) -> Result:
    """The machine, with an empty OS disk. Its id follows from the operation, and is on record before it exists."""
    provider = provider_of(ctx)
    machine = _machine_id(ctx)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.machine = machine
        spec = machine_spec(tx, row, machine, ctx.token)
    provider.create_machine(spec, ctx.say)
    return {"machine": machine}


def remove_machine(ctx: StepContext) -> Result:
    """Undo: the machine this run made, whatever became of it."""
    provider = provider_of(ctx)
    machine = _machine_id(ctx)
    with ctx.read() as tx:
        disk_id = instance_of(tx, ctx.operation.target_ref).disk_id
    if provider.find_machine(machine).state is not MachineState.ABSENT:
        provider.shut_down(machine, 5.0, ctx.say)
        _salvage(ctx, provider, machine)
        provider.detach_disk(machine, disk_id)
    # Also when there is no machine: what was made for it before it, and what an undo that was killed left, goes too.
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
    return LEFT


STARTUP_STEPS = ("boot", "start-up", "health-check")
"""Steps of :mod:`startup`, which every operation has under these names."""


def _has_booted(ctx: StepContext) -> bool:
    return "boot" in ctx.results


def attach_disk(ctx: StepContext) -> Result:
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        machine, disk_id = row.machine, row.disk_id
    provider_of(ctx).attach_disk(known(machine), disk_id)
    ctx.say(f"data disk {disk_id} attached")
    return None


def assign_address(ctx: StepContext) -> Result:
    """Addresses as the provider gave them, and the URL that follows."""
    provider = provider_of(ctx)
    machine = known(machine_of(ctx))
    info = provider.find_machine(machine)
    with ctx.write() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        row.private_ip, row.host_name = info.private_ip or None, info.host_name or None
        settings = coming_up(tx, row)
        row.public_ip = info.public_ip or literal_address(str(settings.get("public_ip_allocation") or "")) or None
        row.host = info.host or info.host_name or provider.name
        row.url = url_of(row, settings)
        changed(tx, row)
        url = row.url
    ctx.say(f"address {info.private_ip}, URL {url}")
    check_domains(ctx)
    return {"url": url}


class Lost:
    """Asks the provider, now and then, whether a machine has been without its agent for too long. One look may be wrong: a later one must agree.

    A provider that does not answer tells nothing about the machine, whose agent may well report meanwhile.
    """

    def __init__(self, drivers: Drivers, provider: Provider, machine: str) -> None:
        self._clock, self._provider, self._machine = drivers.clock, provider, machine
        self._asked = self._clock.monotonic()
        self._since: float | None = None

    def __call__(self) -> bool:
        now = self._clock.monotonic()
        if now - self._asked < self._provider.look_s:
            return False
        self._asked = now
        try:
            is_on = self._provider.find_machine(self._machine).state is MachineState.ON
        except FleetError:
            return False
        if is_on:
            self._since = None
        elif self._since is None:
            self._since = now
        return self._since is not None and now - self._since >= LOST_S


# --- towards the end -----------------------------------------------------------------------------------------------


def tell_agent(
    verb: str, timeout: Callable[[Drivers], float], arguments: Callable[[Session, InstanceRow, Drivers], Mapping[str, Any]] | None = None,
    *, needed: bool = True, lasting: bool = False,
) -> Callable[[StepContext], Result]:
    """A body that has the agent do something and waits for its answer. Not ``needed``: nothing happens without an agent.

    What nobody waits for any more is taken back, or the agent would do it whenever it hears of it. ``lasting`` is what should be done even then.
    """

    def body(ctx: StepContext) -> Result:
        drivers = ctx.use(Drivers)
        machine = machine_of(ctx)
        provider = provider_of(ctx)
        command = f"{ctx.token}:{verb}"  # an undo has the token of its step, and another verb
        with ctx.read() as tx:
            told = drivers.agents.answer(tx, command)
        # An answer from before a crash stands, though the agent ended after it.
        is_answered = told is not None and told[0] != "given"
        if machine is None or not (is_answered or provider.find_machine(machine).state is MachineState.ON):
            if told is not None:
                _take_back(ctx, command)
            if needed:
                hint = "stop and start it where that is possible, else reprovision it: the data disk is kept"
                raise Unreachable(f"no agent runs on {ctx.operation.target}", hint=hint)
            ctx.say("no agent to ask; going on without", "warn")
            return None
        with ctx.write() as tx:
            drivers.agents.belong(tx, machine, ctx.operation.id)
            extra = arguments(tx, instance_of(tx, ctx.operation.target_ref), drivers) if arguments else {}
            drivers.agents.command(tx, machine, command, verb, extra)
        drivers.agents.ring()
        lost = Lost(drivers, provider, machine)

        def answered() -> tuple[str, str] | None:
            with ctx.read() as tx:
                row = drivers.agents.answer(tx, command)
            if row is not None and row[0] != "given":
                return row
            if lost():
                return ("gone", "the agent's process ended")
            return None

        try:
            state, detail = ctx.wait(answered, timeout(drivers)) or ("gone", "")
        except TimedOut:
            state, detail = "late", ""
        except OperationCancelled:
            if not lasting:
                _take_back(ctx, command)
            raise
        if state in ("gone", "late") and not lasting:
            state, detail = _take_back(ctx, command) or (state, detail)
        if state in ("late", "withdrawn"):
            if needed:
                raise TimedOut(f"the agent did not finish {verb} within {timeout(drivers):.0f} s", hint="look at its log")
            ctx.say(f"the agent did not finish {verb} in time; going on without", "warn")
        elif state == "failed" or (state == "gone" and needed):
            if needed:
                raise WrongState(f"{verb} failed: {detail or 'the agent gave no reason'}", hint="look at the instance's log")
            ctx.say(f"{verb}: {detail}", "warn")
        return None

    return body


def _take_back(ctx: StepContext, command: str) -> tuple[str, str] | None:
    """The answer to a command that nobody waits for any more, where it came at the last moment; ``None`` once no agent will be given it."""
    with ctx.write() as tx:
        told = ctx.use(Drivers).agents.take_back(tx, command)
    return told if told is not None and told[0] != "withdrawn" else None


def power_off(ctx: StepContext) -> Result:
    """Everything of the machine stopped; its OS disk stays."""
    machine = machine_of(ctx)
    if machine is not None:
        provider_of(ctx).shut_down(machine, 10.0, ctx.say)
        ctx.say("machine off")
    return None


def detach_disk(ctx: StepContext) -> Result:
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        machine, disk_id = row.machine, row.disk_id
    if machine is not None:
        provider_of(ctx).detach_disk(machine, disk_id)
        ctx.say(f"data disk {disk_id} detached and kept")
    return None


def terminate_machine(ctx: StepContext) -> Result:
    machine = machine_of(ctx)
    provider = provider_of(ctx)
    if machine is not None:
        _salvage(ctx, provider, machine)
        provider.terminate(machine, ctx.say)
        _forget_machine(ctx, machine)
        ctx.say("machine terminated, its OS disk thrown away")
    return None


def _salvage(ctx: StepContext, provider: Provider, machine: str) -> None:
    """Take over what the machine's agents could not send, before it is thrown away with the OS disk."""
    for boot_id, lines in provider.unsent_lines(machine):
        ctx.use(Drivers).agents.salvage(machine, boot_id, lines)


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


def known(machine: str | None) -> str:
    if machine is None:
        raise WrongState("the instance has no machine", hint="provision it")
    return machine
