"""``fleet instance ssl`` and ``fleet cert …``: certificates."""

from __future__ import annotations

from datetime import datetime, timezone

from fleet_tui.backend import certificates as c
from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import NotFound
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import BOARD, when

MISSING_EXIT = 3
"""Of ``--test`` when something is wrong, as of any refused input."""
_MODES = {"redirect": "sends visitors on to HTTPS", "disabled": "is not answered", "": "is all there is"}


def show(context: Context) -> int:
    """One instance's certificate. With ``--test`` it is looked at now, and what is wrong makes the exit code."""
    given = context.given
    record: i.SslRecord = context.session.fetch(i.ShowSsl(given.name, given.test))
    if given.pem:
        if not record.certificate_pem:
            raise NotFound(f"there is no certificate of {record.instance} on record", hint="it is there once a start-up has been through")
        context.out.lines(context.out.cell(line) for line in record.certificate_pem.splitlines())
        return 0
    if context.out.is_json:
        context.out.json(record)
    else:
        context.out.lines(context.out.cell(line) for line in lines_of(record, datetime.now(timezone.utc)))
    return MISSING_EXIT if given.test and _is_wrong(record, datetime.now(timezone.utc)) else 0


def _is_wrong(record: i.SslRecord, now: datetime) -> bool:
    """Whether clients are, or will be, without a certificate that holds."""
    expired = record.in_use is not None and record.in_use.not_after <= now
    unserved = record.served is not None and bool(record.served.problem)
    return bool(record.refusals) or record.mismatch or expired or unserved


def lines_of(record: i.SslRecord, now: datetime) -> list[str]:
    """The record as a person reads it."""
    lines = [f"strategy       {record.strategy}, from virtual network {record.network}; plain HTTP {_MODES.get(record.http_mode, record.http_mode)}"]
    if record.key_storage:
        shown = [record.key_storage, f"{record.key[:27]}…" if record.key else "", record.secret_id]
        lines.append(f"key            {', '.join(filter(None, shown))}")
    if record.domains:
        lines.append(f"domains        {', '.join(record.domains)} by {record.directory}")
    for title, facts in (("saved", record.saved), ("in use", record.in_use)):
        if facts is not None:
            lines += _facts(title, facts, now)
    if record.untrusted:
        lines.append("untrusted      issued by a staging directory: no client trusts it")
    if record.served is not None:
        seen = record.served.facts.fingerprint if record.served.facts else record.served.problem or "nothing"
        lines.append(f"served         {seen} at {when(record.served.at)}{'  ! NOT what is in use' if record.mismatch else ''}")
    if record.renew_at is not None:
        again = f"; the last attempt failed: {record.renewal_problem}" if record.renewal_problem else ""
        lines.append(f"renewal        {when(record.renew_at)}{again}")
    lines += [f"missing        {problem.field}: {problem.message}" for problem in record.refusals]
    lines += [f"warning        {problem.field}: {problem.message}" for problem in record.warnings]
    return lines


def _facts(title: str, facts: c.CertificateFacts, now: datetime) -> list[str]:
    left = (facts.not_after - now).days
    signed = "self-signed" if facts.is_self_signed else f"issued by {facts.issuer}"
    return [
        f"{title:<14} {facts.subject}, {signed}, {facts.key}, until {facts.not_after:%Y-%m-%d} ({left} days left)",
        f"{'':<14} {facts.fingerprint}",
        f"{'':<14} for {', '.join(facts.sans) or 'no names'}",
        *(f"{'':<14} signed by {link.subject}, until {link.not_after:%Y-%m-%d}" for link in facts.chain),
    ]


def board(context: Context) -> int:
    found = context.session.fetch(c.ListBoard(context.given.within))
    empty = f"no certificate ends within {context.given.within} days" if context.given.within else "no instance has a certificate"
    context.out.rows(BOARD, found, empty=empty)
    return 0
