"""What the SSL tab says of an instance's certificate, as lines of styled text: what is wrong first, then what is on record beside what is served."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from datetime import datetime

from fleet_tui import columns
from fleet_tui.backend.certificates import CertificateFacts
from fleet_tui.backend.errors import Problem
from fleet_tui.backend.instances import SslRecord
from fleet_tui.backend.instances.fields import BY_NAME
from fleet_tui.widgets.glyphs import Glyphs
from fleet_tui.widgets.paint import Span, fit
from fleet_tui.widgets.safety import plain

Line = list[Span]
TITLE = 13
"""Cells of the titles at the left."""
URGENT_D, SOON_D = 7, 14
"""Days left from which an end is urgent, and from which it is worth a word."""
STRATEGIES = {"none": "plain HTTP only", "self_signed": "self-signed", "per_instance": "own certificate", "letsencrypt": "Let's Encrypt"}
STORAGES = {
    "inline_encrypted": "entered here, encrypted on record", "secret_manager": "a secret in the cloud's vault",
    "vault_bundle": "a secret in the cloud's vault, with its certificates",
}
HTTP = {"redirect": "HTTP leads to HTTPS", "disabled": "HTTP is not answered"}


def lines(ssl: SslRecord, glyphs: Glyphs, now: datetime, width: int) -> list[Line]:
    """Everything of it in so many cells a line."""
    if ssl.strategy == "none":
        return [
            [(f" {glyphs.off} plain HTTP only", "off")],
            [(f"   HTTPS is set on the virtual network ({plain(ssl.network)}), for all its instances", "muted")],
        ]
    found: list[Line] = list(_state(ssl, glyphs, now, width))
    found.append([])
    strategy = f"{STRATEGIES.get(ssl.strategy, ssl.strategy)} (network {plain(ssl.network)})"
    found.append(_fact("strategy", f"{strategy} {glyphs.dot} {HTTP.get(ssl.http_mode, ssl.http_mode)}"))
    found += _key(ssl, glyphs)
    if ssl.domains:
        found.append(_fact("domains", ", ".join(plain(name) for name in ssl.domains)))
    found += _compared(ssl, glyphs, now, width)
    found += _renewal(ssl, now, width)
    return found


def _fact(title: str, said: str, style: str = "") -> Line:
    return [(f" {title:<{TITLE - 1}}", "muted"), (said, style)]


def _wrapped(lead: str, text: str, width: int, style: str) -> Iterator[Line]:
    for line in textwrap.wrap(plain(text, 1000), max(30, width - 1), initial_indent=f" {lead}", subsequent_indent=" " * (len(lead) + 1)):
        yield [(line, style)]


def problems(ssl: SslRecord, now: datetime) -> list[tuple[str, str]]:
    """What is wrong with it, the worst first: status and sentence."""
    said: list[tuple[str, str]] = []
    on_record = ssl.in_use or ssl.saved
    if ssl.days_left is not None and on_record is not None:
        ends = f"{on_record.not_after:%Y-%m-%d %H:%M}"
        if on_record.not_after <= now:
            said.append(("failed", f"it ended {_ago(on_record.not_after, now)} ({ends})"))
        elif ssl.days_left <= SOON_D:
            said.append(("failed" if ssl.days_left <= URGENT_D else "attention", f"it ends in {_days(ssl.days_left)} ({ends})"))
    if ssl.mismatch:
        said.append(("attention", "what is served is not what is on record · b restarts the application"))
    if ssl.untrusted:
        said.append(("attention", "untrusted: it is of a staging directory, for trying things out; no browser accepts it"))
    if ssl.renewal_problem:
        said.append(("attention", f"renewal fails: {ssl.renewal_problem}"))
    if ssl.served is not None and ssl.served.problem:
        said.append(("attention", f"what it serves could not be seen {_ago(ssl.served.at, now)}: {ssl.served.problem}"))
    said += [("failed", f"refused at the next provision: {_worded(problem)}") for problem in ssl.refusals]
    return said + [("attention", _worded(problem)) for problem in ssl.warnings]


def _state(ssl: SslRecord, glyphs: Glyphs, now: datetime, width: int) -> Iterator[Line]:
    """How it stands; one line when all is well."""
    said, on_record = problems(ssl, now), ssl.in_use or ssl.saved
    if ssl.saved is not None and ssl.in_use is not None and ssl.saved.fingerprint != ssl.in_use.fingerprint:
        said.append(("pending", f"another one is saved, until {ssl.saved.not_after:%Y-%m-%d}: it waits for a reprovision (R)"))
    if on_record is None and not ssl.refusals:
        said.append(("off", "it has no certificate yet: the first provision makes it" if ssl.strategy != "per_instance" else "no certificate yet"))
    elif not said:
        seen = " and is what is served" if ssl.served is not None and ssl.served.facts is not None else ""
        said.append(("well", f"the certificate is well{seen}; it ends in {_days(ssl.days_left or 0)}"))
    for status, text in said:
        waits = status == "pending"
        yield from _wrapped(f"{glyphs.pending if waits else glyphs.status(status)} ", text, width, "attention" if waits else status)


def _worded(problem: Problem) -> str:
    title = BY_NAME[problem.field].title if problem.field in BY_NAME else problem.field
    return f"{title}: {problem.message}"


def _ago(then: datetime, now: datetime) -> str:
    said = columns.ago(then, now)
    return "just now" if said == "now" else f"{said} ago"


def _days(count: int) -> str:
    return "less than a day" if count <= 0 else f"{count} day{'s' * (count != 1)}"


def _key(ssl: SslRecord, glyphs: Glyphs) -> Iterator[Line]:
    """Where the key is, and which. Of a key only the fingerprint of its public half is ever known here."""
    if ssl.strategy != "per_instance":
        return
    half = ssl.key.rpartition(":")[2]
    which = f" {glyphs.dot} public half {half[:16]}{glyphs.ellipsis}" if half else ""
    if not half and ssl.key_storage == "inline_encrypted":
        which = f" {glyphs.dot} not set"
    yield _fact("key", STORAGES.get(ssl.key_storage, ssl.key_storage) + which)
    if ssl.secret_id:
        yield _fact("secret", plain(ssl.secret_id))


def short(fingerprint: str, glyphs: Glyphs) -> str:
    """Both ends of a fingerprint: enough to tell two apart at a glance. ``V`` shows all of it."""
    return fingerprint if len(fingerprint) <= 24 else f"{fingerprint[:11]}{glyphs.ellipsis}{fingerprint[-11:]}"


def _compared(ssl: SslRecord, glyphs: Glyphs, now: datetime, width: int) -> Iterator[Line]:
    """On record beside served, a row for each thing a certificate says; where both say the same, that is said once."""
    ours, served = ssl.in_use or ssl.saved, ssl.served.facts if ssl.served is not None else None
    if ours is None and served is None:
        return
    cells = min(56, (width - TITLE - 4) // 2)
    left = "ON RECORD" if ssl.in_use is not None else "IN THE SETTINGS"
    seen = "NOT LOOKED AT YET" if ssl.served is None else "SERVED: not seen" if served is None else f"SERVED, seen {_ago(ssl.served.at, now)}"
    yield [(" " * TITLE, ""), (fit(left, cells, ellipsis=glyphs.ellipsis), "title"), ("    ", ""), (seen, "title")]
    for title, of in _rows(glyphs):
        a, b = (of(ours) if ours is not None else "-"), (of(served) if served is not None else "-")
        differs = ours is not None and served is not None and a != b
        line: Line = [(f" {title:<{TITLE - 1}}", "muted"), (fit(a, cells, ellipsis=glyphs.ellipsis), "")]
        if differs:
            line += [(f"  {glyphs.attention} ", "attention"), (fit(b, cells, ellipsis=glyphs.ellipsis), "attention")]
        else:
            line += [("    ", ""), ("the same" if served is not None and ours is not None else fit(b, cells, ellipsis=glyphs.ellipsis), "muted")]
        yield line


def _rows(glyphs: Glyphs) -> tuple[tuple[str, Callable[[CertificateFacts], str]], ...]:
    return (
        ("subject", lambda f: plain(f.subject)),
        ("names", lambda f: ", ".join(plain(name) for name in f.sans) or "none"),
        ("issuer", lambda f: "itself" if f.is_self_signed else plain(f.issuer)),
        ("valid", lambda f: f"{f.not_before:%Y-%m-%d} to {f.not_after:%Y-%m-%d}"),
        ("key", lambda f: f"{f.key} {glyphs.dot} {f.signature}" if f.signature else f.key),
        ("fingerprint", lambda f: short(f.fingerprint, glyphs)),
    )


def _renewal(ssl: SslRecord, now: datetime, width: int) -> Iterator[Line]:
    if ssl.strategy == "letsencrypt":
        yield _fact("directory", plain(ssl.directory))
        if ssl.renew_at is None:
            yield _fact("renewal", "by itself, once there is a certificate")
        elif ssl.renew_at <= now:
            yield _fact("renewal", "due now")
        else:
            yield _fact("renewal", f"by itself {ssl.renew_at:%Y-%m-%d %H:%M}, in {columns.span((ssl.renew_at - now).total_seconds())}; r does it now")
        if ssl.retry_at is not None and ssl.retry_at > now:
            yield _fact("not before", f"{ssl.retry_at:%Y-%m-%d %H:%M}: the directory wants no requests until then", "attention")
    elif ssl.strategy == "self_signed":
        yield _fact("renewal", "made anew by a reprovision when its names have changed")
    else:
        yield _fact("renewal", "nothing renews it: put a new one in (e), then reprovision (R)")


def _halves(lead: str, fingerprint: str) -> tuple[str, str]:
    """A fingerprint in two lines, so that all of it can be compared at 80 columns."""
    return f"{lead}{fingerprint[:48]}", f"{' ' * len(lead)}{fingerprint[48:]}"


def in_full(ssl: SslRecord) -> list[str]:
    """Every field of what is on record and of what is served, the chain, and the PEM."""
    found: list[str] = []
    served = ssl.served.facts if ssl.served is not None else None
    for title, facts in (("ON RECORD", ssl.in_use), ("IN THE SETTINGS", ssl.saved), ("SERVED", served)):
        if facts is None:
            continue
        found += [
            title, f"  subject      {facts.subject}", f"  issuer       {facts.issuer}", f"  names        {', '.join(facts.sans) or 'none'}",
            f"  from         {facts.not_before:%Y-%m-%d %H:%M:%S} UTC", f"  to           {facts.not_after:%Y-%m-%d %H:%M:%S} UTC",
            f"  key          {facts.key}", f"  signature    {facts.signature or 'of the key itself'}", *_halves("  fingerprint  ", facts.fingerprint),
        ]  # fmt: skip
        for number, link in enumerate(facts.chain, 2):
            found += [
                f"  {number}. in the chain", f"     subject      {link.subject}", f"     issuer       {link.issuer}",
                f"     to           {link.not_after:%Y-%m-%d %H:%M:%S} UTC", *_halves("     fingerprint  ", link.fingerprint),
            ]  # fmt: skip
        found.append("")
    return found + ssl.certificate_pem.splitlines()
