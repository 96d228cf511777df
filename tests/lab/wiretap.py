"""What passes one end of a cable: frames with their 802.1Q tags, seen by a raw socket."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType

_ALL = 0x0003
_SOL_PACKET, _AUXDATA, _VLAN_VALID = 263, 8, 1 << 4
_IPV4, _TAG, _ICMP = 0x0800, 0x8100, 1


@dataclass(frozen=True, slots=True)
class Echo:
    """An ICMP echo, or its reply."""

    source: str
    destination: str
    tag: int
    """VLAN ID; 0 for none."""


class Wiretap:
    """Listens while the block runs. The kernel takes the tag of a frame off before we get it, and tells it beside the frame."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        self._socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        self._socket.bind((device, 0))
        self._socket.settimeout(0.2)

    def __enter__(self) -> Wiretap:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def echoes(self) -> set[Echo]:
        """Of the next moment: what came until nothing did, or two hundred frames."""
        found: set[Echo] = set()
        for _ in range(200):
            try:
                frame, beside, _, _ = self._socket.recvmsg(2048, 256)
            except TimeoutError:
                break
            if (echo := _echo(frame, beside)) is not None:
                found.add(echo)
        return found


def _echo(frame: bytes, beside: list[tuple[int, int, bytes]]) -> Echo | None:
    tag = 0
    for level, kind, data in beside:
        if (level, kind) == (_SOL_PACKET, _AUXDATA):
            status, _, _, _, _, control, _ = struct.unpack_from("=IIIHHHH", data)
            tag = control & 0x0FFF if status & _VLAN_VALID else 0
    (kind,), rest = struct.unpack_from("!H", frame, 12), 14
    if kind == _TAG:
        tag, kind, rest = struct.unpack_from("!H", frame, 14)[0] & 0x0FFF, struct.unpack_from("!H", frame, 16)[0], 18
    if kind != _IPV4 or len(frame) < rest + 20 or frame[rest + 9] != _ICMP:
        return None
    return Echo(socket.inet_ntoa(frame[rest + 12:rest + 16]), socket.inet_ntoa(frame[rest + 16:rest + 20]), tag)
