"""What an administrator is told to allow is what the product asks for."""

from __future__ import annotations

import re
from pathlib import Path

from fleet_tui.backend.cloud.guidance import PERMISSIONS, STEPS

BACKEND = Path(__file__).parents[3] / "fleet_tui/backend"
BESIDES = {"iam:PassRole", "kms:CreateGrant", "kms:GenerateDataKeyWithoutPlaintext", "ec2:CreateTags"}
"""What a call needs besides its own action."""


def asked() -> set[str]:
    """Every call in the sources, as the SDK names it."""
    files = [*(BACKEND / "cloud").glob("*.py"), *(BACKEND / "providers").glob("aws*.py")]
    text = "\n".join(file.read_text() for file in files)
    return set(re.findall(r'\b(?:call|pages|find)\(\s*"([a-z_]+)"', text))


def action(call: str) -> str:
    return "".join(word.capitalize() for word in call.split("_"))


def test_every_call_is_in_the_policy_and_nothing_else() -> None:
    allowed = {permission.partition(":")[2] for permission in PERMISSIONS}
    wanted = {action(call) for call in asked()} - {"ReEncrypt"} | {"ReEncryptFrom", "ReEncryptTo"}
    assert len(wanted) > 40 and not wanted - allowed, wanted - allowed
    assert not {p for p in PERMISSIONS if p.partition(":")[2] not in wanted} - BESIDES
    assert len(PERMISSIONS) == len(set(PERMISSIONS)) and list(PERMISSIONS) == sorted(PERMISSIONS, key=str.lower) and len(STEPS) > 4
