"""Pictures of an instance's tabs, reviewed by eye, at the smallest and at a large size."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from fleet_tui.app import FleetApp
from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import Problem
from tests.fleet_stub import GIB, NOW, StubSession, instance
from tests.screens.console import StillClock, press, settings, settled, type_in
from tests.screens.test_pictures import SIZES, colour, then
from tests.settings_stub import MARK, certificate, facts, served

__all__ = ["colour"]

CHAIN = "".join(
    f"-----BEGIN CERTIFICATE-----\n{chr(10).join((f'MII{n}' + 'Qk0xFjAUBgNVBAMMDXdlYi0yMC5leGFtcGxl' * 3)[:64] for _ in range(20))}\n-----END CERTIFICATE-----\n"
    for n in range(3)
)
"""4 KB in the form of three certificates; what is in them is nobody's business here."""
KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n"


async def paste(pilot: Pilot[int], text: str) -> None:
    """As a terminal with bracketed paste gives it: lines ended by carriage returns."""
    event = events.Paste(text.replace("\n", "\r"))
    event.set_sender(pilot.app)
    assert pilot.app._driver is not None
    pilot.app._driver.send_message(event)
    await settled(pilot)


def fleet() -> StubSession:
    """One of each strategy, with what can be wrong with it."""
    session = StubSession()
    disk = i.DataDisk(50, 200, 31 * GIB, "/var/lib/fleet/disks/d-web-20", 3 * GIB, 7)
    session.add(
        instance("web-20", network="shop-net", https_strategy="per_instance", url="https://web-20.example.org:8443", data_disk=disk,
                 pending_changes=("template", "ssl.certificate_pem"), certificate_not_after=NOW + timedelta(days=89)),
        instance("web-21", network="local-tls", https_strategy="self_signed"), instance("web-22"),
        instance("web-23", network="world", https_strategy="letsencrypt", public_ip="198.51.100.23"),
        instance("full-1", data_disk=i.DataDisk(100, 200, 94 * GIB, "/d/full-1"), pending_changes=()),
        instance("old-1", "deprovisioned", machine=None, data_disk=i.DataDisk(100, 200, 61 * GIB, "/d/old-1", -4 * GIB, 6)),
    )
    session.saved["web-20"] = {
        "template": "web-small", "ssl.certificate_pem": CHAIN, "ssl.private_key_pem": MARK, "data_disk.size_max_gb": 200, "image": "hello-app 1.4.0",
        "auto_snapshot.enabled": True, "fleet_tags": ["prod", "team-red"], "notes": "asks for its licence on Mondays\nsee ticket 4711",
    }
    session.applied["web-20"] = {"template": "web-tiny", "ssl.certificate_pem": "-----BEGIN CERTIFICATE-----\n", "image": "hello-app 1.3.0-rc7-with-fixes"}
    session.reasons["web-20"] = {
        "template": "was web-tiny, will be web-small", "ssl.certificate_pem": "another one was saved",
        "image": "was hello-app 1.3.0-rc7-with-fixes, will be hello-app 1.4.0",
        "virtual_network": "shop-net was changed: HTTP mode was disabled, is redirect",
    }
    session.saved["web-23"] = {"domains": ["web-23.example.org", "www.example.org"], "public_ip_allocation": "eipalloc-0a1b2c3d"}
    issuer = "CN=Example Issuing CA 2"
    on_record = facts(days=89, at=NOW, issuer=issuer)
    other = facts("web-old.example.org", days=12, at=NOW, seed="41", issuer=issuer)
    session.certificates["web-20"] = certificate(
        session.instances["i-web-20"], key_storage="inline_encrypted", key=MARK, in_use=on_record, saved=facts(days=364, at=NOW, seed="7", issuer=issuer),
        served=served(NOW - timedelta(minutes=2), other), mismatch=True, days_left=89, certificate_pem=CHAIN,
        warnings=(Problem("ssl.certificate_pem", "it ends in 12 days"),),
    )
    session.certificates["web-21"] = certificate(
        session.instances["i-web-21"], in_use=facts("web-21", days=3400, at=NOW), served=served(NOW - timedelta(seconds=50), facts("web-21", days=3400, at=NOW)),
        days_left=3400, http_mode="disabled",
    )
    staged = facts("web-23.example.org", days=5, at=NOW, issuer="CN=(STAGING) Artificial Apricot R3", sans=("web-23.example.org", "www.example.org"))
    session.certificates["web-23"] = certificate(
        session.instances["i-web-23"], domains=("web-23.example.org", "www.example.org"), in_use=staged, served=served(NOW, problem="nothing listens there"),
        directory="https://acme-staging-v02.api.letsencrypt.org/directory", days_left=5, untrusted=True, renew_at=NOW + timedelta(hours=7),
        retry_at=NOW + timedelta(hours=3), renewal_problem="too many certificates for example.org", refusals=(
            Problem("domains", "www.example.org leads to 203.0.113.9, but the instance's public address is 198.51.100.23: correct its A record"),),
    )  # fmt: skip
    session.snapshots = [
        i.SnapshotRecord("s-1", "i-web-20", "before the upgrade", False, 31 * GIB, NOW - timedelta(days=2)),
        i.SnapshotRecord("s-2", "i-web-20", "", True, 30 * GIB, NOW - timedelta(days=1)),
    ]
    return session


async def to(pilot: Pilot[int], label: str, *further: str) -> None:
    """The page of an instance, then further keys."""
    await press(pilot, "colon")
    await type_in(pilot, label)
    await press(pilot, "enter")
    await keys(pilot, *further)


async def keys(pilot: Pilot[int], *pressed: str) -> None:
    """Press keys; one that begins with ``=`` is typed."""
    for key in pressed:
        if key.startswith("="):
            await type_in(pilot, key[1:])
        else:
            await press(pilot, key)


SSL, DATA, SETUP = ("right",) * 2, ("right",) * 3, ("right",) * 4


async def wrong(pilot: Pilot[int]) -> None:
    """Errors that the form sees, and one that only the daemon does."""
    session: Any = pilot.app.session  # type: ignore[attr-defined]
    session.refuse = {"data_disk.size_gb": "40 is smaller than the disk is now (50); a disk can only grow", "label": "'web-21' is taken; labels are unique whatever their case"}
    await to(pilot, "web-20", "e", "=x", "ctrl+o")


async def pasted(pilot: Pilot[int]) -> None:
    await to(pilot, "web-20", *SSL, "e", "tab")
    await paste(pilot, CHAIN)
    await press(pilot, "tab")
    await paste(pilot, KEY)


async def refused(pilot: Pilot[int]) -> None:
    """What was pasted is refused, each part beside its field; all of it is still there."""
    session: Any = pilot.app.session  # type: ignore[attr-defined]
    session.refuse = {
        "ssl.certificate_pem": "block 2 (CERTIFICATE) is not the issuer of block 1: put the chain in order, the server's own certificate first",
        "ssl.private_key_pem": "the private key does not belong to this certificate (CN=web-20.example.org): give the key its request was made with",
    }
    await pasted(pilot)
    await press(pilot, "ctrl+o")


async def misplaced(pilot: Pilot[int]) -> None:
    """A private key in the certificate's field is not shown."""
    await to(pilot, "web-20", *SSL, "e", "tab")
    await paste(pilot, KEY)


VIEWS: dict[str, Callable[[Pilot[int]], Any]] = {
    "settings-pending": lambda p: to(p, "web-20", "e"),
    "settings-wrong": wrong,
    "settings-below": lambda p: to(p, "web-20", "e", *("tab",) * 11),
    "ssl": lambda p: to(p, "web-20", *SSL),
    "ssl-pasted": pasted,
    "ssl-refused": refused,
    "ssl-misplaced-key": misplaced,
    "ssl-self-signed": lambda p: to(p, "web-21", *SSL),
    "ssl-letsencrypt": lambda p: to(p, "web-23", *SSL),
    "ssl-none": lambda p: to(p, "web-22", *SSL),
    "ssl-vault": lambda p: to(p, "web-20", *SSL, "e", "right"),
    "ssl-chain": lambda p: to(p, "web-20", *SSL, "V"),
    "ssl-file": lambda p: to(p, "web-20", *SSL, "e", "tab", "tab", "ctrl+g", "ctrl+u", "=/nonexistent/key.pem", "enter"),
    "data": lambda p: to(p, "web-20", *DATA),
    "data-full": lambda p: to(p, "full-1", *DATA),
    "data-deprovisioned": lambda p: to(p, "old-1", *DATA),
    "data-grow": lambda p: to(p, "web-20", *DATA, "+"),
    "setup": lambda p: to(p, "web-20", *SETUP),
    "setup-action": lambda p: to(p, "web-20", *SETUP, "j", "j", "j", "enter"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_picture_of_a_tab(snap_compare: Any, view: str, size: str) -> None:
    session = fleet()
    assert "NO_COLOR" not in os.environ
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=SIZES[size], run_before=then(VIEWS[view]))
