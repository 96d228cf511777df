"""A connection to a host's libvirt, through the SSH connection that we have to it anyway.

What libvirt's own ``qemu+ssh`` does, ``virt-ssh-helper`` at the far end, is done here with our own SSH: one place checks the host key, one
place knows the credentials, passwords work as well as keys, nothing secret is on a disk or command line (`docs/decisions/0007`). And
we hold the pipe: a call that takes too long ends when it is cut. libvirt's keepalives need its event loop; that runs in a thread here,
never in the daemon's loop.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from fleet_tui.backend.errors import (
    AuthFailed,
    Busy,
    FleetError,
    InvalidInput,
    NoCapacity,
    NotFound,
    PermissionDenied,
    TimedOut,
    Unreachable,
    WrongState,
)
from fleet_tui.backend.remote.deadlines import within
from fleet_tui.backend.remote.relay import Relay
from fleet_tui.backend.remote.ssh import SshShell
from fleet_tui.backend.text import clean

OPEN_S = 10.0
CALL_S = 45.0
"""libvirt itself gives up on a guest that is busy with another command after 30 s; one that says nothing for longer hangs."""
KEEPALIVE_S, KEEPALIVES = 2, 3
"""Silence is asked about so often, and so often in vain before the connection is broken: after 8 s."""
_PROBE_S = 3.0
_HELPER = """\
if command -v virt-ssh-helper >/dev/null 2>&1; then exec virt-ssh-helper 'qemu:///system'; fi
for socket in /run/libvirt/virtqemud-sock /run/libvirt/libvirt-sock; do
  if [ -S "$socket" ]; then exec nc -U "$socket"; fi
done
echo 'no libvirt here' >&2
exit 1
"""

T = TypeVar("T")


@functools.cache
def bindings() -> Any:
    """The module ``libvirt``, with its event loop running.

    Raises:
        InvalidInput: it is not installed.
    """
    try:
        import libvirt
    except ImportError:
        raise InvalidInput(
            "this installation cannot talk to libvirt: the Python module libvirt is missing",
            hint="pip install 'fleet-tui[libvirt]' (it compiles: it needs libvirt-dev, pkg-config and a C compiler), then start fleetd again",
        ) from None
    libvirt.registerErrorHandler(lambda context, error: None, None)  # or every error is printed on standard error too
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(1000, lambda timer, nothing: None, None)  # so that a wait always ends, and sees what was added meanwhile
    threading.Thread(target=_loop, args=(libvirt,), name="libvirt-events", daemon=True).start()
    return libvirt


def _loop(libvirt: Any) -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


class Link:
    """One connection. Safe to use from any thread; nothing waits longer than its limit."""

    def __init__(self, shell: SshShell, lost: Callable[[str], None]) -> None:
        self.libvirt = bindings()
        self.shell = shell
        self.address = shell.login.address
        self._lost = lost
        self._lock, self._probing = threading.Lock(), threading.Lock()
        self._reason = ""
        """Why it broke."""
        self._is_closing = self._is_told = False
        self._relay: Relay = shell.relay(_HELPER, timeout_s=OPEN_S)
        self.connection: Any = self._opened()

    def _opened(self) -> Any:
        try:
            with within(OPEN_S, self._relay.close) as is_late:
                connection = self.libvirt.open(f"qemu+unix:///system?socket={self._relay.path}")
                connection.registerCloseCallback(self._broke, None)
                connection.setKeepAlive(KEEPALIVE_S, KEEPALIVES)
                return connection
        except self.libvirt.libvirtError as error:
            self._relay.wait(1.0)
            self._relay.close()
            if is_late():
                raise TimedOut(
                    f"libvirt on {self.address} takes connections but does not answer", hint="look at libvirtd there", reason="no-rpc"
                ) from None
            if not self.shell.is_open:
                raise Unreachable(f"the link to {self.address} broke", hint="look at its power and its network", reason="unreachable") from None
            said = clean(self._relay.said.strip() or str(error), 300)
            raise Unreachable(
                f"{self.address} has no libvirt that answers: {said}", hint="install and start libvirtd there, and QEMU", reason="no-service"
            ) from None

    # Calls

    def call(self, verb: Callable[..., T], *arguments: Any, what: str = "", timeout_s: float = CALL_S) -> T:
        """Call libvirt.

        Args:
            what: what is being done, for the message.
            timeout_s: after which the connection is given up.
        """
        if self._reason or self._is_closing:
            raise self._broken()
        with within(timeout_s, self._hang) as is_late:
            try:
                return verb(*arguments)
            except self.libvirt.libvirtError as error:
                failure = error
        if is_late():
            raise TimedOut(f"libvirt on {self.address} did not answer within {timeout_s:.0f} s", hint="look at libvirtd there", reason="no-rpc")
        if self._reason or self._is_closing or not self._is_alive():
            self.why()
            raise self._broken()
        raise self.refusal(failure, what)

    def code_of(self, error: Any) -> int:
        return int(error.get_error_code() or 0)

    def refusal(self, error: Any, what: str = "") -> FleetError:
        """What libvirt said, as one of our errors."""
        libvirt, code = self.libvirt, self.code_of(error)
        said = clean(str(error.get_error_message() or error), 400)
        message = f"{self.address} {f'did not {what}' if what else 'refused'}: {said}"
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            return NotFound(f"{self.address} has no such guest", hint="ask the other hosts of the cluster")
        if code == libvirt.VIR_ERR_OPERATION_ABORTED:
            return WrongState(message, hint="it was aborted", state="aborted")
        if code in (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_ERR_RESOURCE_BUSY) or "another job" in said or "Active console" in said:
            return Busy(message, hint="wait for what is being done there, or abort it", holders=[])
        if code in (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED, libvirt.VIR_ERR_AUTH_UNAVAILABLE):
            return AuthFailed(message, hint="log in as a user who may use libvirt", reason="access-denied")
        if code == libvirt.VIR_ERR_ACCESS_DENIED:
            return PermissionDenied(message, hint="log in as a user who may use libvirt")
        if "No space left" in said or code == libvirt.VIR_ERR_NO_MEMORY or "Cannot allocate memory" in said:
            return NoCapacity(message, hint="free some, or choose another host")
        if any(words in said for words in _CONNECTION_WORDS):
            return Unreachable(message, hint="look at both hosts and the network between them", reason="unreachable")
        return WrongState(message, hint="look at the host's libvirt log", state="refused", libvirt_code=code)

    def _hang(self) -> None:
        self._reason = self._reason or "no-rpc"
        self._relay.close()

    # Its end

    def close(self) -> None:
        """Nobody is told. Does not wait for the far side."""
        self._is_closing = True
        self._relay.close()
        self.shell.close()

    @property
    def is_lost(self) -> bool:
        return bool(self._reason) or self._is_closing or self._relay.is_closed

    def why(self, *, is_silent: bool = False) -> str:
        """Why it broke (spec 7.4), found out once: libvirtd ended, or hangs, or the machine does not answer at all."""
        with self._probing:
            if not self._reason:
                try:
                    self.shell.run("true", timeout_s=_PROBE_S)
                    self._reason = "no-rpc" if is_silent else "no-service"
                except FleetError:
                    self._reason = "unreachable"
            return self._reason

    def _broken(self) -> FleetError:
        if self._is_closing:
            return Unreachable(f"the connection to {self.address} is closed", hint="open it again", reason=self._reason or "unreachable")
        words = {"no-rpc": "its libvirt hangs", "no-service": "its libvirt ended"}.get(self._reason, "it does not answer")
        return Unreachable(f"the connection to {self.address} broke: {words}", hint="look at the host", reason=self._reason)

    def _is_alive(self) -> bool:
        try:
            return bool(self.connection.isAlive()) and not self._relay.is_closed
        except self.libvirt.libvirtError:
            return False

    def _broke(self, connection: Any, reason: int, nothing: Any) -> None:
        """In the event loop's thread, which must not wait."""
        with self._lock:
            if self._is_closing or self._is_told:
                return
            self._is_told = True
        is_silent = reason == self.libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE
        threading.Thread(target=self._tell, args=(is_silent,), name="libvirt-lost", daemon=True).start()

    def _tell(self, is_silent: bool) -> None:
        reason = self.why(is_silent=is_silent)
        self._relay.close()
        if not self._is_closing:
            self._lost(reason)


_CONNECTION_WORDS = (
    "client socket is closed", "keepalive timeout", "End of file while reading", "unable to connect", "Lost connection", "Connection reset",
    "Cannot recv data", "No route to host", "Connection refused", "Connection timed out", "lost connection",
)  # fmt: skip
