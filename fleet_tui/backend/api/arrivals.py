"""What a machine far away is brought in with, in pieces: the agent's archive and the application's bundle."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

from fleet_tui.backend.errors import InvalidInput, NotFound, Problem
from fleet_tui.backend.providers.archive import agent_archive
from fleet_tui.backend.telemetry import Fetch, Fetched
from fleet_tui.backend.telemetry.agents import Agents

PIECE = 1024 * 1024
"""Bytes in one answer."""


def fetch(agents: Agents, images: Path, request: Fetch) -> Fetched:
    """A piece, for whoever has the machine's token.

    Raises:
        AuthFailed: unknown machine, or another token.
        NotFound: the bundle is gone from the register.
    """
    document = agents.expected(request.machine, request.token)
    if request.offset < 0 or request.part not in ("agent", "bundle"):
        raise InvalidInput("there is no such part", problems=[Problem("part", "agent or bundle, from offset 0 on")])
    if request.part == "agent":
        archive = agent_archive()
        return Fetched(_piece(archive[request.offset:request.offset + PIECE]), len(archive), _digest(archive))
    digest = str(document["application"]["bundle_sha256"])
    try:
        with (images / f"{digest}.tar").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(request.offset)
            return Fetched(_piece(file.read(PIECE)), size, digest)
    except FileNotFoundError:
        raise NotFound("the application's bundle is gone from the register", hint="register the image again") from None


def _piece(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


@lru_cache(maxsize=1)
def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
