"""Shells over SSH: the only importer of paramiko.

Nothing of this machine's user is used, no agent, no ``~/.ssh``: who logs in, with what, and which host key must be shown is all in the
`Login`. Every wait has an end: a link that carries nothing for `SILENCE_S` is broken by the kernel, a command by its own limit.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import io
import logging
import select
import shlex
import socket
import stat
import threading
import time
import uuid
from collections.abc import Iterator

import paramiko

from fleet_tui.backend.errors import AuthFailed, FleetError, InvalidInput, NotFound, PermissionDenied, TimedOut, Unreachable
from fleet_tui.backend.remote import Answer, HostKey, Login
from fleet_tui.backend.remote.deadlines import within
from fleet_tui.backend.remote.relay import Relay
from fleet_tui.backend.text import clean

DIAL_S = 15.0
SILENCE_S = 15.0
"""Something is sent three times in so long; unanswered for so long, the connection is broken (spec 7.4: a link is given up after 19 s)."""
_SESSIONS = 4
"""Commands and files at once on one connection; OpenSSH refuses more than 10 (``MaxSessions``), and relays need the others."""
_OUTPUT_LIMIT = 32_000_000
_PART = 65_536
_KEYS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_RSA = ("rsa-sha2-512", "rsa-sha2-256")

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs, with traces, what we raise


class SshReach:
    """The way to other machines by SSH.

    Args:
        dial_s: for a connection to stand, where the call does not say otherwise.
        silence_s: see `SILENCE_S`.
    """

    def __init__(self, *, dial_s: float = DIAL_S, silence_s: float = SILENCE_S) -> None:
        self._dial_s, self._silence_s = dial_s, silence_s

    def host_key(self, address: str, port: int = 22, *, timeout_s: float | None = None) -> HostKey:
        transport = self._connected(address, port, "", time.monotonic() + (timeout_s or self._dial_s))
        try:
            return _shown(transport)
        finally:
            transport.close()

    def open(self, login: Login, *, timeout_s: float | None = None) -> SshShell:
        key = _private_key(login)
        deadline = time.monotonic() + (timeout_s or self._dial_s)
        transport = self._connected(login.address, login.port, login.host_key.partition(" ")[0], deadline)
        try:
            shown = _shown(transport)
            if not login.host_key:
                raise AuthFailed(
                    f"no host key is on record for {login.address}; it shows {shown.fingerprint}", hint="compare that with the machine's own",
                    reason="access-denied", host_key=shown.text,
                )  # fmt: skip
            if shown.text != " ".join(login.host_key.split()[:2]):
                raise AuthFailed(
                    f"{login.address} shows another host key than the one on record: {shown.fingerprint} instead of {_fingerprint(login.host_key)}",
                    hint="find out whether it was installed anew or somebody is in between; `fleet host reinstall` takes a new key",
                    reason="access-denied", host_key=shown.text,
                )  # fmt: skip
            _authenticate(transport, login, key, deadline)
        except BaseException:
            transport.close()
            raise
        transport.set_keepalive(max(int(self._silence_s / 3), 1))
        return SshShell(transport, login)

    def _connected(self, address: str, port: int, key_type: str, deadline: float) -> paramiko.Transport:
        return _negotiated(_dialled(address, port, deadline, self._silence_s), address, port, key_type, deadline)


class SshShell:
    """An open connection. Safe to use from any thread.

    A command that outlives its limit is left behind: SSH has no way to end it.
    """

    def __init__(self, transport: paramiko.Transport, login: Login) -> None:
        self._transport, self._login = transport, login
        self._sessions = threading.BoundedSemaphore(_SESSIONS)

    @property
    def login(self) -> Login:
        return self._login

    @property
    def is_open(self) -> bool:
        return bool(self._transport.is_active())

    def run(self, command: str, *, input: str = "", timeout_s: float = 30.0) -> Answer:
        deadline = time.monotonic() + timeout_s
        with self._channel(deadline, f"{clean(command, 80)!r} did not end within {timeout_s:g} s") as channel:
            channel.exec_command(f"/bin/sh -c {shlex.quote(command)}")
            return _conversation(channel, input.encode(), deadline)

    def read(self, path: str, *, limit: int = 10_000_000) -> bytes:
        with self._files(path) as files, files.open(path, "rb") as file:
            file.prefetch(min(file.stat().st_size or 0, limit))
            content: bytes = file.read(limit)
            return content

    def write(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        beside = f"{path}.{uuid.uuid4().hex[:12]}"
        with self._files(path) as files:
            try:
                with files.open(beside, "wbx") as file:
                    file.chmod(stat.S_IMODE(mode))
                    file.write(data)
                files.posix_rename(beside, path)
            except OSError:
                with contextlib.suppress(OSError):
                    files.remove(beside)
                raise

    def relay(self, command: str, *, timeout_s: float = 15.0) -> Relay:
        """Start a command and have a Unix socket here stand for its input and output, for as long as it runs."""
        late = f"the command was not started within {timeout_s:g} s"
        with self._errors(late), self._limited(time.monotonic() + timeout_s, late) as channel:
            channel.exec_command(f"/bin/sh -c {shlex.quote(command)}")
            return Relay(channel)

    def close(self) -> None:
        self._transport.close()

    # What every verb does

    @contextlib.contextmanager
    def _channel(self, deadline: float, late: str) -> Iterator[paramiko.Channel]:
        """A session of its own, closed at the end and at the deadline."""
        with self._errors(late), self._turn(deadline, late), self._limited(deadline, late) as channel:
            try:
                yield channel
            finally:
                channel.close()

    @contextlib.contextmanager
    def _turn(self, deadline: float, late: str) -> Iterator[None]:
        if not self._sessions.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            raise TimedOut(f"{self._login.address}: {late}; {_SESSIONS} other commands run there", hint="try again", reason="no-rpc")
        try:
            yield
        finally:
            self._sessions.release()

    @contextlib.contextmanager
    def _limited(self, deadline: float, late: str) -> Iterator[paramiko.Channel]:
        try:
            channel = self._transport.open_session(timeout=max(deadline - time.monotonic(), 0.1))
        except paramiko.SSHException:
            if self._transport.is_active() and time.monotonic() >= deadline:
                raise TimeoutError(late) from None
            raise
        with within(max(deadline - time.monotonic(), 0.1), lambda: _abandon(channel)) as was_abandoned:
            try:
                yield channel
            except (paramiko.SSHException, EOFError, OSError):
                if was_abandoned():
                    raise TimeoutError(late) from None
                raise
            if was_abandoned():
                raise TimeoutError(late)

    @contextlib.contextmanager
    def _files(self, path: str, timeout_s: float = 60.0) -> Iterator[paramiko.SFTPClient]:
        with self._channel(time.monotonic() + timeout_s, f"the transfer of {clean(path, 200)} did not end within {timeout_s:g} s") as channel:
            channel.invoke_subsystem("sftp")
            try:
                yield paramiko.SFTPClient(channel)
            except OSError as error:
                where = f"{clean(path, 200)} on {self._login.address}"
                if error.errno == errno.ENOENT:
                    raise NotFound(f"there is no {where}", hint="look at the path") from None
                if error.errno == errno.EACCES:
                    raise PermissionDenied(f"{self._login.user} may not touch {where}", hint="log in as another user") from None
                raise

    @contextlib.contextmanager
    def _errors(self, late: str) -> Iterator[None]:
        address = self._login.address
        try:
            yield
        except FleetError:
            raise
        except TimeoutError:
            raise TimedOut(f"{address}: {late}", hint="look at the machine's load and disks, then try again", reason="no-rpc") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self._transport.is_active():
                raise Unreachable(
                    f"{address} answered, but would not do it: {_words(error)}", hint="look at the SSH server's log there", reason="no-service"
                ) from None
            raise Unreachable(f"the link to {address} broke: {_words(error)}", hint="connect again", reason="unreachable") from None


# --- connecting ------------------------------------------------------------------------------------------------------


def _dialled(address: str, port: int, deadline: float, silence_s: float) -> socket.socket:
    try:
        link = socket.create_connection((address, port), timeout=max(deadline - time.monotonic(), 0.1))
    except ConnectionRefusedError:
        raise Unreachable(
            f"nothing listens on port {port} of {address}", hint="look at the SSH server there, and at the port", reason="connection-refused"
        ) from None
    except TimeoutError:
        raise TimedOut(f"{address} does not answer on port {port}", hint="look at its power and its network", reason="unreachable") from None
    except socket.gaierror:
        raise Unreachable(f"the name {clean(address, 200)} does not resolve", hint="look at the address", reason="unreachable") from None
    except OSError as error:
        raise Unreachable(f"{address} cannot be reached: {_words(error)}", hint="look at its power and its network", reason="unreachable") from None
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence_s * 1000))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def _negotiated(link: socket.socket, address: str, port: int, key_type: str, deadline: float) -> paramiko.Transport:
    """Keys exchanged, nobody logged in. Of the kinds of host key, the one on record is asked for first."""
    transport = paramiko.Transport(link)
    options = transport.get_security_options()
    wanted = _RSA if key_type == "ssh-rsa" else (key_type,)
    options.key_types = tuple(sorted(options.key_types, key=lambda kind: kind not in wanted))
    left = max(deadline - time.monotonic(), 0.1)
    transport.banner_timeout = transport.handshake_timeout = left
    try:
        transport.start_client(timeout=left)
        transport.get_remote_server_key()
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        if time.monotonic() >= deadline - 0.1:
            raise TimedOut(f"{address} takes connections but says nothing", hint="look at the machine itself", reason="no-rpc") from None
        raise Unreachable(
            f"port {port} of {address} is no SSH server that we can talk to: {_words(error)}",
            hint="look at the port, and at the SSH server there", reason="no-service",
        ) from None  # fmt: skip
    return transport


def _shown(transport: paramiko.Transport) -> HostKey:
    key = transport.get_remote_server_key()
    text = f"{key.get_name()} {key.get_base64()}"
    return HostKey(text, _fingerprint(text))


def _fingerprint(text: str) -> str:
    """As ``ssh-keygen -l`` prints it."""
    try:
        digest = hashlib.sha256(base64.b64decode(text.split()[1], validate=True)).digest()
    except (IndexError, ValueError):
        return "something that is no key"
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _private_key(login: Login) -> paramiko.PKey | None:
    if not login.private_key:
        return None
    if "ENCRYPTED" in login.private_key.split("\n", 1)[0]:
        raise InvalidInput("the private key is encrypted", hint="give one without a passphrase; it is kept encrypted here")
    for kind in _KEYS:
        with contextlib.suppress(paramiko.SSHException, ValueError, IndexError, TypeError):
            return kind.from_private_key(io.StringIO(login.private_key))
    raise InvalidInput("the private key is encrypted, or none that we can read", hint="give an Ed25519, ECDSA or RSA key without passphrase")


def _authenticate(transport: paramiko.Transport, login: Login, key: paramiko.PKey | None, deadline: float) -> None:
    """By key, then by password; servers that want both get both."""
    transport.auth_timeout = max(deadline - time.monotonic(), 0.1)
    offered = [*(["key"] if key else []), *(["password"] if login.password else [])]
    with within(transport.auth_timeout + 0.5, transport.close):
        for way in offered:
            try:
                more = transport.auth_publickey(login.user, key) if way == "key" else transport.auth_password(login.user, login.password)
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    break
                continue
            except (paramiko.SSHException, EOFError, OSError):
                break
            if not more:
                return
    if time.monotonic() >= deadline:
        raise TimedOut(f"{login.address} did not answer to the log-in", hint="look at the machine itself", reason="no-rpc") from None
    raise AuthFailed(
        f"{login.address} refuses user {login.user} with the {' and the '.join(offered) or 'nothing we had'}",
        hint="look at user, key and password", reason="access-denied",
    ) from None  # fmt: skip


# --- commands --------------------------------------------------------------------------------------------------------


def _conversation(channel: paramiko.Channel, given: bytes, deadline: float) -> Answer:
    """Feed it, and collect what it says, at the same time: neither side can fill the other's pipe and wait for ever."""
    out, err, sent = bytearray(), bytearray(), 0
    news = select.poll()
    news.register(channel.fileno(), select.POLLIN)
    channel.settimeout(0.0)
    while True:
        if sent < len(given) and channel.send_ready():
            with contextlib.suppress(TimeoutError):
                sent += channel.send(given[sent : sent + _PART]) or len(given)
        if sent >= len(given):
            channel.shutdown_write()
        is_over, is_whole = channel.closed or channel.exit_status_ready(), channel.eof_received
        while channel.recv_ready():
            out += channel.recv(_PART)
        while channel.recv_stderr_ready():
            err += channel.recv_stderr(_PART)
        if len(out) + len(err) > _OUTPUT_LIMIT:
            raise InvalidInput(f"the command says more than {_OUTPUT_LIMIT // 1_000_000} MB", hint="ask for less")
        if is_over and is_whole:
            return Answer(channel.recv_exit_status(), out.decode(errors="replace"), err.decode(errors="replace"))
        if channel.closed and not channel.eof_received:
            raise EOFError("in mid-command")
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if sent < len(given):
            left = 0.0 if channel.send_ready() else min(left, 0.02)  # nothing tells when the other side takes more
        if is_whole:
            channel.status_event.wait(left)
        else:
            news.poll(left * 1000)


def _abandon(channel: paramiko.Channel) -> None:
    """Wakes whoever waits for it, without a word to the other side, which may not listen."""
    with contextlib.suppress(Exception):
        channel._unlink()


def _words(error: BaseException) -> str:
    return clean(str(error) or type(error).__name__, 200)
