"""What a person sets about certificates: judged when it is saved, and again when a machine is to serve with it (spec 5.3).

In the settings a private key's place is taken by a mark that names its public half; the key itself is sealed elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates import keys
from fleet_tui.backend.cloud.rows import CloudAccountRow
from fleet_tui.backend.errors import Problem
from fleet_tui.backend.instances.network_fields import CLOUD_PROVIDER, unreached
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow, TemplateRow

CERTIFICATE, KEY, STORAGE = "ssl.certificate_pem", "ssl.private_key_pem", "ssl.key_storage"
FIELDS = frozenset({CERTIFICATE, KEY, STORAGE, "ssl.secret_id", "ssl.region", "domains", "public_ip_allocation", "template", "virtual_network"})
"""Fields whose change asks for a look."""
_OF_ORDERS = frozenset({"domains", "public_ip_allocation", "virtual_network"})
IN_VAULT = ("secret_manager", "vault_bundle")
SECRETS = ("ssl.secret_id", "ssl.password_secret_id")
"""Fields that name a secret of the vault."""


@dataclass(slots=True)
class Taken:
    """What became of a save."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    key: tuple[str, str] | None = field(default=None, repr=False)
    """(id, PEM) of a key to be sealed."""


def take(tx: Session, values: dict[str, Any], before: Mapping[str, Any], changed: Collection[str], now: datetime, host_name: str | None) -> Taken:
    """Judge what was changed, and put the final forms into ``values``: certificates alone, a mark for the key."""
    taken = Taken()
    if not FIELDS & set(changed):
        return taken
    network = tx.scalar(select(NetworkRow).where((NetworkRow.label == values["virtual_network"]) | (NetworkRow.id == values["virtual_network"])))
    template = tx.scalar(select(TemplateRow).where((TemplateRow.label == values["template"]) | (TemplateRow.id == values["template"])))
    if CERTIFICATE in changed or KEY in changed:
        _take_material(values, before, changed, now, host_name, taken)
    elif STORAGE in changed and values.get(STORAGE) not in IN_VAULT:
        taken.problems += _foreign_key(values)  # saved while the vault had the key, beside one of before
    if network is not None and network.https_strategy == "per_instance" and values.get(STORAGE) in IN_VAULT:
        taken.problems += _vault_problems(network, template, str(values[STORAGE]))
    if network is not None and taken.key is not None:
        taken.problems += _sealing_problems(tx, network)
    if network is not None and _OF_ORDERS & set(changed):
        taken.warnings += _unreached(network)
    if "ssl.region" in changed and values["ssl.region"]:
        taken.warnings.append(Problem("ssl.region", "is deprecated and ignored: the secret is read in the instance's own region"))
    return taken


def _take_material(
    values: dict[str, Any], before: Mapping[str, Any], changed: Collection[str], now: datetime, host_name: str | None, taken: Taken
) -> None:
    from fleet_tui.backend.certificates import material  # only a site that has such instances pays for it

    certificate, key = str(values.get(CERTIFICATE) or ""), str(values.get(KEY) or "")
    is_new_key = KEY in changed and bool(key)
    if not certificate and not is_new_key:
        values[KEY] = ""  # a key whose certificate is taken out goes with it
        return
    if is_new_key and values.get(STORAGE) in IN_VAULT:
        why = f"with the key storage {values[STORAGE]} the key lives in the vault: leave this empty, or choose inline_encrypted"
        taken.problems.append(Problem(KEY, why))
        values[KEY] = ""
        return
    verdict = material.judge(certificate, now, private_key_pem=key if is_new_key else None, names=[host_name] if host_name else [])
    taken.problems += verdict.refusals
    taken.warnings += verdict.warnings
    values[CERTIFICATE] = verdict.certificate_pem
    if verdict.refusals:
        values[KEY] = ""
        return
    wanted = material.key_id_of_certificate(verdict.certificate_pem)
    if is_new_key:
        taken.key = (wanted, verdict.private_key_pem)
        values[KEY] = keys.mark_of(wanted)
    elif values.get(STORAGE) not in IN_VAULT:
        taken.problems += _foreign_key({CERTIFICATE: verdict.certificate_pem, KEY: before.get(KEY)})


def _foreign_key(values: Mapping[str, Any]) -> list[Problem]:
    """What there is to say of a certificate that was judged before and the mark of a key, when the one is not the other's."""
    from fleet_tui.backend.certificates import material

    certificate, key_id = str(values.get(CERTIFICATE) or ""), keys.key_id_of(str(values.get(KEY) or ""))
    if not certificate or not key_id or material.key_id_of_certificate(certificate) == key_id:
        return []
    return [Problem(KEY, "the private key on record does not belong to this certificate: give the certificate and its key together")]


def _vault_problems(network: NetworkRow, template: TemplateRow | None, storage: str) -> list[Problem]:
    if network.provider != CLOUD_PROVIDER:
        return [Problem(STORAGE, f"instances of {network.label} run on {network.provider}, which has no secret manager: choose inline_encrypted")]
    if template is not None and not template.runtime_profile_arn:
        return [Problem(STORAGE, (
            f"template {template.label} has no runtime_profile_arn, the role with which {storage} is read: set that field of the template first"
        ))]  # fmt: skip
    return []


def _sealing_problems(tx: Session, network: NetworkRow) -> list[Problem]:
    """Spec 5.3: for a machine of the cloud the key is sealed there, so that the machine alone opens it."""
    account = tx.get(CloudAccountRow, CLOUD_PROVIDER) if network.provider == CLOUD_PROVIDER else None
    if network.provider != CLOUD_PROVIDER or (account is not None and account.cmk_arn):
        return []
    return [Problem(KEY, "a key of the cloud seals it, and none is chosen: set the CMK id in Cloud Setup first (`fleet cloud setup --cmk KEY`)")]


def missing(tx: Session, row: InstanceRow, now: datetime) -> list[Problem]:
    """Everything that keeps a machine from serving as the network wants, as far as it can be seen from here; each with its remedy."""
    network = tx.get_one(NetworkRow, row.network_id)
    if network.https_strategy == "per_instance":
        return _missing_material(tx, row, network, now)
    if network.https_strategy == "letsencrypt":
        return _missing_for_letsencrypt(row, network)
    return []


def doubts(tx: Session, row: InstanceRow) -> list[Problem]:
    """What speaks against a certificate, but is for a person to judge: said, not refused."""
    return _unreached(tx.get_one(NetworkRow, row.network_id))


def _unreached(network: NetworkRow) -> list[Problem]:
    """Why Let's Encrypt would not get to the instance, as the network's fields and the last look at its place tell."""
    if network.https_strategy != "letsencrypt":
        return []
    why = unreached(network.https_strategy, network.internet_access)
    closed = [str(found["text"]) for found in network.findings or () if found["field"] == "security_groups" and not found["is_error"]]
    return [Problem("internet_access", f"virtual network {network.label}: {why}")] * bool(why) + [Problem("security_groups", text) for text in closed]


def _missing_material(tx: Session, row: InstanceRow, network: NetworkRow, now: datetime) -> list[Problem]:
    from fleet_tui.backend.certificates import material

    values: Mapping[str, Any] = row.settings
    storage = str(values.get(STORAGE) or "inline_encrypted")
    problems: list[Problem] = []
    certificate = str(values.get(CERTIFICATE) or "")
    if storage != "vault_bundle":
        problems += material.judge(certificate, now).refusals
    if storage in IN_VAULT:
        problems += _vault_problems(network, tx.get(TemplateRow, row.template_id), storage)
        if not values.get("ssl.secret_id"):
            problems.append(Problem("ssl.secret_id", "no secret is named: set its name or ARN"))
        return problems
    key_id = keys.key_id_of(str(values.get(KEY) or ""))
    if not key_id or not keys.is_kept(tx, f"instance:{row.id}", key_id):
        problems.append(Problem(KEY, "a private key is needed: set it together with its certificate"))
    else:
        problems += _sealing_problems(tx, network)
        if not any(problem.field == CERTIFICATE for problem in problems):
            problems += _foreign_key(values)
    return problems


def _missing_for_letsencrypt(row: InstanceRow, network: NetworkRow) -> list[Problem]:
    problems = []
    if not network.contact_mail:
        problems.append(Problem("contact_mail", f"virtual network {network.label} has no contact mail, which Let's Encrypt wants: set it there"))
    if network.internet_access == "no":
        problems.append(Problem("internet_access", f"virtual network {network.label} cannot be reached from outside: set internet_access to yes"))
    if not row.settings.get("domains"):
        problems.append(Problem("domains", "no domain is named: add one whose A record is the public address"))
    if not row.settings.get("public_ip_allocation"):
        problems.append(Problem("public_ip_allocation", "no public address is reserved: domains need one that stays"))
    return problems
