"""The one password of a cluster's hosts (spec 7.6): set on every host and then stored, or only stored after it was checked on each.

Hosts come first, then the stored value. The new password travels sealed in the operation's parameters, over standard input to the
hosts, and nowhere else. Where hosts cannot be set back after a failure, the cluster is flagged until every host agrees again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import AuthFailed, FleetError, NotFound, Partial, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import access
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.operations.catalogue import OperationFacts, Step, StepContext
from fleet_tui.backend.remote import Login
from fleet_tui.backend.text import clean

Result = Mapping[str, Any] | None

SHORTEST, LONGEST = 8, 128
_OUTSIDE = (ResourceState.CREATING.value, ResourceState.ERROR.value)
MASK = "••••"


def rule(password: str) -> str:
    """What is wrong with a password; empty when nothing is."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"must have {SHORTEST} to {LONGEST} characters"
    return "" if password.isprintable() else "may hold printable characters only, and no line break"


def context(cluster_id: str) -> str:
    """What a cluster's password is sealed for."""
    return f"cluster:{cluster_id}:password"


def hosts_of(tx: Session, cluster_id: str) -> list[HostRow]:
    """The hosts that share the password."""
    query = select(HostRow).where(HostRow.cluster_id == cluster_id, HostRow.resource_state.not_in(_OUTSIDE))
    return list(tx.scalars(query.order_by(HostRow.name)))


def _cluster_id(op: OperationFacts) -> str:
    return op.target_ref.removeprefix("cluster:")


def _hosts(ctx: StepContext) -> list[HostRow]:
    with ctx.read() as tx:
        return hosts_of(tx, _cluster_id(ctx.operation))


def _fresh(ctx: StepContext) -> str:
    return ctx.use(Drivers).sealer.open(str(ctx.operation.parameters["sealed"]), context(_cluster_id(ctx.operation))).decode()


def _with(login: Login, password: str) -> Login:
    """By that password and by nothing else."""
    return replace(login, password=password, private_key="")


def _lets_in(ctx: StepContext, host: HostRow, login: Login) -> bool:
    """Raises :class:`Unreachable` when it cannot be asked."""
    try:
        ctx.use(Drivers).links.shell_at(host.name, login).close()
    except AuthFailed as refused:
        if "host_key" in refused.details:
            raise
        return False
    return True


# --- steps -----------------------------------------------------------------------------------------------------------


def log_in(ctx: StepContext) -> Result:
    """Every host lets us in, before anything is changed on any: with the stored credentials, or with the new password where it is set already."""
    sealer, fresh, is_record = ctx.use(Drivers).sealer, _fresh(ctx), bool(ctx.operation.parameters["record"])
    refused: dict[str, str] = {}
    for host in _hosts(ctx):
        ctx.check()
        ctx.progress(host.name)
        login = access.login_of(host, sealer)
        try:
            if not (not is_record and _lets_in(ctx, host, login)) and not _lets_in(ctx, host, _with(login, fresh)):
                refused[host.name] = "it refuses that password" if is_record else "it refuses the stored credentials, and the new password too"
        except FleetError as error:
            refused[host.name] = error.message
    _refuse(refused, "nothing was changed")
    return None


def change(ctx: StepContext) -> Result:
    """Set it on each host; one that has it already is left alone. A host that refuses ends it, and what was set is set back."""
    if ctx.operation.parameters["record"]:
        return None
    fresh, drivers = _fresh(ctx), ctx.use(Drivers)
    hosts = _hosts(ctx)
    for number, host in enumerate(hosts, 1):
        ctx.check()
        ctx.progress(f"{number}/{len(hosts)} {host.name}")
        login = access.login_of(host, drivers.sealer)
        if _lets_in(ctx, host, login):
            _set(ctx, host, login, fresh)
            ctx.say(f"{host.name}: new password set")
    return {"hosts": [host.name for host in hosts]}


def _set(ctx: StepContext, host: HostRow, login: Login, password: str) -> None:
    """``chpasswd`` reads it from its standard input: no process list and no shell history ever shows it."""
    command = "chpasswd" if login.user == "root" else "sudo -n chpasswd"
    with closing(ctx.use(Drivers).links.shell_at(host.name, login)) as shell:
        answer = shell.run(command, input=f"{login.user}:{password}\n")
    if answer.exit_code:
        said = clean(" ".join((answer.err or answer.out).split()).replace(password, MASK), 300)
        raise WrongState(f"{host.name} did not take the password: {said or f'exit code {answer.exit_code}'}", hint="look at its password rules")


def verify(ctx: StepContext) -> Result:
    """Each host lets us in with it and nothing else."""
    fresh, sealer = _fresh(ctx), ctx.use(Drivers).sealer
    refused: dict[str, str] = {}
    for host in _hosts(ctx):
        ctx.check()
        try:
            if not _lets_in(ctx, host, _with(access.login_of(host, sealer), fresh)):
                refused[host.name] = "it refuses the new password"
        except FleetError as error:
            refused[host.name] = error.message
    _refuse(refused, "it was not stored")
    return None


def set_back(ctx: StepContext) -> None:
    """Undo: hosts that have the new password get the stored one again; those where that fails are flagged, with why."""
    if ctx.operation.parameters["record"]:
        return
    mismatch: dict[str, str] = {}
    for host in _hosts(ctx):
        try:
            if why := _restore(ctx, host, _fresh(ctx)):
                mismatch[host.name] = why
        except FleetError as error:
            mismatch[host.name] = f"it could not be set back: {error.message}"
    with ctx.write() as tx:
        _flag(tx, _cluster_id(ctx.operation), mismatch, ctx.operation)
    if mismatch:
        words = f"{', '.join(sorted(mismatch))} could not be set back"
        raise Partial(words, hint="set the password again, or record the one that is set", hosts=mismatch)


def _restore(ctx: StepContext, host: HostRow, fresh: str) -> str:
    """Why the host's credentials are not the stored ones after all; empty when they are."""
    login = access.login_of(host, ctx.use(Drivers).sealer)
    former = login.password
    if not former:  # it is logged in to by its key, which nothing here changes
        return "" if _lets_in(ctx, host, login) else "it refuses its key, and its former password is not known here"
    if _lets_in(ctx, host, _with(login, former)):
        return ""
    way = replace(login, password="")
    if not login.private_key or not _lets_in(ctx, host, way):
        way = _with(login, fresh)
        if not _lets_in(ctx, host, way):
            return "it refuses both the stored password and the new one"
    _set(ctx, host, way, former)
    if not login.private_key and not _lets_in(ctx, host, _with(login, former)):
        return "it took the stored password back, and still refuses it"
    ctx.say(f"{host.name}: set back to the stored password", "warn")
    return ""


def store(ctx: StepContext) -> Result:
    """For the cluster and all its hosts, in one transaction."""
    drivers, cluster_id, fresh = ctx.use(Drivers), _cluster_id(ctx.operation), _fresh(ctx)
    with ctx.write() as tx:
        cluster = tx.get(ClusterRow, cluster_id)
        if cluster is None:
            raise NotFound("the cluster is gone", hint="nothing is left to do")
        cluster.password_sealed = drivers.sealer.seal(fresh.encode(), context(cluster_id))
        for host in hosts_of(tx, cluster_id):
            host.password_sealed = drivers.sealer.seal(fresh.encode(), access.password_context(host.id))
        _flag(tx, cluster_id, {}, ctx.operation)
    ctx.say("stored for all hosts")
    return None


def _flag(tx: Session, cluster_id: str, mismatch: Mapping[str, str], op: OperationFacts) -> None:
    cluster = tx.get(ClusterRow, cluster_id)
    if cluster is None or cluster.mismatch == mismatch:
        return
    cluster.mismatch = {name: clean(why, 300) for name, why in mismatch.items()}
    text = f"credentials of cluster {cluster.name} " + (f"do not match on {', '.join(sorted(mismatch))}" if mismatch else "match again")
    append(tx, type="cluster.changed", ref=f"cluster:{cluster_id}", text=text, level="error" if mismatch else "info", operation_id=op.id)


def _refuse(refused: Mapping[str, str], outcome: str) -> None:
    if refused:
        table = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise Partial(f"{len(refused)} hosts refuse, {outcome}: {table}", hint="look at these hosts, then try again", hosts=dict(refused))


STEPS = (
    Step("log-in", log_in),
    Step("change", change, undo=set_back, undo_begun=True),
    Step("verify", verify),
    Step("store", store),
)
