"""The forms of Cloud Setup and of cloud images, and the question before secrets are moved."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fleet_tui.actions import ACTIONS
from fleet_tui.actions.cloud import MASTER
from fleet_tui.backend.cloud import AUTHENTICATIONS, CloudRecord, KeyVerdict, RewrapKeys, SetUpCloud, TestKey
from fleet_tui.backend.errors import InvalidInput, Problem, WrongState
from fleet_tui.backend.hosts import ListZones, ZoneRecord
from fleet_tui.backend.operations import Plan, Submitted
from fleet_tui.backend.providers import CloudImageRecord, RegisterCloudImage
from fleet_tui.columns import plural
from fleet_tui.screens import dialogs
from fleet_tui.screens.ask import Form, ask, entry

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session

SECRET = "secret_access_key"


def set_up(screen: FleetScreen, row: CloudRecord, done: Callable[[CloudRecord], None]) -> None:
    """The account, or a change of it. The daemon tries it, and saves it only when it works."""
    kept = "one is set; empty keeps it" if row.has_secret_key else "with keypair; never shown again"
    fields = (
        entry("region", "Region", default=row.region, help="eu-west-1"),
        entry("authentication", "Authentication", "choice", row.authentication, choices=AUTHENTICATIONS),
        entry("role_arn", "Role", default=row.role_arn, help="with iam_role: its ARN"),
        entry("access_key_id", "Access key id", default=row.access_key_id, help="with keypair"),
        entry(SECRET, "Secret access key", "secret", help=kept),
        entry("endpoint", "Endpoint", default=row.endpoint, help="empty: Amazon's own"),
        entry("aws_cmk_id", "AWS CMK id", default=row.aws_cmk_id, help="id, ARN or alias; empty: master key"),
        entry("machine_image", "Machine image", default=row.machine_image), entry("machine_type", "Machine type", default=row.machine_type),
    )  # fmt: skip

    def make(v: Mapping[str, Any]) -> SetUpCloud:
        changed = {name: value for name, value in v.items() if value != ("" if name == SECRET else getattr(row, name))}
        if row.provider and not changed:
            raise InvalidInput("nothing was changed", hint="T tries the account as it is")
        said = changed if row.provider else {name: value for name, value in v.items() if value}
        return SetUpCloud(version=row.version, **said)

    def before(_session: Session, request: SetUpCloud) -> tuple[dialogs.Question, Any] | None:
        key, stored = request.aws_cmk_id, sum(row.sealed.values())
        if not key or not stored:
            return None
        said = [f"{key} is tried first; if it does not pass, nothing is changed", *touched(row, key)]
        return dialogs.Question(f"Change the key to {key}?", "Change it", said), request

    title = "Change the cloud account" if row.provider else "Set up the cloud account"
    ask(screen, Form(title, fields, make, done, "Try and save", before=before))


def touched(row: CloudRecord, key: str) -> list[str]:
    """What moves where, in a question's words."""
    moving = {name: count for name, count in row.sealed.items() if name not in (key, row.cmk_arn if key == row.aws_cmk_id else key)}
    return [
        *(f"{plural(count, 'secret')} under {'the master key' if name == MASTER else name}" for name, count in moving.items()),
        f"each is sealed anew under {key}, and stays valid under its old key until it is",
    ]


def test_key(screen: FleetScreen, row: CloudRecord, done: Callable[[KeyVerdict], None]) -> None:
    """Any key: the one that is set up, unless another is named."""

    def make(v: Mapping[str, Any]) -> TestKey:
        if not v["aws_cmk_id"]:
            raise InvalidInput("no key was named", problems=[Problem("aws_cmk_id", "which key?")])
        return TestKey(v["aws_cmk_id"])

    fields = (entry("aws_cmk_id", "AWS CMK id", default=row.aws_cmk_id, help="id, ARN or alias"),)
    ask(screen, Form("Test a key", fields, make, done, "Test"))


def rewrap(screen: FleetScreen, row: CloudRecord) -> None:
    """State what is touched, then have it done as an operation that is watched."""
    request = RewrapKeys(request_id=uuid.uuid4().hex)

    def planned(reply: Submitted) -> None:
        plan: Plan | None = reply.plan
        if plan is not None and plan.refusals:
            screen.failed(WrongState(plan.refusals[0].message, hint=plan.refusals[0].hint))
            return
        question = dialogs.Question("Re-wrap every stored secret?", "Re-wrap", touched(row, row.aws_cmk_id))
        dialogs.confirm(screen.app, question, lambda answer: send() if answer.yes else None)

    def send() -> None:
        screen.ask(lambda session: session.submit(request), accepted)

    def accepted(reply: Submitted) -> None:
        screen.say("re-wrap secrets: accepted")
        screen.submitted(ACTIONS["cloud.rewrap"], [reply])

    screen.ask(lambda session: session.submit(replace(request, dry_run=True)), planned, group="plan")


def register_image(screen: FleetScreen) -> None:
    """A cloud image by its name, in a zone."""

    def opened(zones: Sequence[ZoneRecord]) -> None:
        if not zones:
            screen.say("an image is for a zone, and there is none · :new-zone makes one", "warning")
            return
        names = tuple(zone.name for zone in zones)
        fields = (
            entry("name", "Name", help="debian-12"), entry("zone", "Zone", "choice", names[0], choices=names),
            entry("path", "File", help="absolute path of a qcow2 on the hosts"),
        )  # fmt: skip

        def done(reply: CloudImageRecord) -> None:
            screen.say(f"cloud image {reply.name} registered in zone {reply.zone}")
            screen.is_loaded = False
            screen.shown()

        ask(screen, Form("Register a cloud image", fields, lambda v: RegisterCloudImage(**v), done, "Register"))

    screen.fetch(ListZones(), opened, "new")
