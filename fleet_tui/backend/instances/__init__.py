"""Instances: one application node each = a machine, a data disk and settings. The face only; what they are launched from is in :mod:`profiles`.

Settings are one flat mapping from field name to value; what a field is, is said once in :mod:`fields`, from which
the daemon validates, the console draws its form and the command line reads ``--set``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from fleet_tui.backend.certificates import CertificateFacts, Served
from fleet_tui.backend.errors import Problem
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class DataDisk:
    """The disk that is kept. ``used_bytes`` is ``None`` until measured."""

    size_gb: int
    size_max_gb: int
    used_bytes: int | None
    path: str
    grown_bytes: int | None = None
    """More than ``grown_days`` ago, less when negative; ``None`` until it was measured on two days."""
    grown_days: int = 0
    """At most a week."""

    @property
    def used_fraction(self) -> float | None:
        return None if self.used_bytes is None else self.used_bytes / (self.size_gb * 1024**3)


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What is known of the instance's agent."""

    last_seen: datetime | None = None
    phase: str | None = None
    """Start-up phase it is in, ``ready`` when through, ``None`` before the first hello."""
    phases: tuple[tuple[str, str, float | None], ...] = ()
    """(name, state, seconds) of each phase of the last start-up; only in ``show``."""
    version: str = ""
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """An instance as lists, cards and ``show`` have it."""

    id: str
    label: str
    kind: str
    state: InstanceState
    failed_stage: str | None
    failure: str
    """Why it failed, one sentence; empty otherwise."""
    health: Health | None
    """``None`` where it does not apply (not running)."""
    health_detail: str
    url: str | None
    private_ip: str | None
    public_ip: str | None
    host_name: str | None
    host: str | None
    data_disk: DataDisk
    pending_changes: tuple[str, ...]
    """Fields that wait for a reprovision."""
    template: str
    network: str
    https_strategy: str
    image: str
    """``hello-app 1.4.0``: installed, or what would be installed."""
    machine: str | None
    """Provider's id of its machine; ``None`` when it has none."""
    certificate_not_after: datetime | None
    certificate_fingerprint: str | None
    agent: AgentStatus
    operation_id: str | None
    """The active operation, if any."""
    operation: str
    """What it is doing in a few words: ``provision 6/8 phase install-or-upgrade``."""
    fleet_tags: tuple[str, ...]
    version: int
    """Grows with every saved change; an edit names the one it was made from."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedInstance(InstanceRecord):
    """An instance after a save."""

    warnings: tuple[str, ...] = ()
    """What was saved all the same, but is worth a word: ``field: words``."""


@dataclass(frozen=True, slots=True)
class InstancePage:
    """Part of the list. Ask again with ``after=next`` until it is empty."""

    instances: tuple[InstanceRecord, ...]
    next: str
    total: int


@dataclass(frozen=True, slots=True)
class ListInstances:
    """Instances by label. ``refs`` limits to those (what events named). ``state``/``kind`` filter when not empty."""

    after: str = ""
    limit: int = 500
    refs: tuple[str, ...] = ()
    state: str = ""
    kind: str = ""
    urgent_first: bool = False
    """Failed and moving ones first, for the dashboard's few rows (``after`` is ignored)."""


@dataclass(frozen=True, slots=True)
class ShowInstance:
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateInstance:
    """Save a new instance; nothing is made but the record."""

    label: str
    kind: str = "design"
    template: str = "hello"
    network: str = "local"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further fields by name; see :mod:`fields`."""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class EditInstance:
    """Change settings. ``version`` is the one the form was made from: a newer one on record refuses with the fields that differ."""

    target: str
    version: int
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ShowSsl:
    """The certificate of an instance. With ``test``, which takes the right to operate, it is looked at now, and its domains are asked for,
    before it is told.
    """

    target: str
    test: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SslRecord:
    """Everything of an instance's certificate (SSL-5). No key is in it."""

    instance: str
    strategy: str
    network: str
    """The virtual network that says so."""
    http_mode: str
    """``redirect`` or ``disabled``; empty where there is plain HTTP only."""
    key_storage: str
    """Of the strategy ``per_instance``; empty otherwise, and with ``key`` and ``secret_id`` for who may not read settings."""
    key: str
    """SHA-256 of the public half of the key on record; empty where there is none."""
    secret_id: str
    domains: tuple[str, ...]
    directory: str
    """URL of the ACME directory."""
    saved: CertificateFacts | None
    """What the settings have (``per_instance``); a running machine may wait for a reprovision to have it too."""
    in_use: CertificateFacts | None
    """What the machine's agent set up."""
    served: Served | None
    """What somebody who connects is shown; ``None`` before it was looked at."""
    mismatch: bool
    """``served`` is another one than ``in_use``."""
    days_left: int | None
    untrusted: bool
    """Of a staging directory."""
    certificate_pem: str
    """Leaf and chain, for copying."""
    renew_at: datetime | None
    """Next attempt by itself; ``None`` where nothing renews it."""
    renewal_problem: str
    retry_at: datetime | None
    """Before that the directory wants no requests."""
    refusals: tuple[Problem, ...]
    """Everything that a provision would be refused for."""
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class ShowSettings:
    """Settings of an instance; with an empty target, those a new one would start with."""

    target: str = ""


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """Everything a form needs."""

    target: str
    version: int
    values: Mapping[str, Any]
    applied: Mapping[str, Any]
    """Values the running machine was made with, for pending fields: shown as ``was``."""
    locked: Mapping[str, str]
    """Field -> why it cannot be changed now."""
    choices: Mapping[str, tuple[str, ...]]
    """Field -> what may be chosen now (templates, networks, images)."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Field that waits for a reprovision -> why: what it was, or what of the template or virtual network was changed."""
    hidden: tuple[str, ...] = ()
    """Fields that mean nothing where this instance runs."""


# Requests that become operations; each is one kind in the catalogue.


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionInstance(OperationRequest):
    skip_dns_check: bool = False
    """Do not look whether the domains lead to the public address, where the control plane sees other names than the world does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeprovisionInstance(OperationRequest):
    force: bool = False
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReprovisionInstance(OperationRequest):
    snapshot: str = ""
    """Id of a snapshot the data disk is first set back to; empty keeps it as it is."""
    confirmed: bool = False
    skip_dns_check: bool = False
    """As of :class:`ProvisionInstance`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopInstance(OperationRequest):
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StartInstance(OperationRequest):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartApplication(OperationRequest):
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayActions(OperationRequest):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStartup(OperationRequest):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowDisk(OperationRequest):
    size_gb: int = 0
    """GiB the data disk is to have: more than now, and no more than its settings allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewCertificate(OperationRequest):
    """Have the certificate of the strategy ``letsencrypt`` issued anew now, whatever is left of the present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDisk(OperationRequest):
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteInstance(OperationRequest):
    confirm: str = ""
    """The label, typed. Anything else is refused."""
    keep_disk: bool = False
    keep_snapshots: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    id: str
    instance: str
    reason: str
    automatic: bool
    size_bytes: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListSnapshots:
    """Of an instance, or of a deleted one by the label it had last."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSnapshot(OperationRequest):
    """Of the snapshot whose id is the target, also when its instance is gone."""

    instance: str = ""
    """Whose it must be; empty for anybody's."""
    confirm: str = ""
    """Its id, typed. Anything else is refused."""


@dataclass(frozen=True, slots=True)
class SetupAction:
    """One declarative, repeatable step the agent runs. ``parameters`` per kind: see :mod:`action_kinds`."""

    kind: str
    name: str
    parameters: Mapping[str, Any]
    stage: str = "after_install"
    """``before_install``, ``after_install`` or ``after_startup``; fixed for most kinds."""
    enabled: bool = True
    id: str = ""
    """Of one on record; empty for a new one."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An application bundle that instances can run."""

    id: str
    name: str
    version: str
    size_bytes: int
    sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListImages:
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class RegisterImage:
    """Take a bundle (a tar on the daemon's machine) into the register after checking it."""

    path: str


@dataclass(frozen=True, slots=True)
class RemoveImage:
    """With its bundle, which no instance may be using."""

    target: str
    confirm: str = ""
    """``name version``, typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOrphan(OperationRequest):
    """For good. Data disks of a machine are let go, and stay."""

    kind: str
    provider: str
    region: str = ""
    confirm: str = ""
    """The id, typed. Anything else is refused."""
