"""The cloud account, the expiry board and cloud images in memory, for the session without a daemon."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from fleet_tui.backend import api, cloud, providers
from fleet_tui.backend.certificates import BoardEntry, ListBoard
from fleet_tui.backend.cloud.guidance import PERMISSIONS, STEPS
from fleet_tui.backend.errors import FleetError

NOW = datetime(2026, 11, 20, 14, 2, 11, tzinfo=timezone.utc)
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def account(**fields: Any) -> cloud.CloudRecord:
    """One that is set up with an access key and a key of the cloud's, unless told otherwise."""
    values: dict[str, Any] = {
        "provider": "aws", "region": "eu-west-1", "authentication": "keypair", "role_arn": "", "access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "has_secret_key": True, "endpoint": "", "aws_cmk_id": "alias/fleet", "cmk_arn": KEY, "machine_image": cloud.DEFAULT_IMAGE,
        "machine_type": "t3.medium", "site": "site-5f1c2b", "account": "123456789012", "identity": "arn:aws:iam::123456789012:user/fleet",
        "tested_at": NOW - timedelta(hours=2), "sealed": {KEY: 14}, "rewrap_id": None, "version": 3, "permissions": PERMISSIONS, "steps": STEPS,
    }  # fmt: skip
    return cloud.CloudRecord(**{**values, **fields})


def no_account(**fields: Any) -> cloud.CloudRecord:
    nothing = dict.fromkeys(("provider", "region", "access_key_id", "aws_cmk_id", "cmk_arn", "site", "account", "identity"), "")
    return account(**{**nothing, "authentication": "same_as_control_plane", "has_secret_key": False, "tested_at": None, "sealed": {"master key": 6},
                      "version": 0, **fields})  # fmt: skip


def certificate(owner: str, days: float, kind: str = "letsencrypt", **fields: Any) -> BoardEntry:
    """One that ends in so many days; in the state that follows from it."""
    state = next((word for most, word in ((0, "expired"), (7, "critical"), (14, "soon"), (30, "due")) if days <= most), "well")
    issuer = {"letsencrypt": "CN=R11,O=Let's Encrypt,C=US", "self_signed": f"CN={owner}"}.get(kind, "CN=Example CA")
    values: dict[str, Any] = {
        "owner": owner, "ref": f"instance:i-{owner}", "kind": kind, "subject": f"CN={owner}.example.org", "issuer": issuer,
        "sans": (f"{owner}.example.org", f"www.{owner}.example.org"), "fingerprint": "3F:9A:00:11", "not_after": NOW + timedelta(days=days),
        "days_left": int(days // 1), "state": state, "renewal": "", "untrusted": False, "mismatch": False,
        "renew_at": max(NOW + timedelta(days=days - 30), NOW + timedelta(hours=3)) if kind == "letsencrypt" else None,
    }  # fmt: skip
    return BoardEntry(**{**values, **fields})


BOARD = (
    certificate("shop-2", -1.2, "per_instance"),
    certificate("web-20", 4.5, problem="the directory allows no more orders for example.org until 2026-11-22 09:00 (rate limit)"),
    certificate("mail-2", 11.5, "per_instance", issuer="CN=Example Corp Issuing CA 3"),
    certificate("web-21", 27.2),
    certificate("db-04", 28.4, "self_signed", renewal="made anew by a start-up once it ends within 30 days, or by a reprovision with other names"),
    certificate("web-19", 71.0, mismatch=True),
    certificate("stage-1", 80.0, untrusted=True, issuer="CN=(STAGING) Riddling Rhubarb R12"),
    *(certificate(f"app-{n:02}", 60.0 + n) for n in range(1, 6)),
    certificate("agent door", 340.0, "agent_door", ref="site:agent_door", sans=("fleet.example.org", "10.0.0.5"), issuer="CN=ca.paris",
                renewal="made anew by fleetd", renew_at=NOW + timedelta(days=325)),
    certificate("fleet CA", 9000.0, "authority", ref="site:authority", sans=(), subject="CN=ca.paris", issuer="CN=ca.paris"),
)  # fmt: skip


def image(name: str, zone: str = "paris", **fields: Any) -> providers.CloudImageRecord:
    values: dict[str, Any] = {"id": f"ci-{name}", "name": name, "zone": zone, "path": f"/srv/images/{name}.qcow2", "created_at": NOW - timedelta(days=9)}
    return providers.CloudImageRecord(**{**values, **fields})


def orphan(id_: str, kind: str = "disk", **fields: Any) -> providers.Orphan:
    values: dict[str, Any] = {
        "kind": kind, "id": id_, "provider": "aws", "place": "", "size_bytes": None if kind == "machine" else 50 * 2**30,
        "detail": {"machine": "on", "disk": "free"}.get(kind, "of d-7f31"), "region": "eu-west-1",
    }
    return providers.Orphan(**{**values, **fields})


class CloudStub:
    """Answers about the cloud account, certificates and cloud images."""

    account: cloud.CloudRecord
    board: tuple[BoardEntry, ...]
    images: list[providers.CloudImageRecord]
    orphans: list[providers.Orphan]
    aws_refuses: FleetError | None
    """What AWS would say to whatever is tried; the daemon's own checks too."""

    def begin_cloud(self) -> None:
        self.account, self.board, self.images, self.orphans, self.aws_refuses = no_account(), (), [], [], None

    def touch(self, ref: str, type_: str = "object.changed", text: str = "") -> None:
        raise NotImplementedError

    def _ShowCloud(self, _request: Any) -> cloud.CloudRecord:
        return self.account

    def _SetUpCloud(self, request: cloud.SetUpCloud) -> cloud.CloudRecord:
        if self.aws_refuses is not None:
            raise self.aws_refuses
        names = ("region", "authentication", "role_arn", "access_key_id", "endpoint", "aws_cmk_id", "machine_image", "machine_type")
        said = {name: value for name in names if (value := getattr(request, name)) is not None}
        moves = bool(said.get("aws_cmk_id")) and bool(self.account.sealed)
        arn = KEY if said.get("aws_cmk_id", self.account.aws_cmk_id) else ""
        self.account = replace(account(cmk_arn=arn, sealed=self.account.sealed), **{
            **{name: getattr(self.account, name) for name in names}, **said, "version": self.account.version + 1, "tested_at": NOW, "rewrap_id": "o-9" if moves else None,
            "has_secret_key": self.account.has_secret_key or bool(request.secret_access_key),
        })  # fmt: skip
        self.touch("cloud:aws", "cloud.changed")
        return self.account

    def _TestAccount(self, _request: Any) -> cloud.AccountVerdict:
        checks = [cloud.CloudCheck("identity", "ok", self.account.identity), cloud.CloudCheck("machines", "ok", "3 zones of eu-west-1 answer")]
        key = self._TestKey(cloud.TestKey(self.account.aws_cmk_id))
        return cloud.AccountVerdict(self.account.identity, key.passed, (*checks, *key.checks))

    def _TestKey(self, request: cloud.TestKey) -> cloud.KeyVerdict:
        if self.aws_refuses is not None:
            return cloud.KeyVerdict(request.aws_cmk_id, False, (cloud.CloudCheck("key", "failed", self.aws_refuses.message, self.aws_refuses.hint),))
        checks = (
            cloud.CloudCheck("describe", "ok", f"{KEY}, SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT, Enabled"),
            cloud.CloudCheck("encrypt and decrypt", "ok", "a random value came back as it was"),
            cloud.CloudCheck("region", "warning", "the key is in us-east-1, the site in eu-west-1: every use goes there"),
        )
        return cloud.KeyVerdict(request.aws_cmk_id, True, checks)

    def _ListBoard(self, _request: ListBoard) -> tuple[BoardEntry, ...]:
        return self.board

    def _ListCloudImages(self, _request: Any) -> tuple[providers.CloudImageRecord, ...]:
        return tuple(self.images)

    def _ListOrphans(self, _request: Any) -> providers.OrphanList:
        return providers.OrphanList(tuple(self.orphans), ("aws: nobody answers at ec2.eu-west-1.amazonaws.com",) if self.aws_refuses else ())

    def _RegisterCloudImage(self, request: providers.RegisterCloudImage) -> providers.CloudImageRecord:
        self.images.append(image(request.name, request.zone, path=request.path))
        self.touch(f"cloud-image:ci-{request.name}")
        return self.images[-1]

    def _RemoveCloudImage(self, request: providers.RemoveCloudImage) -> api.Done:
        gone = next(row for row in self.images if row.id == request.target)
        assert request.confirm == gone.name
        self.images.remove(gone)
        self.touch(f"cloud-image:{gone.id}")
        return api.Done(f"{gone.name} is no longer registered; its file stays")
