"""Who is calling, as far as the daemon itself has established it."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_tui.backend.identity import Role


@dataclass(frozen=True, slots=True)
class Peer:
    """The far end of a connection, as the listener knows it. Nothing in it was said by the caller but the two headers."""

    uid: int
    source: str
    """``uid 1000 pid 4711``; with a network listener also the address."""
    session: str = ""
    """Header ``Fleet-Session``."""
    read_only: bool = False
    """Header ``Fleet-Read-Only``: a single call that wants to be refused if it would change anything."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A known user, with the role that holds for this call."""

    user: str
    role: Role
    uid: int
    source: str = ""
    session: str = ""
    read_only: bool = False


AGENT = Caller(user="agent", role=Role.MONITOR, uid=-1, source="agent")
"""Stands for an agent: it proves itself by the token or key in its request, not by a user."""
