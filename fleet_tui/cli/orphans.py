"""``fleet orphan …``: what the site has at its providers and no instance has."""

from __future__ import annotations

from fleet_tui.backend import instances as i
from fleet_tui.backend import providers as p
from fleet_tui.backend.errors import NotFound
from fleet_tui.cli.asking import operate
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import ORPHANS


def find(context: Context) -> int:
    context.out.rows(ORPHANS, _seen(context), empty="everything belongs to an instance")
    return 0


def remove(context: Context) -> int:
    """Raises :class:`NotFound` when nothing of that id is there, or when it belongs to an instance."""
    wanted = context.given.id
    found = next((one for one in _seen(context) if one.id == wanted), None)
    if found is None:
        raise NotFound(f"there is nothing called {wanted!r} without an owner", hint="`fleet orphan list` shows what there is")
    return operate(context, i.RemoveOrphan, found.id, kind=found.kind, provider=found.provider, region=found.region)


def _seen(context: Context) -> tuple[p.Orphan, ...]:
    """Providers that could not be asked are told, for what they have is not in it."""
    found: p.OrphanList = context.session.fetch(p.ListOrphans())
    for why in found.unseen:
        context.say(f"not asked: {why}")
    return found.orphans
