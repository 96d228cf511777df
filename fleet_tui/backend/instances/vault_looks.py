"""Whether the secrets are there that machines read with their own role: looked at from here as far as the site may (spec 5.3), never opened.

What is in them, and whether a key belongs to its certificate, only the agent sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, Problem
from fleet_tui.backend.instances import ssl_settings
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.providers import Providers, SeesSecrets

FIELDS = frozenset({*ssl_settings.SECRETS, ssl_settings.STORAGE, "virtual_network"})
"""Whose change is worth a look."""


@dataclass(frozen=True, slots=True)
class Named:
    """Secrets that an instance's settings name."""

    provider: str
    region: str
    secrets: tuple[tuple[str, str], ...]
    """(field, name or ARN)."""


def named(tx: Session, row: InstanceRow) -> Named | None:
    """What there is to look at; ``None`` where its key is elsewhere."""
    network = tx.get_one(NetworkRow, row.network_id)
    values: Mapping[str, Any] = row.settings
    storage = values.get(ssl_settings.STORAGE)
    if network.https_strategy != "per_instance" or storage not in ssl_settings.IN_VAULT:
        return None
    fields = ssl_settings.SECRETS if storage == "vault_bundle" else ssl_settings.SECRETS[:1]
    secrets = tuple((name, str(values[name])) for name in fields if values.get(name))
    return Named(network.provider, network.region, secrets) if secrets else None


def look(providers: Providers, wanted: Named) -> Iterator[tuple[Problem, bool]]:
    """(problem, whether that is certain) for each secret that was not seen to be there. Asks the cloud, so outside of any transaction."""
    try:
        provider = providers.named(wanted.provider)
    except FleetError as error:
        yield Problem(wanted.secrets[0][0], f"{wanted.secrets[0][1]} was not looked at: {error.message}"), False
        return
    if not isinstance(provider, SeesSecrets):
        return
    for field, secret in wanted.secrets:
        try:
            if problem := provider.secret_problem(secret, wanted.region):
                yield Problem(field, problem), True
        except FleetError as error:
            yield Problem(field, f"{secret} could not be looked at from here ({error.message}); the machine reads it with its own role"), False
