"""Secrets are found wherever a name says so, and no line of a guest's own making takes long to search."""

from __future__ import annotations

import pytest

from fleet_tui.backend.telemetry.masking import MASK, Masker


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("password=hunter22", "password=••••"), ("--password=hunter22 -v", "--password=•••• -v"), ("x-api-key: abc", "x-api-key: ••••"),
        ("MY_SECRET_TOKEN='a b c' next", "MY_SECRET_TOKEN=•••• next"), ("db.password = q", "db.password = ••••"), ("_token=zzz", "_token=••••"),
        ("see https://user:pw@host/x", "see https://user:••••@host/x"), ("git+ssh://a:b@c", "git+ssh://a:••••@c"),
        ("a password is needed", "a password is needed"), ("http://host:8080/path", "http://host:8080/path"),
    ],
)  # fmt: skip
def test_what_is_masked(line: str, masked: str) -> None:
    assert MASK == "••••"
    assert Masker().mask(line) == masked


@pytest.mark.parametrize("part", ["a-", "a.", "a_", "a", "-", "token ", "://a:", "a://b:c", "password", "secret-"])
def test_a_long_line_is_searched_in_one_pass(part: str) -> None:
    """Once 32 KB of ``a-`` held the store for most of a minute."""
    line = part * (200_000 // len(part)) + " token"
    assert len(Masker().mask(line)) > 1000


def test_what_one_owner_had_before_is_forgotten_and_nothing_of_others() -> None:
    masker = Masker()
    masker.learn("for-everybody")
    masker.learn_of("a", "first-of-a", "second-of-a")
    masker.learn_of("b", "only-of-b")
    assert masker.mask("first-of-a second-of-a only-of-b for-everybody") == " ".join([MASK] * 4)
    masker.learn_of("a", "third-of-a")
    assert masker.mask("first-of-a third-of-a only-of-b for-everybody") == f"first-of-a {MASK} {MASK} {MASK}"
    masker.learn_of("a")
    masker.learn_of("b")
    assert masker.mask("third-of-a only-of-b for-everybody") == f"third-of-a only-of-b {MASK}"
