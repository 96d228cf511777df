"""A guest's serial line over a libvirt stream, on a connection of its own. The event loop's thread takes what comes; readers only wait."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from fleet_tui.backend.errors import FleetError, TimedOut, Unreachable
from fleet_tui.backend.hypervisors.libvirt_link import Link

_KEPT = 1_000_000
"""Bytes that wait for a reader; with more the guest's line is held until some were read."""
_PART = 65_536
_WRITE_S = 10.0
_WOULD_BLOCK = -2


class LibvirtConsole:
    """Implements :class:`Console`."""

    def __init__(self, link: Link, guest_id: str, name: str) -> None:
        self._libvirt, self._link, self._name = link.libvirt, link, name
        self._news = threading.Condition()
        self._heard = bytearray()
        self._has_ended = self._is_held = False
        self._stream = link.call(link.connection.newStream, self._libvirt.VIR_STREAM_NONBLOCK)
        domain = link.call(link.connection.lookupByUUIDString, guest_id)
        link.call(domain.openConsole, None, self._stream, 0, what="open the console")
        self._stream.eventAddCallback(self._events, self._happened, None)

    @property
    def _events(self) -> int:
        stream = self._libvirt
        found = stream.VIR_STREAM_EVENT_ERROR | stream.VIR_STREAM_EVENT_HANGUP
        return int(found if self._is_held else found | stream.VIR_STREAM_EVENT_READABLE)

    def read(self, timeout_s: float) -> bytes:
        with self._news:
            self._news.wait_for(lambda: self._heard or self._has_ended, timeout_s)
            found = bytes(self._heard)
            self._heard.clear()
            if not found and self._has_ended:
                raise self._ended()
            is_held, self._is_held = self._is_held, False
        if is_held:
            with contextlib.suppress(self._libvirt.libvirtError):
                self._stream.eventUpdateCallback(self._events)
        return found

    def write(self, data: bytes) -> None:
        deadline = time.monotonic() + _WRITE_S
        while data:
            if self._has_ended:
                raise self._ended()
            try:
                sent = self._link.call(self._stream.send, data)
            except FleetError:
                raise self._ended() from None
            if sent == _WOULD_BLOCK:
                if time.monotonic() > deadline:
                    raise TimedOut(f"{self._name} takes nothing on its serial line", hint="is it still running?", reason="no-rpc")
                with self._news:
                    self._news.wait(0.02)
            else:
                data = data[sent:]

    def close(self) -> None:
        with self._news:
            self._has_ended = True
            self._news.notify_all()
        with contextlib.suppress(self._libvirt.libvirtError):
            self._stream.eventRemoveCallback()
        with contextlib.suppress(FleetError):
            self._link.call(self._stream.abort)
        self._link.close()

    def _happened(self, stream: Any, events: int, nothing: Any) -> None:
        """In the event loop's thread."""
        with self._news:
            try:
                while len(self._heard) < _KEPT:
                    part = stream.recv(_PART)
                    if part == _WOULD_BLOCK:
                        break
                    if not part:
                        self._has_ended = True
                        break
                    self._heard += part
                else:
                    self._is_held = True
            except self._libvirt.libvirtError:
                self._has_ended = True
            self._has_ended |= bool(events & (self._libvirt.VIR_STREAM_EVENT_ERROR | self._libvirt.VIR_STREAM_EVENT_HANGUP))
            with contextlib.suppress(self._libvirt.libvirtError):
                if self._has_ended:
                    stream.eventRemoveCallback()
                elif self._is_held:
                    stream.eventUpdateCallback(self._events)
            self._news.notify_all()

    def _ended(self) -> Unreachable:
        return Unreachable(f"the console of {self._name} has ended", hint="is it still running?", reason="no-service")
