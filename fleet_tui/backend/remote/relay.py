"""A Unix socket here that is the input and output of a command on another machine.

For programs and libraries that want a socket, where only SSH leads: they connect to `Relay.path` and talk to the command. The socket lies
in a folder that only we can enter, takes one client, and is gone as soon as that has come.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PART = 65_536


class Relay:
    """Two threads that carry bytes until either side ends."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._folder = Path(tempfile.mkdtemp(prefix="fleet-"))
        self.path = str(self._folder / "socket")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._client: socket.socket | None = None
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self.said = ""
        """What the command said on its error output: why it ended, when it did by itself."""
        threading.Thread(target=self._serve, name="relay", daemon=True).start()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Whether it closes within so long."""
        return self._closed.wait(timeout_s)

    def close(self) -> None:
        """Whoever waits for a byte is told the end, at once. Does not block."""
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)
        shutil.rmtree(self._folder, ignore_errors=True)
        threading.Thread(target=self._say_goodbye, name="relay-end", daemon=True).start()  # which may block

    def _say_goodbye(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._channel.close()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            self.close()
            return
        with client:
            self._client = client
            shutil.rmtree(self._folder, ignore_errors=True)
            back = threading.Thread(target=self._carry, args=(self._channel.recv, client.sendall), name="relay-back", daemon=True)
            back.start()
            self._carry(client.recv, self._channel.sendall)
            back.join()

    def _carry(self, take: Callable[[int], bytes], give: Callable[[bytes], Any]) -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := take(_PART):
                give(data)
        with contextlib.suppress(OSError, EOFError):
            while not self.said and self._channel.recv_stderr_ready():
                self.said = self._channel.recv_stderr(4096).decode(errors="replace")
        self.close()
