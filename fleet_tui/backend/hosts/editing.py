"""Changing a host that is there: tags, note, and how it is logged in to (spec 7.5)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from fleet_tui.backend.errors import InvalidInput, Problem, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import EditHost, access, adding, hierarchy, transitions
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.remote import Login
from fleet_tui.backend.store import Store
from fleet_tui.backend.text import clean

_NOTE_LIMIT = 1000


def edit(store: Store, drivers: Drivers, request: EditHost, user: str) -> str:
    """Save the changes; the host's id. New credentials are tried first: what the host refuses is not saved, and what cannot be tried
    because it does not answer is.

    Raises:
        InvalidInput: every field at fault.
        WrongState: somebody else saved it meanwhile.
        AuthFailed: the host refuses the new credentials.
    """
    with store.read() as tx:
        host = hierarchy.find_host(tx, request.target)
        _, cluster = access.host_and_cluster(tx, host.id)
        _refuse_fields(request)
        login = _login(host, drivers, request)
    warning = ""
    if login is not None:
        access.refuse_without_hypervisor(host, cluster)
        try:
            with closing(drivers.links.shell_at(host.name, login)) as shell:
                shell.run("true")
        except Unreachable:
            warning = "; it does not answer, so its new credentials were not tried"
    with store.write() as tx:
        row = transitions.lock(tx, host.id)
        if request.version and request.version != row.version:
            raise WrongState(f"{row.name} was changed meanwhile (version {row.version}, yours was {request.version})",
                             hint="show it again and repeat the change", state=row.resource_state, version=row.version)
        _take(row, drivers, request)
        row.version += 1
        append(tx, type="host.changed", ref=f"host:{row.id}", text=f"host {row.name} changed{warning}", user=user)
    if login is not None:
        drivers.links.drop(host.id)
    return host.id


def _refuse_fields(request: EditHost) -> None:
    problems = adding.tag_problems(request.tags or ())
    if request.location_note is not None and len(request.location_note) > _NOTE_LIMIT:
        problems.append(Problem("location_note", f"has {len(request.location_note)} characters; {_NOTE_LIMIT} are allowed"))
    problems += adding.login_problems(request.ssh_user, request.ssh_port, request.private_key)
    if problems:
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        raise InvalidInput(f"{request.target} was not changed: {listed}", problems=problems)


def _login(host: HostRow, drivers: Drivers, request: EditHost) -> Login | None:
    """How it would be logged in to; ``None`` when that does not change."""
    if request.ssh_user is None and request.ssh_port is None and request.private_key is None:
        return None
    login = access.login_of(host, drivers.sealer)
    return replace(
        login, user=login.user if request.ssh_user is None else request.ssh_user, port=request.ssh_port or login.port,
        private_key=login.private_key if request.private_key is None else request.private_key,
    )


def _take(row: HostRow, drivers: Drivers, request: EditHost) -> None:
    if request.tags is not None:
        row.tags = list(request.tags)
    if request.location_note is not None:
        row.location_note = clean(request.location_note, _NOTE_LIMIT)
    if request.ssh_user is not None:
        row.ssh_user = request.ssh_user
    if request.ssh_port is not None:
        row.ssh_port = request.ssh_port
    if request.private_key is not None:
        row.key_sealed = drivers.sealer.seal(request.private_key.encode(), access.key_context(row.id)) if request.private_key else ""

