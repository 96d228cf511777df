"""What is said of the cloud account: how it stands, what was tried, what is missing, and how to make what is missing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet_tui import columns
from fleet_tui.actions.cloud import MASTER, waiting
from fleet_tui.backend.cloud import CloudCheck, CloudRecord
from fleet_tui.widgets.glyphs import Glyphs
from fleet_tui.widgets.paint import Span
from fleet_tui.widgets.safety import plain

Line = list[Span]
LABEL = 12
"""Cells of a fact's name."""
WIDEST = 110
_VERDICTS = {"ok": "well", "warning": "attention", "failed": "failed"}
_WAYS = {"same_as_control_plane": "as whatever fleetd runs as", "iam_role": "in a role that it takes", "keypair": "with an access key"}


@dataclass(frozen=True, slots=True)
class Tried:
    """What a test found; without checks it is under way."""

    what: str
    checks: Sequence[CloudCheck] = ()
    at: datetime | None = None


def page(
    row: CloudRecord, tried: Tried | None, glyphs: Glyphs, now: datetime, width: int, *, why_not: str = "", simulated: bool = False
) -> list[Line]:
    """How it stands and what to do next, then what was tried, then the facts, last the way to make it all."""
    width = min(width, WIDEST) - 1
    parts = [
        [_head(row, glyphs, now), *_next(row, glyphs, width, why_not, simulated)], _tried(tried, glyphs, now, width) if tried else [],
        _account(row, width) if row.provider else [], _key(row, glyphs, width), _guidance(row, width),
    ]  # fmt: skip
    lines: list[Line] = []
    for part in filter(None, parts):
        lines += [[], *part] if lines else part
    return lines


def _head(row: CloudRecord, glyphs: Glyphs, now: datetime) -> Line:
    if not row.provider:
        return [(f" {glyphs.off} no cloud account", "strong")]
    tested = f"tried {columns.ago(row.tested_at, now)} ago".replace("now ago", "now") if row.tested_at else "never tried"
    return [(f" {glyphs.well} account {row.account} in {row.region}", "well"), (f"   saved and {tested}", "muted")]


def _next(row: CloudRecord, glyphs: Glyphs, width: int, why_not: str, simulated: bool) -> list[Line]:
    """What is missing or under way, and the key that goes on; or why this session cannot (``why_not``)."""
    said: list[tuple[str, str, str]] = []
    if simulated:
        said.append(("off", "A simulated site has no cloud account; on a real one it is set up here.", ""))
    elif not row.provider:
        said.append(("off", "Instances on AWS need one, and so does a KMS key for the secrets.", "e sets it up"))
    elif not row.cmk_arn:
        said.append(("off", "No KMS key is chosen: secrets are under the site's master key.", "e chooses one"))
    if row.rewrap_id:
        said.append(("moving", f"Secrets move to the key: operation {row.rewrap_id}.", "o shows it"))
    elif number := waiting(row):
        verb = "is" if number == 1 else "are"
        said.append(("attention", f"{columns.plural(number, 'stored secret')} {verb} under another key still.", "R moves them"))
    if why_not:
        said = [(status, text, key if not key or key.startswith("o ") else f"({why_not})") for status, text, key in said]
    lines: list[Line] = []
    for status, text, key in said:
        lead = f" {glyphs.status(status)} "
        lines += [[(line, "muted" if status == "off" else status)] for line in _wrapped(f"{text} {key}".strip(), width, lead)]
    return lines


def _tried(tried: Tried, glyphs: Glyphs, now: datetime, width: int) -> list[Line]:
    if not tried.checks:
        return [[(f" {glyphs.moving} trying the {tried.what}; AWS is being asked", "moving")]]
    age = columns.ago(tried.at, now)
    lines: list[Line] = [[(f" TRIED  {plain(tried.what)}  {'now' if age == 'now' else f'{age} ago'}", "title")]]
    for check in tried.checks:
        status = _VERDICTS.get(check.verdict, "off")
        lead = f" {glyphs.status(status)} {plain(check.name):<20} "
        lines += [[(line, "" if status == "well" else status)] for line in _wrapped(f"{check.verdict}: {check.text}", width, lead)]
        if check.hint:
            lines += [[(line, "strong")] for line in _wrapped(check.hint, width, " " * len(lead))]
    return lines


def _account(row: CloudRecord, width: int) -> list[Line]:
    facts = [("identity", row.identity or "not told"), ("log-in", f"{row.authentication}: {_WAYS.get(row.authentication, '')}")]
    if row.authentication == "iam_role":
        facts.append(("role", row.role_arn))
    if row.authentication == "keypair":
        facts.append(("access key", row.access_key_id))
        facts.append(("secret key", "is set; it is never shown" if row.has_secret_key else "missing"))
    facts += [
        ("endpoint", row.endpoint or "Amazon's own"), ("machines", f"{row.machine_type} from {row.machine_image}"), ("tag", f"fleet:site={row.site}"),
    ]  # fmt: skip
    return [[(" ACCOUNT", "title")], *_facts(facts, width)]


def _key(row: CloudRecord, glyphs: Glyphs, width: int) -> list[Line]:
    lines: list[Line] = [[(" KEY OF THE SECRETS", "title")]]
    if row.cmk_arn:
        facts = [("in use", f"KMS key {row.aws_cmk_id}"), *([("is", row.cmk_arn)] if row.cmk_arn != row.aws_cmk_id else [])]
    else:
        facts = [("in use", "the site's master key, a file that only fleetd reads")]
    lines += _facts(facts, width)
    for number, (key, count) in enumerate(sorted(row.sealed.items(), key=lambda item: item[0] != row.cmk_arn)):
        behind = bool(row.cmk_arn) and key != row.cmk_arn
        where = "the master key" if key == MASTER else "the key in use" if key == row.cmk_arn else key
        lead = f" {'secrets' if number == 0 else '':<{LABEL}}"
        text = f"{glyphs.attention if behind else glyphs.well} {count:,} under {where}"
        lines += [[(line, "attention" if behind else "")] for line in _wrapped(text, width, lead)]
    return lines if row.sealed else [*lines, *_facts([("secrets", "none stored yet")], width)]


def _guidance(row: CloudRecord, width: int) -> list[Line]:
    lines: list[Line] = [[(" HOW TO MAKE KEY, ROLE AND SECRET", "title")]]
    for number, step in enumerate(row.steps, 1):
        lines += [[(line, "")] for line in _wrapped(step, width, f" {number}. ")]
    lines += [[], [(" ACTIONS OF THE POLICY", "title")]]
    widest = max((len(action) for action in row.permissions), default=1) + 2
    across = max(1, (width - 1) // widest)
    for at in range(0, len(row.permissions), across):
        lines.append([(" " + "".join(f"{plain(action):<{widest}}" for action in row.permissions[at : at + across]).rstrip(), "muted")])
    return lines


def _facts(facts: Sequence[tuple[str, str]], width: int) -> list[Line]:
    return [
        [(f" {name if number == 0 else '':<{LABEL}}", "muted"), (part, "")]
        for name, value in facts
        for number, part in enumerate(textwrap.wrap(plain(value, 3000), max(20, width - LABEL - 1), break_on_hyphens=False) or [""])
    ]


def _wrapped(text: str, width: int, lead: str) -> Iterator[str]:
    """In as many lines as it takes: what went wrong, and what to do, are not to be cut."""
    indent = " " * len(lead)
    yield from textwrap.wrap(plain(text, 3000), max(30, width), initial_indent=lead, subsequent_indent=indent, break_on_hyphens=False) or [lead]
