"""A secret typed into Cloud Setup is found nowhere afterwards: real console, real door, real account on moto."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.app import FleetApp
from fleet_tui.backend.api.cloud_answers import CloudAnswers
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.cloud import SetUpCloud
from fleet_tui.backend.cloud.account import Account
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.events import EventBatch
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.screens.ask import FormDialog
from fleet_tui.session import SocketSession
from tests.cloud.account import KEY_ID, REGION, CloudAccount, cloud_account
from tests.doors import Door
from tests.screens.console import eventually, picture, press, settings, settled, type_in
from tests.screens.test_clouds import line
from tests.waiting import until

TYPED = "wJalrXUtnFEMI-K7MDENG-bPxRfiCY"


class Heard(SocketSession):
    """Remembers everything that the daemon said."""

    said: list[str]

    def submit(self, request: Any) -> Any:
        return self._heard(super().submit, request)

    def fetch(self, request: Any) -> Any:
        return self._heard(super().fetch, request)

    def _heard(self, call: Any, request: Any) -> Any:
        try:
            reply = call(request)
        except FleetError as error:
            self.said.append(str(error.as_json()))
            raise
        self.said.append(str(dataclasses.asdict(reply) if dataclasses.is_dataclass(reply) else reply))  # type: ignore[arg-type]
        return reply


@pytest.fixture
def aws(moto: int, tmp_path: Path) -> Iterator[CloudAccount]:
    with cloud_account(moto, tmp_path / "content") as found:
        yield found


@pytest.fixture
def door(tmp_path: Path, aws: CloudAccount) -> Iterator[Door]:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    found = Door(store, tmp_path / "run" / "fleetd.sock")
    account = Account(store, Envelope(b"k" * 32), SystemClock())
    found.handlers.update(CloudAnswers(account, None, simulated=False).table())  # type: ignore[arg-type]
    found.handlers["events.after"] = lambda caller, request: EventBatch((), max(1, request.cursor))
    found.open()
    yield found
    found.close()
    store.close()


async def test_a_typed_secret_is_in_no_picture_reply_log_audit_or_file(
    door: Door, aws: CloudAccount, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures: list[str] = []
    said: list[str] = []

    def session() -> Heard:
        made = Heard(door.path)
        made.said = said
        return made

    app = FleetApp(settings(), session)
    with caplog.at_level(logging.DEBUG):
        async with app.run_test(size=(100, 40), notifications=True) as pilot:
            def look() -> None:
                pictures.extend((pilot.app.export_screenshot(), picture(pilot)))

            await settled(pilot)
            await line(pilot, "cloud")
            await eventually(pilot, lambda: "no cloud account" in picture(pilot))
            await press(pilot, "e")
            await eventually(pilot, lambda: "Try and save" in picture(pilot) and "Machine type" in picture(pilot))
            await type_in(pilot, REGION)
            await press(pilot, "tab", "space", "space", "tab", "tab")
            await type_in(pilot, KEY_ID)
            await press(pilot, "tab")
            await type_in(pilot, TYPED)
            await press(pilot, "tab")
            await type_in(pilot, aws.proxy.endpoint)
            look()
            aws.proxy.denied.add("ec2:DescribeAvailabilityZones")
            await press(pilot, "ctrl+o")
            dialog = pilot.app.screen
            assert isinstance(dialog, FormDialog)
            await eventually(pilot, lambda: dialog.form.rows["secret_access_key"].has_class("-wrong"))
            assert "ec2:DescribeAvailabilityZones" in picture(pilot) and "allow ec2:DescribeAvailabilityZones in the policy" in picture(pilot)
            look()
            aws.proxy.calm()
            await press(pilot, "ctrl+o")
            await eventually(pilot, lambda: "is set; it is never shown" in picture(pilot))
            look()
            await press(pilot, "T")
            await eventually(pilot, lambda: "TRIED" in picture(pilot) and "ok: arn:aws" in picture(pilot))
            look()
            for key in ("d", "y"):
                await press(pilot, key)
                await settled(pilot)
                look()
                await press(pilot, "escape")
            await press(pilot, "e")
            await eventually(pilot, lambda: "one is set; empty keeps it" in picture(pilot))
            look()
    records = until(door.records)
    assert [record for record in records if record.action == "cloud.setup"], "the audit knows that it was set up"
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    for place, found in (
        ("a picture", "\n".join(pictures)), ("a reply", "\n".join(said)), ("the log", caplog.text), ("the audit", repr(records)),
        ("a file of the site", kept.decode("latin-1")), ("a request's own words", repr(SetUpCloud(secret_access_key=TYPED))),
    ):
        assert found and TYPED not in found and TYPED[:12] not in found, place
