"""What can be set on a template beside its setup actions: one table, as :mod:`fields` is for instances (spec 4.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fleet_tui.backend.errors import Problem
from fleet_tui.backend.instances.fields import Field, label_complaint, machine_type_complaint, parsed_values

_ARN = re.compile(r"arn:aws(-[a-z]+){0,3}:iam::\d{12}:instance-profile/([\x21-\x2e\x30-\x7e]+/)*[A-Za-z0-9_+=,.@-]{1,128}\Z")
_APPLICATION = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_PAIR = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?\Z")
_PUBLIC_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]{40,}( [^\n]*)?\Z")
SECRETS = ("license_override", "api_key_secret")
"""Fields that are sealed, and that nobody is ever told."""


def profile_complaint(value: str) -> str:
    """What is wrong with the ARN of an instance profile; empty when nothing is."""
    if not value or _ARN.match(value):
        return ""
    if ":role/" in value:
        return "that is the ARN of a role; give that of its instance profile (…:instance-profile/NAME)"
    return f"{value[:60]!r} is not the ARN of an instance profile (arn:aws:iam::123456789012:instance-profile/NAME)"


def public_keys(text: str) -> list[str]:
    """SSH public keys, one a line; lines that are empty or comments are left out."""
    return [line for word in text.splitlines() if (line := word.strip()) and not line.startswith("#")]


def keys_complaint(text: str) -> str:
    """What is wrong with SSH public keys, one a line, with the line; empty when nothing is."""
    if "PRIVATE KEY" in text:
        return "that is a private key; give the public one"
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if word and not word.startswith("#") and not _PUBLIC_KEY.match(word):
            return f"line {number} is no SSH public key"
    return ""


FIELDS: tuple[Field, ...] = (
    Field("label", "Label", "General", "text", "L", "", "1 to 63 letters, digits, '-', '_', space; unique", check=label_complaint),
    Field("application", "Application", "General", "choice", "R", "hello-app", choices=(), help="what its instances run",
          check=lambda value: "" if _APPLICATION.match(value) else f"{value[:60]!r} is no name of an application"),
    Field("machine_type", "Machine type", "General", "text", "R", "", help="for instances that name none; empty for the provider's own choice",
          check=machine_type_complaint, is_made=True),
    Field("license_override", "License", "General", "secret", "R", "", help="instead of the site's; kept sealed"),
    Field("ssh_key_pair", "Key pair", "Access", "text", "R", "", help="name of a key pair the cloud has", is_made=True,
          check=lambda value: "" if not value or _PAIR.match(value) else "a name of 1 to 255 printable characters is needed"),
    Field("authorized_keys", "Authorised keys", "Access", "multiline", "R", "", "SSH public keys, one a line", maximum=32768, check=keys_complaint),
    Field("startup_profile_arn", "Start-up profile", "Cloud", "text", "R", "", help="instance profile while starting up", check=profile_complaint,
          is_made=True),
    Field("runtime_profile_arn", "Runtime profile", "Cloud", "text", "R", "", help="instance profile while running", check=profile_complaint,
          is_made=True),
    Field("restrict_metadata_access", "Restrict metadata", "Cloud", "bool", "R", True, help="keep the application off the metadata service",
          is_made=True),
    Field("api_access_mode", "API access", "API", "choice", "R", "none", choices=("none", "keypair"), help="how instances call the cloud"),
    Field("api_key_storage", "Key is kept", "API", "choice", "R", "none", choices=("none", "inline_encrypted", "secret_manager")),
    Field("api_key_id", "Key id", "API", "text", "R", "",
          check=lambda value: "" if not value or re.fullmatch(r"[A-Za-z0-9]{16,128}", value) else "16 to 128 letters and digits are needed"),
    Field("api_key_secret", "Secret key", "API", "secret", "R", "", help="kept sealed"),
    Field("api_secret_id", "Secret", "API", "text", "R", "", help="name or ARN in the cloud's secret manager",
          check=lambda value: "" if not value or re.fullmatch(r"[A-Za-z0-9/_+=.@:-]{1,512}", value) else f"{value[:40]!r} is no name of a secret"),
)

BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}


def defaults() -> dict[str, Any]:
    """Values a new template starts with."""
    return {field.name: field.default for field in FIELDS}


def problems_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Every value parsed, and everything wrong with any of them by themselves and together, at once."""
    parsed, problems = parsed_values(values, BY_NAME)
    wrong = {problem.field for problem in problems}
    problems += [problem for problem in _together(parsed) if problem.field not in wrong]
    return parsed, problems


def _together(values: Mapping[str, Any]) -> list[Problem]:
    storage = values.get("api_key_storage", "none")
    needed = {
        "inline_encrypted": ("api_key_id", "api_key_secret"), "secret_manager": ("api_secret_id",),
    }.get(storage, ())
    if values.get("api_access_mode") != "keypair":
        said = [name for name in ("api_key_id", "api_key_secret", "api_secret_id") if values.get(name)]
        return [Problem(name, "means nothing unless API access is by key pair") for name in said] + (
            [Problem("api_key_storage", "means nothing unless API access is by key pair")] if storage != "none" else []
        )
    problems = [Problem(name, f"is needed when the key is kept {storage}") for name in needed if not values.get(name)]
    for name in ("api_key_id", "api_key_secret", "api_secret_id"):
        if values.get(name) and name not in needed and not (name == "api_key_id" and storage == "secret_manager"):
            problems.append(Problem(name, f"means nothing when the key is kept {storage}"))
    return problems
