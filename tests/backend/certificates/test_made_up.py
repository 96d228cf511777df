"""Made-up certificates are real ones: judged like any other, the same for the same seed, and renewed for the same names."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from fleet_tui.backend.certificates import made_up, material

NOW = datetime(2026, 11, 20, 14, 2, 11, tzinfo=timezone.utc)
NAMES = ("web-1.shop.example", "web-1.internal", "10.2.0.4")


@pytest.mark.parametrize("authority", ["", "Example Issuing CA 2"])
def test_it_passes_every_check(authority: str) -> None:
    pair = made_up.issue("seed", NAMES, NOW - timedelta(days=1), NOW + timedelta(days=90), authority)
    verdict = material.judge(pair.pem, NOW, private_key_pem=pair.key_pem, names=NAMES)
    assert verdict.refusals == verdict.warnings == () and verdict.facts is not None
    assert verdict.facts.is_self_signed is not bool(authority) and len(verdict.facts.chain) == bool(authority)
    assert set(verdict.facts.sans) == set(NAMES)
    assert made_up.issue("seed", NAMES, NOW - timedelta(days=1), NOW + timedelta(days=90), authority) == pair
    assert made_up.issue("other", NAMES, NOW - timedelta(days=1), NOW + timedelta(days=90), authority).key_pem != pair.key_pem


def test_it_is_renewed_for_the_same_names_by_the_same_authority() -> None:
    told = made_up.facts_of(made_up.issue("seed", NAMES, NOW - timedelta(days=80), NOW + timedelta(days=10), "Example ACME R11").pem)
    later = NOW + timedelta(hours=1)
    renewed = made_up.renewed(told["certificate_chain"], later)
    assert renewed["certificate_fingerprint"] != told["certificate_fingerprint"]
    assert renewed["certificate_not_after"] == int((later + timedelta(days=90)).timestamp())
    again = made_up.renewed(renewed["certificate_chain"], later)
    assert again["certificate_not_after"] == renewed["certificate_not_after"] and len(renewed["certificate_chain"]) == 2


def test_nothing_of_its_key_is_in_what_it_says_of_itself() -> None:
    pair = made_up.issue("seed", NAMES, NOW, NOW + timedelta(days=1))
    assert pair.key_pem.splitlines()[1] not in repr(pair)
