"""Certificate and key that a person gave: fetched over this machine's own channel, checked here, kept on the OS disk as long as it lives."""

from __future__ import annotations

from typing import Any, Mapping

from fleet_tui.agent import vault
from fleet_tui.agent.failures import DoorRefused, Failure
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.pairs import Pair, fingerprint

_PHASE = "certificate"


def settle(machine: Machine, wanted: Mapping[str, Any]) -> Pair:
    """The pair in place, fetched anew at every start-up.

    Raises:
        Failure: it cannot be had, or is no pair; what was in place before is as it was.
    """
    folder = machine.layout.certificates
    folder.mkdir(mode=0o700, exist_ok=True)
    pair = Pair(folder, "per-instance")
    pair.finish_interrupted()
    storage = str(wanted.get("key_storage") or "inline_encrypted")
    if storage == "inline_encrypted":
        certificate, key = str(wanted.get("certificate_pem") or ""), _entered_key(machine, wanted)
    elif storage == "secret_manager":
        certificate, key = str(wanted.get("certificate_pem") or ""), vault.fetch_key(wanted)
    elif storage == "vault_bundle":
        certificate, key = vault.fetch_bundle(wanted, folder)
    else:
        raise Failure(f"this agent does not know the key storage {storage!r}")
    pair.replace(certificate, key)
    machine.journal.say(_PHASE, f"certificate of the settings in place, its key from {_WORDS[storage]}: {fingerprint(pair.certificate)}")
    return pair


_WORDS = {"inline_encrypted": "the control plane", "secret_manager": "the secret manager", "vault_bundle": "the vault, with its chain"}


def _entered_key(machine: Machine, wanted: Mapping[str, Any]) -> str:
    try:
        reply = machine.ask("agent.material", {"key_id": str(wanted.get("key_id") or "")})
    except DoorRefused as error:
        raise Failure(f"the control plane gives no key: {error.message}") from error
    sealed = str(reply.get("sealed") or "")
    return vault.opened(wanted, sealed) if sealed else str(reply.get("private_key_pem") or "")
