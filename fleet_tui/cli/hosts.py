"""``fleet host …`` and ``fleet patch …``: the machines that VMs run on. What takes them out of service is in ``maintenance``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

from fleet_tui.backend import hosts as h
from fleet_tui.backend.errors import ConfirmationRequired, UsageError
from fleet_tui.cli.asking import change, operate, password_of, report, text_of
from fleet_tui.cli.context import Context
from fleet_tui.cli.waiting import finish
from fleet_tui.columns import HOSTS, PATCHES

VERBS: Mapping[str, tuple[type, str]] = {
    "retry": (h.RetryHost, "try again to add a host that could not be added"),
    "reconnect": (h.ReconnectHost, "drop the link to it and build it again"),
    "degrade": (h.DeclareDegraded, "declare that it cannot be brought back; its highly available VMs start elsewhere"),
    "cancel-degraded": (h.CancelDegraded, "it is back after all"),
}
"""Verbs that become an operation and take nothing but the host."""


def find(context: Context) -> int:
    columns = [column for column in HOSTS if context.given.wide or not column.wide]
    context.out.rows(columns, context.session.fetch(h.ListHosts()), empty="there are no hosts; `fleet host add ADDRESS` adds one")
    return 0


def show(context: Context) -> int:
    context.out.record(context.session.fetch(h.ShowHost(context.given.name)))
    return 0


def operate_on(context: Context) -> int:
    """Any of :data:`VERBS`."""
    return operate(context, VERBS[context.given.verb][0], context.given.name)


def add(context: Context) -> int:
    """Its host key is accepted by the fingerprint given, or by a person who is shown it; by nothing else."""
    given = context.given
    if not given.ssh_key and not given.ask_password:
        raise UsageError("how is it logged in to?", hint="give --ssh-key FILE, or --ask-password")
    request = h.AddHost(
        target=given.address, cluster=given.cluster, user=given.user, port=given.ssh_port, name=given.name or "", tags=tuple(given.tag),
        private_key=text_of(given.ssh_key) if given.ssh_key else "",
        password=password_of(f"Password of {given.user} on {given.address}") if given.ask_password else "",
        accept_fingerprint=given.accept_fingerprint, dry_run=context.flag("dry_run", False),
    )  # fmt: skip
    try:
        submitted = context.session.submit(request)
    except ConfirmationRequired as refusal:
        submitted = context.session.submit(dataclasses.replace(request, accept_fingerprint=_accepted(context, given.address, refusal)))
    return finish(context, submitted)


def _accepted(context: Context, address: str, refusal: ConfirmationRequired) -> str:
    """The fingerprint that a person accepts now. Raises :class:`ConfirmationRequired` where there is nobody to ask, or the answer is not yes."""
    fingerprint = str(refusal.details.get("fingerprint", ""))
    if not fingerprint:
        raise refusal
    flag = f"--accept-fingerprint {fingerprint}"
    if not context.can_ask:
        hint = f"compare it on the host itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then give {flag}"
        raise ConfirmationRequired(refusal.message, hint=hint, **refusal.details)
    context.say(refusal.message)
    context.say("Compare it on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    sys.stderr.write("Is it the same? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfirmationRequired(f"the host key of {address} was not accepted, nothing was done", hint=f"give {flag} once you have compared it")
    return fingerprint


def remove(context: Context) -> int:
    return operate(context, h.RemoveHost, context.given.name, force=context.given.force)


def reinstall(context: Context) -> int:
    given = context.given
    return operate(context, h.ReinstallHost, given.name, accept_fingerprint=given.accept_fingerprint, wait_s=given.wait_for)


def edit(context: Context) -> int:
    """Fields not given stay. An empty ``--tags`` takes all of them away."""
    given = context.given
    fields: dict[str, Any] = {
        "tags": words(given.tags), "location_note": given.note, "ssh_user": given.user, "ssh_port": given.ssh_port,
        "private_key": text_of(given.ssh_key) if given.ssh_key else None,
    }  # fmt: skip
    if all(value is None for value in fields.values()):
        raise UsageError("nothing to change", hint="give --tags, --note, --user, --ssh-port or --ssh-key")
    saved = change(context, h.EditHost(target=given.name, version=given.version, **fields))
    return report(context, saved, f"{saved.name} saved")


def list_patches(context: Context) -> int:
    found = context.session.fetch(h.ListPatches(context.given.hypervisor))
    context.out.rows(PATCHES, found, empty="the ledger is empty; `fleet patch import FILE` fills it")
    return 0


def import_patches(context: Context) -> int:
    given = context.given
    form = given.format or ("json" if given.file.lower().endswith(".json") else "csv")
    return report(context, change(context, h.ImportPatches(text_of(given.file), form, given.replace)))


def words(text: str | None) -> tuple[str, ...] | None:
    """A list apart by commas; ``None`` when it was not given."""
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())
