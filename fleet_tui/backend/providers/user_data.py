"""What a machine in a cloud is given at its birth: one small program with its orders in it, which brings everything else in through the door."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.providers import BootConfiguration

LIMIT = 16 * 1024
"""Bytes of user data that AWS takes."""
ORDERS = "FLEET_ORDERS = "


def user_data(configuration: BootConfiguration, volume: str) -> str:
    """A program for ``cloud-init``, with the machine's one-time token in it.

    Args:
        volume: what the provider calls the data disk; empty when there is none.

    Raises:
        InvalidInput: it is more than AWS takes.
    """
    orders = {
        "machine": configuration.machine, "token": configuration.token, "door": configuration.door, "ca_pem": configuration.ca_pem,
        "volume": volume,
    }
    text = f"#!/usr/bin/env python3\n{ORDERS}{json.dumps(orders)}\n{_program()}"
    if len(text.encode()) > LIMIT:
        raise InvalidInput(
            f"the orders of machine {configuration.machine} take {len(text.encode())} bytes, AWS takes {LIMIT}",
            hint="give the door fewer addresses, or its authority a shorter certificate",
        )
    return text


def orders_in(text: str) -> dict[str, str]:
    """The orders in a machine's user data, as its program reads them."""
    line = next(line for line in text.splitlines() if line.startswith(ORDERS))
    found: dict[str, str] = json.loads(line[len(ORDERS):])
    return found


@lru_cache(maxsize=1)
def _program() -> str:
    return (files("fleet_tui.agent") / "arrival.py").read_text(encoding="utf-8")
