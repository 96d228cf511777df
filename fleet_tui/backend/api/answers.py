"""What each method does: one line each, from request to the slice that answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend import instances, providers
from fleet_tui.backend.api import METHODS, DescribeSite, Done, SiteRecord, Summarize, Summary
from fleet_tui.backend.api.arrivals import fetch
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.api.summary import Dashboard
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import Busy, Problem
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.instances import images, orphans, queries, settings, vault_looks
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.snapshots import follow_schedule
from fleet_tui.backend.operations import schedule
from fleet_tui.backend.operations.engine import Engine
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.secrets.beforehand import Beforehand
from fleet_tui.backend.store import Store, new_id
from fleet_tui.backend.telemetry.agents import Agents
from fleet_tui.backend.telemetry.lines import Lines

_ASKING_AT_ONCE = 2
"""Callers for whom every provider is asked: a cloud that is ill does not hold all calls of the door."""


class Answers:
    """The verbs of the site, by method name."""

    def __init__(
        self, *, store: Store, feed: Feed, engine: Engine, lines: Lines, agents: Agents, clock: Clock, bundles: Path,
        site: Callable[[], SiteRecord], vault: Sealer, alert_days: int = 14, providers: providers.Providers,
    ) -> None:
        self._store, self._feed, self._engine = store, feed, engine
        self._lines, self._agents, self._clock, self._bundles = lines, agents, clock, bundles
        self._site, self._vault, self._providers = site, vault, providers
        self._asking = threading.BoundedSemaphore(_ASKING_AT_ONCE)
        self._dashboard = Dashboard(store, feed, lines, clock, alert_days)

    def table(self) -> Mapping[str, Handler]:
        """Every method this object answers."""
        return {**self._reads(), **self._changes(), **self._operations()}

    def _reads(self) -> Mapping[str, Handler]:
        return {
            "site.describe": self._describe,
            "site.summary": self._summarize,
            "events.after": lambda caller, r: self._feed.after(r),
            "events.list": lambda caller, r: self._feed.list(r),
            "lines.read": lambda caller, r: self._lines.read(r),
            "operations.list": lambda caller, r: self._engine.list(r),
            "operations.show": lambda caller, r: self._engine.show(r.id),
            "schedules.list": lambda caller, r: self._query(lambda tx: schedule.find(tx, r.limit)),
            "instances.list": lambda caller, r: self._query(lambda tx: queries.list_instances(tx, r)),
            "instances.show": lambda caller, r: self._query(lambda tx: queries.describe(tx, r.target)),
            "instances.settings": lambda caller, r: self._query(lambda tx: settings.show(tx, r.target)),
            "snapshots.list": lambda caller, r: self._query(lambda tx: queries.list_snapshots(tx, r.target)),
            "orphans.list": self._list_orphans,
            "images.list": lambda caller, r: self._query(lambda tx: images.list_images(tx, r.limit)),
        }

    def _changes(self) -> Mapping[str, Handler]:
        return {
            "instances.create": self._create,
            "instances.edit": self._edit,
            "images.register": self._register_image,
            "images.remove": self._remove_image,
            "operations.cancel": lambda caller, r: self._engine.cancel(r.id, caller.user),
            "operations.retry": lambda caller, r: self._engine.retry(r.id, r.request_id, caller.user),
            "agent.hello": lambda caller, r: self._agents.hello(r),
            "agent.fetch": lambda caller, r: fetch(self._agents, self._bundles, r),
            "agent.report": lambda caller, r: self._agents.report(r),
        }

    def _operations(self) -> Mapping[str, Handler]:
        """Every kind of the engine that is a method of the table. What a slice answers itself it puts over these."""

        def submit(kind: str) -> Handler:
            return lambda caller, request: self._engine.submit(kind, request, caller.user)

        return {kind: submit(kind) for kind in self._engine.kinds if kind in METHODS}

    def _query(self, ask: Callable[[Session], Any]) -> Any:
        with self._store.read() as tx:
            return ask(tx)

    def _change(self, act: Callable[[Session], Any]) -> Any:
        with self._store.write() as tx:
            return act(tx)

    def _describe(self, caller: Caller, request: DescribeSite) -> SiteRecord:
        return self._site()

    def _summarize(self, caller: Caller, request: Summarize) -> Summary:
        return self._dashboard.summarize(request)

    def _create(self, caller: Caller, request: instances.CreateInstance) -> instances.SavedInstance:
        identity = new_id("i")
        return self._save(request.settings, lambda tx, sealer, warn: settings.create(tx, request, self._clock, sealer, warn, identity))

    def _edit(self, caller: Caller, request: instances.EditInstance) -> instances.SavedInstance:
        return self._save(request.changes, lambda tx, sealer, warn: settings.edit(tx, request, self._clock, sealer, warn))

    def _save(
        self, given: Collection[str], act: Callable[[Session, Sealer, Callable[[Problem], None]], InstanceRow]
    ) -> instances.SavedInstance:
        """Keys that are entered are sealed before the transaction in which they are kept, for their key may be far away; and secrets that are
        named are looked at after it.
        """
        sealer = Beforehand(self._vault)

        def save() -> instances.SavedInstance:
            warnings: list[Problem] = []
            with self._store.write() as tx:
                row = act(tx, sealer, warnings.append)
                self._lines.name(tx, f"instance:{row.id}", row.label)
                follow_schedule(tx, row, self._clock)
                tx.flush()
                return _saved(queries.describe(tx, row.id), warnings)

        saved = sealer.through(save)
        return self._with_looks(saved) if vault_looks.FIELDS & set(given) else saved

    def _with_looks(self, saved: instances.SavedInstance) -> instances.SavedInstance:
        """Named secrets that are not there are worth a word, for they may still be made."""
        with self._store.read() as tx:
            row = tx.get(InstanceRow, saved.id)
            wanted = vault_looks.named(tx, row) if row is not None else None
        if wanted is None:
            return saved
        found = tuple(f"{problem.field}: {problem.message}" for problem, _ in vault_looks.look(self._providers, wanted))
        return replace(saved, warnings=saved.warnings + found)

    def _register_image(self, caller: Caller, request: instances.RegisterImage) -> instances.ImageRecord:
        taken = images.take_bundle(Path(request.path), self._bundles)
        made: instances.ImageRecord = self._change(lambda tx: images.register_image(tx, taken, self._clock))
        return made

    def _remove_image(self, caller: Caller, request: instances.RemoveImage) -> Done:
        name = self._change(lambda tx: images.remove_image(tx, request, self._bundles, caller.user))
        return Done(f"image {name} removed")

    def _list_orphans(self, caller: Caller, request: providers.ListOrphans) -> providers.OrphanList:
        if not self._asking.acquire(blocking=False):
            raise Busy("every provider is being asked already", hint="wait for that to end, then ask again")
        try:
            return orphans.find(self._store, self._providers)
        finally:
            self._asking.release()


def _saved(record: instances.InstanceRecord, warnings: list[Problem]) -> instances.SavedInstance:
    told = {field.name: getattr(record, field.name) for field in fields(record)}
    return instances.SavedInstance(**told, warnings=tuple(f"{warning.field}: {warning.message}" for warning in warnings))
