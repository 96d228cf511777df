"""Calls to AWS: who we are there, patience with its limits, and its refusals in our words. The only importer of boto3.

Throttled and broken calls are repeated by the SDK itself (exponential, with jitter); what comes out of here as an error has been
tried :data:`ATTEMPTS` times, and names the permission where one is missing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore import exceptions as sdk
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.session import Session as SdkSession
from botocore.session import get_session

from fleet_tui.backend.errors import (
    AuthFailed,
    Busy,
    FleetError,
    InvalidInput,
    NoCapacity,
    NotFound,
    PermissionDenied,
    TimedOut,
    Unreachable,
    WrongState,
)
from fleet_tui.backend.text import clean

ATTEMPTS = 8
CONNECT_S, READ_S = 10.0, 60.0
ROLE_S = 3600
"""How long an assumed role lasts before it is taken anew."""
_SAID = 400
"""Characters kept of what AWS says."""
_DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "OperationNotPermitted", "NotAuthorized"})
_UNKNOWN = frozenset({
    "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException",
    "InvalidSignatureException", "MissingAuthenticationToken", "OptInRequired",
})
_CHANGED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_THROTTLED = frozenset({
    "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "TooManyRequestsException",
    "PriorRequestNotComplete", "EC2ThrottledException", "SlowDown",
})
RESTING = frozenset({"IncorrectModificationState", "VolumeModificationRateExceeded"})
"""A volume that is being changed, or was a few hours ago, is not changed again."""
_FULL = re.compile(r"Insufficient|LimitExceeded|QuotaExceeded|MaxSpotInstanceCount|ReservedCapacity")
_HELD = frozenset({
    "VolumeInUse", "DependencyViolation", "InvalidGroup.InUse", "InvalidNetworkInterface.InUse", "Resource.AlreadyAssociated",
    "InvalidIPAddress.InUse", "ConcurrentModification", "OperationAborted", "ConflictException",
})
_STATE = re.compile(r"IncorrectState|IncorrectInstanceState|IdempotentParameterMismatch|Disabled|KMSInvalidState|InvalidRequestException|Duplicate")
_GONE = re.compile(r"NotFound|NoSuch|Unknown$")
_SECRETS = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{12,}\b|[Ee]ncoded authorization failure message: *\S+")


@dataclass(frozen=True, slots=True)
class Access:
    """How we prove who we are. ``endpoint``: another address than Amazon's own, for every service."""

    region: str
    authentication: str = "same_as_control_plane"
    """Or ``iam_role``, ``keypair``."""
    role_arn: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    endpoint: str = ""

    def __repr__(self) -> str:
        return f"Access({self.region}, {self.authentication})"


class Session:
    """Clients of one account, made when first used. Safe to use from any thread."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.is_refused = False
        """Its credentials were not taken, or could not be had: others may be there by now, and whoever opens one reads them anew."""
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Client] = {}
        self._boto: boto3.Session | None = None

    def client(self, service: str, region: str = "") -> Client:
        """Of a service (``ec2``, ``kms``) in a region, the account's own when empty."""
        key = (service, region or self.access.region)
        with self._lock:
            if key not in self._clients:
                try:
                    self._clients[key] = Client(service, key[1], self._open(service, key[1]), self._look_at)
                except (sdk.BotoCoreError, ValueError) as problem:
                    raise self._look_at(_not_sent(problem, service)) from problem
            return self._clients[key]

    def _look_at(self, error: FleetError) -> FleetError:
        # That a region is not opted in says nothing about credentials.
        self.is_refused |= isinstance(error, AuthFailed) and error.details.get("aws") not in ("OptInRequired", *_CHANGED)
        return error

    def _open(self, service: str, region: str) -> Any:
        if self._boto is None:
            self._boto = self._signed()
        return self._boto.client(service, region_name=region, endpoint_url=self.access.endpoint or None, config=_config())

    def _signed(self) -> boto3.Session:
        access = self.access
        if access.authentication == "keypair":
            return boto3.Session(access.access_key_id, access.secret_access_key, region_name=access.region)
        if access.authentication == "iam_role":
            return boto3.Session(botocore_session=_as_role(access), region_name=access.region)
        return boto3.Session(region_name=access.region)


class Client:
    """One service in one region. ``look_at`` sees every error before it is raised."""

    def __init__(self, service: str, region: str, client: Any, look_at: Callable[[FleetError], FleetError] = lambda error: error) -> None:
        self.service, self.region = service, region
        self._client, self._look_at = client, look_at

    def call(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """One call, ``run_instances`` for example. Raises :class:`FleetError` kinds; ``details["aws"]`` has Amazon's own code."""
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        except sdk.ClientError as refusal:
            raise self._look_at(refused(refusal, self.service)) from refusal
        except sdk.BotoCoreError as problem:
            raise self._look_at(_not_sent(problem, self.service)) from problem
        return answer

    def pages(self, operation: str, key: str, /, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Every entry under ``key`` of every page."""
        try:
            for page in self._client.get_paginator(operation).paginate(**parameters):
                yield from page.get(key, ())
        except sdk.ClientError as refusal:
            raise self._look_at(refused(refusal, self.service)) from refusal
        except sdk.BotoCoreError as problem:
            raise self._look_at(_not_sent(problem, self.service)) from problem


def _config() -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS}, connect_timeout=CONNECT_S, read_timeout=READ_S, max_pool_connections=32,
        user_agent_appid="fleet-tui",
    )


def _as_role(access: Access) -> SdkSession:
    """A session in a role that is taken anew before it expires."""
    session = get_session()
    own = session.get_credentials()
    if own is None:
        raise sdk.NoCredentialsError

    def connect(*arguments: Any, **more: Any) -> Any:
        more["region_name"] = access.region
        more["endpoint_url"] = access.endpoint or None
        more.setdefault("config", _config())
        return session.create_client(*arguments, **more)

    fetcher = AssumeRoleCredentialFetcher(
        connect, own, access.role_arn, extra_args={"RoleSessionName": "fleet-tui", "DurationSeconds": ROLE_S}
    )
    assumed = get_session()
    assumed._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    return assumed


# --- refusals in our words -------------------------------------------------------------------------------------------


def refused(refusal: Any, service: str) -> FleetError:
    """Amazon's refusal as the kind of error it is to us."""
    code = str(refusal.response.get("Error", {}).get("Code", ""))
    status = int(refusal.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    said = _said(str(refusal.response.get("Error", {}).get("Message", "")))
    verb = f"{'sts' if refusal.operation_name == 'AssumeRole' else service}:{refusal.operation_name}"
    words = f"AWS refused {verb}: {said or code} [{code}]"
    facts: dict[str, Any] = {"aws": code, "action": verb}
    if code in _DENIED:
        missing = _permission(said, verb)
        return PermissionDenied(
            f"AWS does not allow {missing}: {said}", hint=f"allow {missing} in the policy of the site's role or user, then try again",
            permission=missing, **facts,
        )
    if code in _UNKNOWN:
        return AuthFailed(words, hint="look at the site's cloud account: `fleet cloud show`", **facts)
    if code in _CHANGED:
        return AuthFailed("a sealed secret cannot be opened: it was changed, or belongs to something else", **facts)
    if code in _THROTTLED:
        return Busy(f"AWS limits {verb}, also after {ATTEMPTS} tries: {said}", hint="try again in a minute", **facts)
    if code in RESTING:
        return Busy(words, hint="AWS changes a volume again only about six hours after the last time; try again then", **facts)
    if code in _HELD or "currently in use" in said:
        return Busy(words, hint="something still uses it; try again when it is free", **facts)
    if _FULL.search(code):
        return NoCapacity(words, hint="choose another machine type, zone or region, or have the limit raised", **facts)
    if _STATE.search(code):
        return WrongState(words, hint="look at it in the cloud, then try again", state=code, **facts)
    if _GONE.search(code):
        return NotFound(words, hint="it may have been removed behind our back", **facts)
    if status >= 500:
        return Unreachable(words, hint="AWS has a fault of its own; try again", **facts)
    return InvalidInput(words, hint="correct what AWS names there", **facts)


def passes(error: FleetError) -> bool:
    """Whether it says nothing about what was asked: AWS limits calls now, has a fault of its own, or is not reached."""
    return isinstance(error, Unreachable | TimedOut) or error.details.get("aws") in _THROTTLED


def _permission(said: str, verb: str) -> str:
    """The action that is missing; the message knows better when a call needs another one besides (``iam:PassRole``)."""
    found = re.search(r"not authorized to perform: *([a-z0-9-]+:[A-Za-z0-9]+)", said)
    return found[1] if found else verb


def _said(text: str) -> str:
    return clean(_SECRETS.sub("", text).strip().rstrip("."), _SAID)


def _not_sent(problem: Exception, service: str) -> FleetError:
    """What went wrong before there was an answer."""
    words = _said(str(problem))
    if isinstance(problem, sdk.ReadTimeoutError | sdk.ConnectTimeoutError):
        return TimedOut(f"AWS ({service}) did not answer in time", hint="look at the way there, then try again")
    if isinstance(problem, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.CredentialRetrievalError):
        return AuthFailed(f"there are no credentials for AWS: {words}", hint="choose another authentication: `fleet cloud setup`")
    if isinstance(problem, sdk.HTTPClientError | sdk.ConnectionError):
        return Unreachable(f"AWS ({service}) cannot be reached: {words}", hint="look at the way there, then try again")
    return InvalidInput(f"AWS ({service}) was asked wrongly: {words}", hint="look at the site's cloud account: `fleet cloud show`")


def tags(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the SDK wants them."""
    return [{"Key": key, "Value": value} for key, value in values.items()]
