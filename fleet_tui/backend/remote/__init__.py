"""Other machines' shells: run a command there, read and write files. ``ssh`` is real; ``fake`` is scripted and ships for tests and demos.

Host keys are checked against what the database holds (DRV-3): first contact shows a fingerprint and stores the key only inside
"add host"; a key that changed is an error, never accepted by itself.
"""

from __future__ import annotations

from dataclasses import field
from typing import Protocol

from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class HostKey:
    """A machine's public key, as its SSH server shows it."""

    text: str
    """``ssh-ed25519 AAAA…``: type and base64, as in a known-hosts file."""
    fingerprint: str
    """``SHA256:…``, as ``ssh-keygen -l`` prints it."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where and as whom. Either secret may be empty, not both."""

    address: str
    user: str
    port: int = 22
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    """Unencrypted OpenSSH or PEM text."""
    host_key: str = ""
    """`HostKey.text` that the other side must show."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended. Output is text as it came; clean it before storing it."""

    exit_code: int
    out: str
    err: str


class Shell(Protocol):
    """An open connection. All verbs block, take a timeout, and raise :class:`FleetError` kinds.

    ``Unreachable`` when the link breaks, ``TimedOut`` when nothing comes back, never the SDK's own errors.
    """

    @property
    def login(self) -> Login: ...

    def run(self, command: str, *, input: str = "", timeout_s: float = 30.0) -> Answer:
        """Run a command line of ``/bin/sh``. Secrets go through ``input``, never on the command line (DRV-2)."""
        ...

    def read(self, path: str, *, limit: int = 10_000_000) -> bytes:
        """A file's content; ``NotFound`` when there is none."""
        ...

    def write(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """Replace a file as a whole: written beside it, then renamed."""
        ...

    def close(self) -> None: ...


class Reach(Protocol):
    """The way to other machines."""

    def host_key(self, address: str, port: int = 22, *, timeout_s: float = 15.0) -> HostKey:
        """The key shown there now, without logging in."""
        ...

    def open(self, login: Login, *, timeout_s: float = 15.0) -> Shell:
        """Log in.

        Raises:
            AuthFailed: the credentials were refused, or the host key is not the one expected (details: ``host_key``).
            Unreachable: no route, refused, not an SSH server. Details: ``reason`` of spec 7.4.
            TimedOut: no answer.
        """
        ...
