"""What can be done with the site's cloud account, with certificates of the board, with cloud images, and with orphans."""

from __future__ import annotations

from typing import Any

from fleet_tui.actions.row import Action, verb, view
from fleet_tui.backend.api import METHODS

MASTER = "master key"
"""What secrets under the site's own key are counted as."""


def waiting(row: Any) -> int:
    """Stored secrets that are under another key than new ones would be."""
    return sum(number for key, number in row.sealed.items() if key != row.cmk_arn) if row.cmk_arn else 0


def _account(row: Any) -> str:
    return "the account has not come yet" if row is None else "" if row.provider else "there is no account yet; e sets it up"


def _rewrap(row: Any) -> str:
    if said := _account(row):
        return said
    if not row.cmk_arn:
        return "no key is chosen; e chooses one"
    if row.rewrap_id:
        return "it is under way already; o shows it"
    return "" if waiting(row) else "every stored secret is under that key"


def _renewable(row: Any) -> str:
    if row is None:
        return "no certificate is selected"
    if row.kind == "letsencrypt":
        return ""
    return {
        "self_signed": "a self-signed one is made anew by a reprovision", "per_instance": "it was given by hand; a new one goes into the settings",
        "agent_door": "fleetd makes it anew by itself",
    }.get(row.kind, "nobody renews it")


def _image(row: Any) -> str:
    return "no image is selected" if row is None else ""


def _orphan(row: Any) -> str:
    return "nothing is selected" if row is None else ""


CLOUD = (
    verb("cloud.setup", "Set up", "e", "cloud.setup", "account, region, log-in, key, endpoint; tried before it is saved", aims="cloud",
         words=("cloud-setup",), asks=True),
    verb("cloud.test", "Test", "T", "cloud.test", "try the account and its key as they are; changes nothing", _account, aims="cloud", asks=True,
         words=("test-account",)),
    verb("cloud.test-key", "Test a key", "K", "cloud.test-key", "describe it, encrypt and decrypt a random value", _account, aims="cloud",
         words=("test-key",), asks=True),
    verb("cloud.rewrap", "Re-wrap secrets", "R", "kms.rewrap", "move every stored secret to the key that is set up", _rewrap, aims="cloud",
         words=("rewrap",), asks=True),
    view("cloud.operations", "Operations", "o", "re-wraps of secrets, with their steps", aims="cloud"),
)

CERTIFICATE = (
    Action("certificate.renew", "Renew now", "certificate", ("R",), "verb", "instance.renew-certificate",
           lambda row, rid: METHODS["instance.renew-certificate"].request(target=row.ref, request_id=rid),
           "have it issued anew now; the present one serves until then", reason=_renewable, aims="certificate", bulk=True),
    view("certificate.operations", "Operations", "o", "operations of its instance", aims="certificate"),
)  # fmt: skip

CLOUD_IMAGE = (
    verb("cloud_image.new", "Register image", "n", "cloud-images.register", "a qcow2 with cloud-init, on storage that all hosts of a zone share",
         words=("new-image",), asks=True),
    Action("cloud_image.remove", "Remove image", "cloud_image", (), "verb", "cloud-images.remove",
           lambda row, _rid: METHODS["cloud-images.remove"].request(row.id), "take it from the register; its file stays", reason=_image,
           aims="cloud_image", words=("remove-image",)),
)  # fmt: skip

ORPHAN = (
    Action("orphan.remove", "Remove", "orphan", (), "verb", "orphan.remove",
           lambda row, rid: METHODS["orphan.remove"].request(target=row.id, kind=row.kind, provider=row.provider, region=row.region, request_id=rid),
           "end the machine, or erase the data disk or snapshot, for good", reason=_orphan, aims="orphan", words=("remove-orphan",)),
)  # fmt: skip
