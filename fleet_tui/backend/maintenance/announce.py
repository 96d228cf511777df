"""Mail to the owners of the VMs that run on a host: what will happen, why, until when, and to which of their VMs (spec 8.7)."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import Partial, TimedOut, Unreachable
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST
from fleet_tui.backend.maintenance.drivers import Drivers, Mail
from fleet_tui.backend.maintenance.rows import AnnouncementRow, SessionRow
from fleet_tui.backend.maintenance.sessions import changed
from fleet_tui.backend.operations.catalogue import StepContext
from fleet_tui.backend.text import clean

TEXT_LIMIT = 4000


def recipients(tx: Session, host_id: str, mail: Mail) -> Mapping[str, tuple[VmRow, ...]]:
    """Address of each owner of a VM that runs on the host, with their VMs by name. A name without ``@`` gets the mail domain."""
    running = select(VmRow).where(VmRow.host_id == host_id, VmRow.state.in_([state.value for state in ON_HOST])).order_by(VmRow.name)
    found: dict[str, list[VmRow]] = {}
    for vm in tx.scalars(running):
        for owner in dict.fromkeys(vm.owners):
            if (to := address(owner, mail)) is not None:
                found.setdefault(to, []).append(vm)
    return {to: tuple(found[to]) for to in sorted(found)}


def address(owner: str, mail: Mail) -> str | None:
    """An owner's mail address; ``None`` when there is no way to know one, or what is stored could not stand in a header."""
    to = owner if "@" in owner else f"{owner}@{mail.domain}" if mail.domain else ""
    fits = to.isascii() and to.isprintable() and len(to) <= 254 and not set(to) & set(' ,;:<>()[]"\\')
    return to if to and fits and to.count("@") == 1 and not to.startswith("@") else None


def compose(mail: Mail, to: str, host: str, vms: Sequence[VmRow], *, reason: str, until: datetime | None, text: str, token: str,
            now: datetime) -> EmailMessage:
    """The message to one owner. Its id follows from the announcement, so that a doubled one could be told."""
    message = EmailMessage()
    message["From"], message["To"] = mail.sender, to
    message["Subject"] = f"Maintenance of {host}: {len(vms)} of your VMs will be moved"
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{token}.{to.replace('@', '.at.')}@{mail.sender.rpartition('@')[2] or 'localhost'}>"
    message["Auto-Submitted"] = "auto-generated"
    rows = [("IP", "name", "owner"), *((", ".join(vm.ips) or "-", vm.name, ", ".join(vm.owners)) for vm in vms)]
    width = [max(len(row[column]) for row in rows) for column in range(3)]
    table = "\n".join("  ".join(cell.ljust(width[column]) for column, cell in enumerate(row)).rstrip() for row in rows)
    end = f"It is planned to end at {until:%d %b %Y %H:%M UTC}.\n" if until is not None else ""
    said = f"{text.strip()}\n\n" if text.strip() else ""
    message.set_content(
        f"Host {host} goes into maintenance: {reason}\n{end}\n{said}"
        f"These VMs of yours run on it. They are moved to other hosts while they run.\n\n{table}\n"
    )
    return message


def send(ctx: StepContext) -> Mapping[str, Any]:
    """Body of the only step: one mail an owner, each on record before it is handed over and after.

    After a crash in between nobody can say whether the mail went out; it is then not sent again, and that is said.

    Raises:
        Unreachable, TimedOut: the mail server does not answer.
        Partial: it refused some of the recipients.
    """
    drivers = ctx.use(Drivers)
    given = ctx.operation.parameters
    with ctx.read() as tx:
        session = tx.get(SessionRow, given["session"])
        host = tx.get(HostRow, session.host_id) if session is not None else None
        if session is None or host is None:
            return {"sent": 0}
        owners = recipients(tx, host.id, drivers.mail)
        reason, until = session.reason, session.planned_end
        known = {row.recipient: row.state for row in tx.scalars(select(AnnouncementRow).where(AnnouncementRow.operation_id == ctx.operation.id))}
    for to, state in known.items():
        if state == "sending":
            ctx.say(f"the mail to {to} may or may not have gone out when the daemon died; it is not sent again", "warn")
    due = [to for to in owners if to not in known]
    if due:
        with _server(drivers.mail) as server:
            for number, to in enumerate(due, 1):
                ctx.check()
                ctx.progress(f"mail {number} of {len(due)}: {to}")
                message = compose(drivers.mail, to, host.name, owners[to], reason=reason, until=until, text=given.get("text", ""),
                                  token=ctx.operation.id, now=drivers.clock.now())
                _record(ctx, to, session.id, "sending", "", drivers.clock.now())
                error = _hand_over(server, message)
                _record(ctx, to, session.id, "refused" if error else "sent", error, drivers.clock.now())
                ctx.say(f"mail to {to} {f'was refused: {error}' if error else f'about {len(owners[to])} VMs sent'}", "warn" if error else "info")
    return _sum_up(ctx, session.id, host.name, drivers.clock.now())


def _hand_over(server: smtplib.SMTP, message: EmailMessage) -> str:
    """Why the server refused it; empty when it took it."""
    try:
        server.send_message(message)
    except smtplib.SMTPServerDisconnected as error:
        raise Unreachable(f"the mail server hung up: {error}", hint="the log says who has the mail") from None
    except TimeoutError:
        raise TimedOut("the mail server no longer answers", hint="the log says who has the mail") from None
    except smtplib.SMTPException as error:
        return clean(str(error), 300)
    return ""


def _sum_up(ctx: StepContext, session_id: str, host: str, now: datetime) -> Mapping[str, Any]:
    with ctx.write() as tx:
        rows = tx.scalars(select(AnnouncementRow).where(AnnouncementRow.operation_id == ctx.operation.id).order_by(AnnouncementRow.recipient)).all()
        sent = [row.recipient for row in rows if row.state == "sent"]
        refused = {row.recipient: row.error for row in rows if row.state == "refused"}
        session = tx.get(SessionRow, session_id)
        if session is not None and sent:
            session.announced_at, session.announced_to = now, sorted({*session.announced_to, *sent})
            text = f"maintenance of {host} announced to {len(sent)} owners"
            changed(tx, session, text, type="maintenance.announced", operation_id=ctx.operation.id)
    if refused:
        raise Partial(
            f"the mail server refused {len(refused)} of {len(rows)} owners of VMs on {host}: {', '.join(refused)}",
            hint="the others have their mail; tell these in another way", table=refused,
        )
    return {"sent": len(sent)}


def _record(ctx: StepContext, to: str, session_id: str, state: str, error: str, now: datetime) -> None:
    with ctx.write() as tx:
        row = tx.get(AnnouncementRow, (ctx.operation.id, to))
        if row is None:
            tx.add(row := AnnouncementRow(operation_id=ctx.operation.id, recipient=to, session_id=session_id))
        row.state, row.error, row.time = state, error, now


def _server(mail: Mail) -> smtplib.SMTP:
    """A connection to the mail server, encrypted when it offers that."""
    host, _, port = mail.server.partition(":")
    try:
        server = smtplib.SMTP(host, int(port or 25), timeout=mail.timeout_s)
        server.ehlo_or_helo_if_needed()
        if server.has_extn("starttls"):
            server.starttls(context=_context())
        return server
    except TimeoutError:
        raise TimedOut(f"the mail server {mail.server} does not answer", hint="nothing was sent; announce again later") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise Unreachable(
            f"the mail server {mail.server} cannot be reached: {clean(str(error), 200)}", hint="see fleetd --smtp-server; nothing was sent"
        ) from None


def _context() -> ssl.SSLContext:
    """Opportunistic: a mail server inside the site often has a certificate of its own; encrypting to it is still better than not."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
