"""A connection to a host's libvirt, through an SSH connection of ours.

What libvirt's own ``qemu+ssh`` does, ``virt-ssh-helper`` at the far end, is done here with our own SSH: one place checks the host key, one
place knows the credentials, passwords work as well as keys, nothing secret is on a disk or command line (`docs/decisions/0007`). And
we hold the pipe: a call that takes too long ends when it is cut.

One thread at a time talks on a connection, and libvirt's keepalives are not used: its client crashes the process when a second thread comes
while one waits (CVE-2024-4418, in Debian 12 as it is). What takes long, a migration, a console, has a connection of its own (`Link.again`); signs
of life are asked for by a thread of ours. libvirt's event loop, for events and streams, runs in a thread too, never in the daemon's loop.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

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
from fleet_tui.backend.remote import Login
from fleet_tui.backend.remote.deadlines import within
from fleet_tui.backend.remote.relay import Relay
from fleet_tui.backend.remote.ssh import SshReach, SshShell
from fleet_tui.backend.text import clean

OPEN_S = 8.0
CALL_S = 45.0
"""libvirt itself gives up on a guest that is busy with another command after 30 s; one that says nothing for longer hangs."""
QUIET_S = 3.0
"""A connection on which nothing came for so long is asked for a sign of life, ..."""
ANSWER_S = 6.0
"""... and broken when there is none within so long."""
_PROBE_S = 3.0
_SILENT = "silent"
"""For a moment: whether libvirt hangs or the whole machine is away is not known yet."""
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
    """One connection. Safe to use from any thread; nothing waits longer than its limit.

    Args:
        lost: told once, from any thread, why it broke by itself.
    """

    def __init__(self, reach: SshReach, login: Login, lost: Callable[[str], None], parent: Link | None = None) -> None:
        self.libvirt = bindings()
        self.login, self.address = login, login.address
        self._reach, self._lost, self._parent = reach, lost, parent
        self._turn, self._telling, self._probing = threading.Lock(), threading.Lock(), threading.Lock()
        self._children: WeakSet[Link] = WeakSet()
        self._reason = ""
        """Why it broke."""
        self._is_closing = self._is_told = False
        self.shell: SshShell = parent.shell if parent is not None else reach.open(login)
        try:
            self._relay, self.connection = self._opened()
        except BaseException:
            self._close_shell()
            raise
        self._relay.when_closed(self._broke)
        if parent is None:
            threading.Thread(target=self._feel_pulse, name="libvirt-pulse", daemon=True).start()
        else:
            parent._children.add(self)
            if parent.is_lost:
                self._relay.close()

    def again(self) -> Link:
        """Another connection through the same SSH connection, for what takes long. It breaks when this one does."""
        if self._reason or self._is_closing:
            raise self._broken()
        return Link(self._reach, self.login, lambda reason: None, self)

    def _opened(self) -> tuple[Relay, Any]:
        relay = self.shell.relay(_HELPER, timeout_s=OPEN_S)
        try:
            with within(OPEN_S, relay.close) as is_late:
                return relay, self.libvirt.open(f"qemu+unix:///system?socket={relay.path}")
        except self.libvirt.libvirtError as error:
            relay.wait(1.0)
            relay.close()
            if is_late():
                raise TimedOut(
                    f"libvirt on {self.address} takes connections but does not answer", hint="look at libvirtd there", reason="no-rpc"
                ) from None
            if not self.shell.is_open:
                raise Unreachable(f"the link to {self.address} broke", hint="look at its power and its network", reason="unreachable") from None
            said = clean(relay.said.strip() or str(error), 300)
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
        if not self._turn.acquire(timeout=timeout_s):
            raise TimedOut(f"libvirt on {self.address} is still busy with another call", hint="try again", reason="no-rpc")
        try:
            if self._reason or self._is_closing:
                raise self._broken()
            with within(timeout_s, self._hang) as is_late:
                try:
                    return verb(*arguments)
                except self.libvirt.libvirtError as error:
                    failure = error
        finally:
            self._turn.release()
        if is_late():
            raise TimedOut(f"libvirt on {self.address} did not answer within {timeout_s:.0f} s", hint="look at libvirtd there", reason="no-rpc")
        if self._reason or self._is_closing or self._relay.is_closed:
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
        self._reason = self._reason or _SILENT
        self._relay.close()
        self._let_go_of_children()

    def _let_go_of_children(self) -> None:
        for child in list(self._children):
            child._relay.close()

    # Its end

    def close(self) -> None:
        """Nobody is told. Does not wait for the far side."""
        self._is_closing = True
        self._relay.close()
        self._let_go_of_children()
        self._close_shell()

    def _close_shell(self) -> None:
        if self._parent is None:
            self.shell.close()

    @property
    def is_lost(self) -> bool:
        return bool(self._reason) or self._is_closing or self._relay.is_closed

    def why(self) -> str:
        """Why it broke (spec 7.4), found out once: libvirtd ended, or hangs, or the machine does not answer at all."""
        if self._parent is not None and self._parent.is_lost:
            self._reason = self._parent.why()
            return self._reason
        with self._probing:
            if self._reason in ("", _SILENT):
                try:
                    self.shell.run("true", timeout_s=_PROBE_S)
                    self._reason = "no-rpc" if self._reason else "no-service"
                except FleetError:
                    self._reason = "unreachable"
            return self._reason

    def _feel_pulse(self) -> None:
        """Until it ends. While a long call is under way a second connection is asked, which is opened for that."""
        other: tuple[Relay, Any] | None = None
        while not self._relay.wait(QUIET_S):
            if time.monotonic() - self._relay.heard < QUIET_S:
                continue
            try:
                if self._turn.acquire(blocking=False):
                    try:
                        with within(ANSWER_S, self._hang):
                            self.connection.getLibVersion()
                    finally:
                        self._turn.release()
                else:
                    other = other or self._opened()
                    with within(ANSWER_S, other[0].close):
                        other[1].getLibVersion()
            except (FleetError, self.libvirt.libvirtError):
                self._hang()
        if other is not None:
            other[0].close()

    def _broken(self) -> FleetError:
        if self._is_closing:
            return Unreachable(f"the connection to {self.address} is closed", hint="open it again", reason=self._reason or "unreachable")
        self.why()
        words = {"no-rpc": "its libvirt hangs", "no-service": "its libvirt ended"}.get(self._reason, "it does not answer")
        return Unreachable(f"the connection to {self.address} broke: {words}", hint="look at the host", reason=self._reason)

    def _broke(self) -> None:
        with self._telling:
            if self._is_closing or self._is_told:
                return
            self._is_told = True
        self._let_go_of_children()
        reason = self.why()
        if not self._is_closing:
            self._lost(reason)


_CONNECTION_WORDS = (
    "client socket is closed", "keepalive timeout", "End of file while reading", "unable to connect", "Lost connection", "Connection reset",
    "Cannot recv data", "No route to host", "Connection refused", "Connection timed out", "lost connection",
)  # fmt: skip
