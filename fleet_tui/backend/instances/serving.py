"""What an agent is told about serving over HTTPS, and where plain HTTP is answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fleet_tui.backend.certificates.keys import key_id_of
from fleet_tui.backend.instances import ssl_settings
from fleet_tui.backend.instances.links import NETWORK_COPY
from fleet_tui.backend.instances.rows import InstanceRow


def certificate_section(row: InstanceRow, settings: Mapping[str, Any], strategy: str, directory: str, region: str) -> dict[str, Any]:
    """What the agent needs for its strategy. No private key is in it: that is fetched when it is needed.

    Args:
        directory: URL of the ACME directory.
        region: of the cloud, where secrets are.
    """
    section: dict[str, Any] = {"strategy": strategy, "common_name": row.label, "names": [row.host_name, *settings.get("domains", [])]}
    if strategy == "self_signed":
        section["sans"] = subject_alternative_names(row, settings.get("ssl.sans", []))
    elif strategy == "per_instance":
        section |= {
            "key_storage": settings.get(ssl_settings.STORAGE, "inline_encrypted"), "certificate_pem": settings.get(ssl_settings.CERTIFICATE, ""),
            "key_id": key_id_of(str(settings.get(ssl_settings.KEY) or "")), "secret_id": settings.get("ssl.secret_id", ""),
            "password_secret_id": settings.get("ssl.password_secret_id", ""), "vault_region": region,
        }
    elif strategy == "letsencrypt":
        section |= {"domains": list(settings.get("domains", [])), "directory": directory}
    return section


def subject_alternative_names(row: InstanceRow, extra: Iterable[str]) -> list[str]:
    """Addresses the instance is known by, then the names given, each once."""
    names = [row.private_ip, row.public_ip, row.host_name, *extra]
    return list(dict.fromkeys(name for name in names if name))


def url_of(row: InstanceRow, settings: Mapping[str, Any]) -> str:
    """Where people are sent when its machine has these settings, with the copy of the network: to the domain that its certificate is for, else to
    the public address where it has one, else to the private one; and to an address by the name that the network gave it.
    """
    network = settings[NETWORK_COPY]
    domains = settings.get("domains") if network["https_strategy"] == "letsencrypt" else ()
    zone = network["public_zone_id" if row.public_ip else "private_zone_id"]
    name = row.host_name if network["dns_strategy"] == "cloud_dns" and zone else ""
    scheme = "http" if network["https_strategy"] == "none" else "https"
    host = domains[0] if domains else name or row.public_ip or row.private_ip or ""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{row.port}' if row.port else ''}/"


def answers_http(strategy: str, http_mode: str) -> bool:
    """Whether something listens for plain HTTP beside the application: a redirect, or the proofs of an ACME order."""
    return strategy == "letsencrypt" or (strategy != "none" and http_mode == "redirect")
