"""Adding a host (spec 7.5): from a fingerprint that a person accepted to an enabled host that answers.

Its record is there from the request on, in state ``Creating``; a failure at any step makes it ``Error``, with its log, to be retried
or discarded. The steps are shared by adding, retrying and re-installing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import AuthFailed, InvalidInput, NotFound, Problem, TimedOut, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import AddHost, access, standing, transitions
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ConnectionState, HostEvent, ResourceState
from fleet_tui.backend.hypervisors import HostFacts
from fleet_tui.backend.operations import ErrorRecord
from fleet_tui.backend.operations.catalogue import OperationFacts, Step, StepContext
from fleet_tui.backend.store import in_turn
from fleet_tui.backend.text import clean

Result = Mapping[str, Any] | None

_IDENTITY = 0x686F7374  # "host": whose serial is whose is decided by one at a time
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*\Z")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:=-]{0,62}\Z")
_NO_SERIALS = frozenset({"", "none", "not specified", "to be filled by o.e.m.", "system serial number", "default string", "0", "123456789"})
"""What makers write where a serial number should be: two hosts may well have the same."""
WITHOUT_SHELL = ("vsphere",)
"""Hypervisors whose hosts are not logged in to."""
_clock = SystemClock()


# --- the request -----------------------------------------------------------------------------------------------------


def problems_of(tx: Session, request: AddHost) -> list[Problem]:
    """Everything that is wrong with the fields themselves."""
    problems = []
    if not _is_address(request.target):
        problems.append(Problem("target", f"{clean(request.target, 100)!r} is neither an IP address nor a host name"))
    if request.name and not _HOST_NAME.match(request.name):
        problems.append(Problem("name", "must be a host name"))
    elif request.name and tx.scalar(select(HostRow.id).where(HostRow.name == request.name)):
        problems.append(Problem("name", f"there is a host {request.name} already"))
    if not request.password and not request.private_key:
        problems.append(Problem("private_key", "a private key or a password is needed"))
    if request.password and not request.password.isprintable():
        problems.append(Problem("password", "may hold printable characters only"))
    named = {"ssh_user": "user", "ssh_port": "port"}
    problems += [replace(p, field=named.get(p.field, p.field)) for p in login_problems(request.user, request.port, request.private_key)]
    return problems + tag_problems(request.tags)


def login_problems(user: str | None, port: int | None, private_key: str | None) -> list[Problem]:
    """What is wrong with how a host is logged in to; ``None`` is not looked at."""
    problems = []
    if user is not None and not _USER.match(user):
        problems.append(Problem("ssh_user", "must be the name of a user on the host"))
    if port is not None and not 1 <= port <= 65535:
        problems.append(Problem("ssh_port", "must be from 1 to 65535"))
    if private_key and "PRIVATE KEY-----" not in private_key:
        problems.append(Problem("private_key", "is not a private key in OpenSSH or PEM form"))
    return problems


def tag_problems(tags: Iterable[str]) -> list[Problem]:
    return [Problem("tags", f"{clean(tag, 70)!r} is not a tag") for tag in tags if not _TAG.match(tag)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return _HOST_NAME.match(text) is not None and not text.replace(".", "").isdigit()
    return True


# --- steps -----------------------------------------------------------------------------------------------------------


def host_id(ctx: StepContext) -> str:
    return ctx.operation.target_ref.removeprefix("host:")


def validate(ctx: StepContext) -> Result:
    """Its address is known, and its cluster may be worked on."""
    with ctx.read() as tx:
        host, cluster = access.host_and_cluster(tx, host_id(ctx))
    access.refuse_mismatch(cluster)
    try:
        found = socket.getaddrinfo(host.address, host.ssh_port, type=socket.SOCK_STREAM)
    except OSError as problem:
        words = f"the address {host.address} is not known: {problem.strerror}"
        raise Unreachable(words, hint="look at the name service", reason="unreachable") from None
    addresses = sorted({str(entry[4][0]) for entry in found})
    ctx.say(f"{host.address} is {', '.join(addresses)}" if addresses != [host.address] else f"adding the host at {host.address}")
    return {"addresses": addresses}


def check_host_key(ctx: StepContext) -> Result:
    """The key it shows must be the one that was accepted; stored here and nowhere else (DRV-3)."""
    with ctx.read() as tx:
        host, cluster = access.host_and_cluster(tx, host_id(ctx))
    if cluster.hypervisor in WITHOUT_SHELL:
        return None
    shown = ctx.use(Drivers).reach.host_key(host.address, host.ssh_port)
    if host.host_key and shown.text != host.host_key:
        raise AuthFailed(
            f"{host.address} shows another host key than before: {shown.fingerprint}",
            hint="find out why; if it was installed anew, discard this record and add it again", host_key=shown.text, fingerprint=shown.fingerprint,
        )
    if not host.host_key and shown.fingerprint != host.accepted_key:
        raise AuthFailed(
            f"{host.address} shows host key {shown.fingerprint}; accepted was {host.accepted_key}",
            hint="compare it on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", host_key=shown.text,
            fingerprint=shown.fingerprint,
        )
    with ctx.write() as tx:
        row = tx.get_one(HostRow, host.id)
        row.host_key, row.accepted_key = shown.text, shown.fingerprint
    ctx.say(f"host key {shown.fingerprint}, as accepted")
    return {"fingerprint": shown.fingerprint}


def log_in(ctx: StepContext) -> Result:
    """The credentials are good."""
    with ctx.read() as tx:
        host, cluster = access.host_and_cluster(tx, host_id(ctx))
    if cluster.hypervisor in WITHOUT_SHELL:
        return None
    with closing(ctx.use(Drivers).links.shell(host.id)) as shell:
        answer = shell.run("true")
    if answer.exit_code:
        words = f"{host.address} lets {host.ssh_user} in, but runs no command for it: {clean(answer.err, 200)}"
        raise WrongState(words, hint="look at its log-in shell")
    ctx.say(f"logged in as {host.ssh_user}")
    return None


def detect(ctx: StepContext) -> Result:
    """What it is; refused when it is known already or does not fit its cluster."""
    with ctx.read() as tx:
        host, cluster = access.host_and_cluster(tx, host_id(ctx))
    facts = ctx.use(Drivers).links.hypervisor(host.id).facts()
    if facts.hypervisor != cluster.hypervisor:
        raise WrongState(f"it runs {facts.hypervisor}, and cluster {cluster.name} is of {cluster.hypervisor}", hint="add it to another cluster",
                         state=facts.hypervisor, allowed=[cluster.hypervisor])
    if facts.arch != cluster.arch:
        raise WrongState(f"it is {facts.arch}, and cluster {cluster.name} is of {cluster.arch}", hint="add it to another cluster",
                         state=facts.arch, allowed=[cluster.arch])
    with ctx.write() as tx:
        one_at_a_time(tx)
        row = tx.get_one(HostRow, host.id)
        _refuse_known(tx, row, facts)
        standing.take_facts(row, facts)
        if row.name == row.address and _HOST_NAME.match(facts.host_name):
            row.name = facts.host_name
        ctx.use(Drivers).lines.name(tx, f"host:{row.id}", row.name)
        name, version = row.name, row.hypervisor_version
    accelerated = "" if facts.is_accelerated else ", guests are emulated (its CPU has no virtualisation)"
    ctx.say(
        f"{name}: {facts.hypervisor} {version}, {facts.arch}, {facts.cores} cores of {facts.mhz} MHz, "
        f"{facts.memory_bytes / 1024**3:.1f} GiB{accelerated}, serial {clean(facts.serial, 60) or 'unknown'}"
    )
    return {"name": name, "version": version}


def _refuse_known(tx: Session, row: HostRow, facts: HostFacts) -> None:
    """Raises :class:`WrongState` when another record is of the same machine, by its uuid, serial or name."""
    others = (HostRow.id != row.id) & (HostRow.resource_state != ResourceState.ERROR.value)
    serial = facts.serial.strip()
    looks = [("uuid", HostRow.uuid, facts.uuid)] if facts.uuid else []
    if serial.lower() not in _NO_SERIALS:
        looks.append(("serial number", HostRow.serial, serial))
    if row.name == row.address:
        looks.append(("name", HostRow.name, facts.host_name))
    for what, column, value in looks:
        twin = tx.scalar(select(HostRow).where(others, column == value))
        if twin is not None:
            hint = "give it another name: --name" if what == "name" else f"it is one machine: discard this record, or remove {twin.name} first"
            raise WrongState(f"{twin.name} ({twin.address}) has the same {what}, {clean(value, 120)}", hint=hint, state="duplicate", allowed=[])


def register(ctx: StepContext) -> Result:
    """What can be built on: its network interfaces and storage pools."""
    with ctx.read() as tx:
        facts = access.host_and_cluster(tx, host_id(ctx))[0].facts
    ctx.say(f"network interfaces {', '.join(facts.get('nics', [])) or 'none'}; storage pools {', '.join(facts.get('pools', [])) or 'none'}")
    return {"nics": facts.get("nics", []), "pools": facts.get("pools", [])}


def connect(ctx: StepContext) -> Result:
    """It answers through the link that will be watched from now on."""
    links = ctx.use(Drivers).links
    hypervisor = links.hypervisor(host_id(ctx))
    hypervisor.ping()
    figures = hypervisor.figures()
    with ctx.write() as tx:
        standing.store(tx, {host_id(ctx): standing.Finding(figures=figures, is_master=hypervisor.is_pool_master())}, _clock.now())
    ctx.say("connected")
    return None


STEPS = (
    Step("validate", validate),
    Step("host-key", check_host_key, attempts=2),
    Step("log-in", log_in, attempts=2),
    Step("detect", detect, attempts=2),
    Step("register", register),
    Step("connect", connect, attempts=3),
)


# --- how it ends -----------------------------------------------------------------------------------------------------


def begin(tx: Session, op: OperationFacts) -> None:
    """A retry takes the record up again."""
    row = transitions.lock(tx, op.target_ref.removeprefix("host:"))
    if row.resource_state == ResourceState.ERROR.value:
        transitions.move(tx, row, HostEvent.RETRY, _clock.now(), operation_id=op.id)
    row.error, row.connection_state, row.reason = "", ConnectionState.CREATING.value, ""


def added(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    row = transitions.lock(tx, op.target_ref.removeprefix("host:"))
    row.error, row.connection_state, row.connection_since = "", ConnectionState.UP.value, _clock.now()
    transitions.move(tx, row, HostEvent.CREATED, _clock.now(), text=f"host {row.name} added", operation_id=op.id, user=op.user)


def failed(tx: Session, op: OperationFacts, error: ErrorRecord, step: str) -> None:
    _end_in_error(tx, op, f"{error.message}{f'; {error.hint}' if error.hint else ''}")


def cancelled(tx: Session, op: OperationFacts) -> None:
    _end_in_error(tx, op, "adding it was cancelled")


def _end_in_error(tx: Session, op: OperationFacts, why: str) -> None:
    """What it said of itself no longer counts, so that the same machine can be added as another record."""
    try:
        row = transitions.lock(tx, op.target_ref.removeprefix("host:"))
    except NotFound:
        return
    row.error, row.serial, row.uuid = clean(why, 1000), "", ""
    row.connection_state, row.reason = ConnectionState.ERROR.value, ""
    if row.resource_state == ResourceState.CREATING.value:
        transitions.move(tx, row, HostEvent.CREATION_FAILED, _clock.now(), operation_id=op.id)
    else:
        append(tx, type="host.changed", ref=f"host:{row.id}", operation_id=op.id)


def wait_for_new_key(ctx: StepContext) -> Result:
    """Re-install: until the address shows the host key that was named or, with ``any-once``, another one than before."""
    told = ctx.operation.parameters
    accept, old, wait_s = str(told["accept"]), str(told["old_key"]), float(told["wait_s"])
    with ctx.read() as tx:
        host, _ = access.host_and_cluster(tx, host_id(ctx))
    reach = ctx.use(Drivers).reach
    ctx.say(f"waiting up to {wait_s / 60:.0f} min for SSH at {host.address}: install it now")

    def shown() -> str:
        try:
            key = reach.host_key(host.address, host.ssh_port, timeout_s=5.0)
        except (Unreachable, TimedOut):
            ctx.progress("no answer yet")
            return ""
        is_new = key.fingerprint == accept if accept != "any-once" else key.text != old
        if not is_new:
            ctx.progress(f"it shows {key.fingerprint}, which is not the one that is waited for")
        return key.fingerprint if is_new else ""

    try:
        fingerprint = ctx.wait(shown, wait_s, interval_s=2.0)
    except TimedOut:
        words = f"no fresh installation answered at {host.address} within {wait_s / 60:.0f} min"
        raise TimedOut(words, hint="look at its console, then re-install again") from None
    if accept == "any-once":
        ctx.say(f"host key {fingerprint} taken without anybody having compared it, as was asked for (any-once)", "warn")
    with ctx.write() as tx:
        row = tx.get_one(HostRow, host.id)
        row.host_key, row.accepted_key = "", fingerprint
    return {"fingerprint": fingerprint}


def one_at_a_time(tx: Session) -> None:
    """From here to the end of the transaction nobody else decides which machine is whose."""
    in_turn(tx, _IDENTITY)


def refuse_fields(tx: Session, request: AddHost) -> None:
    if problems := problems_of(tx, request):
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        raise InvalidInput(f"the host at {clean(request.target, 100)} cannot be added: {listed}", problems=problems)
