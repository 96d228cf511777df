"""The site's account with a cloud: who we are there, the key that secrets are sealed under, what new machines are made from. The face only.

One account a site. What is set up here is what :mod:`fleet_tui.backend.providers.aws` makes machines with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.records import dataclass

AUTHENTICATIONS = ("same_as_control_plane", "iam_role", "keypair")
"""As whom this daemon calls: as whatever it runs as, in a role it takes, or with an access key."""
DEFAULT_IMAGE = "resolve:ssm:/aws/service/debian/release/12/latest/amd64"
DEFAULT_MACHINE_TYPE = "t3.medium"


@dataclass(frozen=True, slots=True)
class CloudCheck:
    """One thing that was tried."""

    name: str
    verdict: str
    """``ok``, ``warning`` or ``failed``."""
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudRecord:
    """The account as it is set up. No secret is in it."""

    provider: str
    """``aws``; empty while there is no account, and then every field is a default."""
    region: str
    authentication: str
    role_arn: str
    access_key_id: str
    has_secret_key: bool
    endpoint: str
    aws_cmk_id: str
    """As it was typed: key id, ARN or alias."""
    cmk_arn: str
    """The key it names."""
    machine_image: str
    machine_type: str
    site: str
    """What everything the site makes there is tagged with."""
    account: str
    """Number of the account, as AWS told it."""
    identity: str
    """Who we are there, as AWS told it."""
    tested_at: datetime | None
    sealed: Mapping[str, int]
    """Stored secrets by the key they are sealed under; ``master key`` for the site's own file."""
    rewrap_id: str | None
    """The operation that moves them to the present key, while there is one."""
    version: int
    permissions: tuple[str, ...]
    """Everything the site's identity there must be allowed."""
    steps: tuple[str, ...]
    """How to make key, role and secret."""


@dataclass(frozen=True, slots=True)
class ShowCloud:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUpCloud:
    """Register the account, or change it. What is ``None`` stays as it is. Tried before it is saved: what fails is refused (spec 5.4)."""

    region: str | None = None
    authentication: str | None = None
    role_arn: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    """Write-only."""
    endpoint: str | None = None
    aws_cmk_id: str | None = None
    machine_image: str | None = None
    machine_type: str | None = None
    version: int = 0
    """The one the form was made from; 0 takes whatever is on record."""


@dataclass(frozen=True, slots=True)
class TestAccount:
    """Try the account as it is on record: who we are there, whether machines can be asked for, the key where one is set up. Changes nothing."""

    __test__ = False
    """Not for pytest."""


@dataclass(frozen=True, slots=True)
class AccountVerdict:
    """How the account did. ``passed`` with warnings is passed."""

    identity: str
    """Who we are there now; empty when AWS does not tell."""
    passed: bool
    checks: tuple[CloudCheck, ...]


@dataclass(frozen=True, slots=True)
class RemoveCloud:
    """Forget the account, with its secret key. Nothing is removed in the cloud itself."""

    target: str
    """Number of the account."""
    confirm: str = ""
    """The number, typed. Anything else is refused."""


@dataclass(frozen=True, slots=True)
class TestKey:
    """Try a key: describe it, encrypt and decrypt a random value. The one that is set up when empty."""

    __test__ = False
    """Not for pytest."""

    aws_cmk_id: str = ""


@dataclass(frozen=True, slots=True)
class KeyVerdict:
    """How a key did. ``passed`` with warnings is passed."""

    key: str
    passed: bool
    checks: tuple[CloudCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrapKeys(OperationRequest):
    """Move every stored secret to the key that is set up now."""

    target: str = "cloud"
