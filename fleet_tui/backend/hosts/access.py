"""How to log in to a host: what is sealed in its row, opened for the moment it is needed."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import AuthFailed, FleetError, InvalidInput, NotFound, Unreachable, WrongState
from fleet_tui.backend.hosts.hierarchy import NO_HYPERVISOR
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.hosts.standing import reason_of
from fleet_tui.backend.hosts.states import REASONS
from fleet_tui.backend.remote import Login
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import Store


def key_context(host_id: str) -> str:
    """What a host's private key is sealed for."""
    return f"host:{host_id}:private-key"


def password_context(host_id: str) -> str:
    return f"host:{host_id}:password"


def login_of(host: HostRow, sealer: Sealer) -> Login:
    """The way in. Keep it no longer than the connection takes to open."""
    return Login(
        address=host.address, user=host.ssh_user, port=host.ssh_port, host_key=host.host_key,
        password=sealer.open(host.password_sealed, password_context(host.id)).decode() if host.password_sealed else "",
        private_key=sealer.open(host.key_sealed, key_context(host.id)).decode() if host.key_sealed else "",
    )


def host_and_cluster(tx: Session, host_id: str) -> tuple[HostRow, ClusterRow]:
    host = tx.get(HostRow, host_id)
    if host is None:
        raise NotFound(f"there is no host {host_id!r}", hint="`fleet host list` shows the hosts there are")
    return host, tx.get_one(ClusterRow, host.cluster_id)


def any_sealed(store: Store) -> str:
    """Something that was sealed for a host or a cluster, by which the site's master key is known; empty when nothing was yet."""
    with store.read() as tx:
        for column in (HostRow.key_sealed, HostRow.password_sealed, ClusterRow.password_sealed):
            if found := tx.scalar(select(column).where(column != "").limit(1)):
                return found
    return ""


def refuse_without_hypervisor(host: HostRow, cluster: ClusterRow) -> None:
    """The machine a site itself runs on has no hypervisor that we drive.

    Raises:
        WrongState: there is none.
    """
    if cluster.hypervisor == NO_HYPERVISOR:
        raise WrongState(
            f"{host.name} runs no hypervisor: it is the machine this site itself runs on",
            hint="add a host with a hypervisor: `fleet host add`", state=host.resource_state, allowed=[],
        )


def refuse_mismatch(cluster: ClusterRow) -> None:
    """While hosts of a cluster have other credentials than the stored ones, nothing that needs a host's shell is begun (spec 7.6).

    Raises:
        AuthFailed: names the hosts; details ``hosts`` say why of each.
    """
    if cluster.mismatch:
        raise AuthFailed(
            f"credentials of cluster {cluster.name} do not match on {', '.join(sorted(cluster.mismatch))}",
            hint=f"`fleet cluster set-password {cluster.name}` sets it everywhere; with --record it takes over what is set there already",
            hosts=dict(cluster.mismatch),
        )


def unreachable(name: str, error: FleetError) -> FleetError:
    """The error as a step raises it: which host, what it means, what to do.

    :class:`AuthFailed` stays one, and so does what is no fault of the link (a driver that is not installed); the rest is :class:`Unreachable`.
    """
    if isinstance(error, (InvalidInput, WrongState)):
        return error
    reason = reason_of(error)
    kind = AuthFailed if isinstance(error, AuthFailed) else Unreachable
    hint = error.hint or "look at its power and its network; `fleet host reconnect` tries again"
    return kind(f"{name} cannot be reached: {REASONS[reason]} ({error.message})", hint=hint, **{**error.details, "reason": reason})
