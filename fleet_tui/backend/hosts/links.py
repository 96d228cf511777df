"""Links: the open connections to all hosts' hypervisors, kept and watched by one thread and two bounded crews.

One daemon of a site writes what links say into the hosts' rows, and keeps every host connected; the others connect to a host when a
step asks for it. Nothing here blocks the watcher: crews dial and ask, it only decides what is due and writes what was found.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import FleetError, TimedOut, Unreachable, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import access, standing
from fleet_tui.backend.hosts.crew import Crew
from fleet_tui.backend.hosts.link import Link, Pace
from fleet_tui.backend.hosts.roster import Place, places
from fleet_tui.backend.hosts.standing import Finding, reason_of
from fleet_tui.backend.hosts.states import REASONS, ConnectionState, ManagedState
from fleet_tui.backend.hypervisors import Hypervisor, Hypervisors
from fleet_tui.backend.remote import Login, Reach, Shell
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import Store
from fleet_tui.backend.store.turn import Turn

log = logging.getLogger("fleetd.links")

_TURN = 0x6C696E6B73  # "links"
_UP = (ConnectionState.UP.value, "")
_BREATH_S, _WRITE_S = 0.2, 1.0
"""Shortest pause between two looks, so that a burst of news is written together; longest that figures wait to be written."""


class Links:
    """Connections by host id.

    Args:
        is_off: asks a host's BMC whether its power is off; ``None`` where it has none or does not say.
        dialers: threads that open connections: hosts that are down cost no more than these.
        askers: threads that ask open connections for signs of life and figures.
    """

    def __init__(
        self, store: Store, hypervisors: Hypervisors, reach: Reach, sealer: Sealer, clock: Clock, *, pace: Pace | None = None,
        is_off: Callable[[str], bool | None] | None = None, dialers: int = 16, askers: int = 16,
    ) -> None:
        self._store, self._hypervisors, self._reach, self._sealer, self._clock = store, hypervisors, reach, sealer, clock
        self._pace = pace or Pace()
        self._is_off = is_off
        self._turn = Turn(store, _TURN)
        self._dialers, self._askers = Crew("links-dial", dialers), Crew("links-ask", askers)
        self._links: dict[str, Link] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._woken = False
        self._roster_due = 0.0
        self._thread = threading.Thread(target=self._watch, name="links", daemon=True)

    # Life

    def start(self) -> None:
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Close every connection; what hosts' rows say stays."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            open_ones = [link.hypervisor for link in self._links.values() if link.hypervisor is not None]
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        for hypervisor in open_ones:
            self._askers.give(lambda hypervisor=hypervisor: _close(hypervisor), urgent=True)  # type: ignore[misc]
        self._askers.stop(5.0)
        self._dialers.stop(1.0)
        self._turn.close()

    # For steps

    def hypervisor(self, host_id: str) -> Hypervisor:
        """The host's hypervisor, connected. Dials when it is not, once for all who ask.

        Raises:
            Unreachable, AuthFailed: with details ``reason`` (spec 7.4).
            WrongState: it runs none, or its cluster is not managed.
        """
        link = self._link(host_id)
        with self._changed:
            if link.hypervisor is not None:
                return link.hypervisor
            generation = link.generation
            self._dial(link, urgent=True)
            link.waiting += 1
            self._changed.wait_for(
                lambda: link.hypervisor is not None or link.generation != generation or self._stopped, self._pace.dial_s + self._pace.answer_s
            )
            link.waiting -= 1
            if link.hypervisor is not None:
                return link.hypervisor
            error = link.error or TimedOut("no answer in time")
        raise access.unreachable(link.place.name, error)

    def shell(self, host_id: str) -> Shell:
        """A new shell on the host; close it when done.

        Raises:
            Unreachable: with details ``reason``.
            AuthFailed: the host refuses us, or its cluster's credentials are known not to match.
        """
        with self._store.read() as tx:
            host, cluster = access.host_and_cluster(tx, host_id)
            access.refuse_without_hypervisor(host, cluster)
            access.refuse_mismatch(cluster)
            name, login = host.name, access.login_of(host, self._sealer)
        return self.shell_at(name, login)

    def shell_at(self, name: str, login: Login) -> Shell:
        """A new shell with other credentials than the stored ones."""
        try:
            return self._reach.open(login, timeout_s=self._pace.dial_s)
        except FleetError as error:
            raise access.unreachable(name, error) from None

    def is_up(self, host_id: str) -> bool:
        """Whether it is connected here and now; asks nobody."""
        with self._changed:
            link = self._links.get(host_id)
            return link is not None and link.hypervisor is not None

    def drop(self, host_id: str) -> None:
        """Close the connection, if there is one. A watched host is dialled again at once."""
        with self._changed:
            link = self._links.get(host_id)
            if link is not None:
                self._give_up(link, None)
                link.failures, link.due = 0, 0.0
            self._wake(roster=True)

    def expect_off(self, host_id: str, for_s: float = 1800.0) -> None:
        """Its power is about to go off on purpose: until then a link that breaks is no alarm (``disconnected``, not ``alert``)."""
        with self._store.write() as tx:
            host, _ = access.host_and_cluster(tx, host_id)
            host.expected_off_until = self._clock.now() + timedelta(seconds=for_s)
            append(tx, type="host.changed", ref=f"host:{host_id}")
        with self._changed:
            self._wake(roster=True)

    def refresh(self) -> None:
        """Hosts were added, removed or changed: look at them now."""
        with self._changed:
            self._wake(roster=True)

    # The watcher

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                self._woken = False
            pause = self._pace.roster_s
            try:
                pause = self._look()
            except Exception:
                log.exception("the watch over links failed; it is tried again")
                pause = 1.0
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._woken, max(_BREATH_S, pause))
            if self._woken:
                self._clock.sleep(_BREATH_S)

    def _look(self) -> float:
        """Read, decide, write. Seconds until something is due."""
        now = self._clock.monotonic()
        writes = self._turn.held()
        if now >= self._roster_due:
            self._take_roster(self._roster(), writes)
            self._roster_due = now + self._pace.roster_s
        with self._changed:
            links = list(self._links.values())
            due = [self._start_due(link, now, writes) for link in links]
        if writes:
            self._write(links)
        pause = min([self._roster_due, *due]) - self._clock.monotonic()
        return min(pause, _WRITE_S) if any(link.asked is not None for link in links) else pause

    def _start_due(self, link: Link, now: float, dials: bool) -> float:
        """Begin what is due of one host; when the next thing is."""
        pace = self._pace
        if link.hypervisor is None:
            wanted = link.waiting or (dials and link.place.is_watched)
            if wanted:
                self._ask_power(link, now)
            if not wanted or link.is_dialing:
                return now + pace.roster_s
            if link.due > now:
                return link.due
            self._dial(link)
            return now + pace.roster_s
        if link.asked is not None:
            if now - link.asked >= pace.answer_s:
                self._give_up(link, TimedOut(f"no answer within {pace.answer_s:g} s", reason="unreachable"))
                return now
            return link.asked + pace.answer_s
        measure = dials and now - link.measured >= pace.figures_s
        if measure or now - link.heard >= pace.quiet_s:
            link.asked = now
            self._askers.give(lambda: self._ask(link, link.generation, measure))
            return now + pace.answer_s
        return min(link.heard + pace.quiet_s, link.measured + pace.figures_s if dials else now + pace.quiet_s)

    def _write(self, links: Iterable[Link]) -> None:
        """Everything that was found out since the last time, in one transaction."""
        now = self._clock.now()
        with self._changed:
            findings: dict[str, Finding] = {}
            for link in links:
                stands = link.standing(now)
                if stands is not None and (stands[0].value, stands[1]) != link.told:
                    link.note(Finding(state=stands[0], reason=stands[1], detail=link.error.message if link.error else ""))
                if link.news is not None:
                    findings[link.place.host_id] = link.news
                    link.news = None
        if not findings:
            return
        try:
            with self._store.write() as tx:
                standing.store(tx, findings, now)
        except Exception:
            with self._changed:
                for link in links:
                    if (lost := findings.get(link.place.host_id)) is not None:
                        link.news = lost if link.news is None else link.news.over(lost)
            raise
        with self._changed:
            for link in links:
                found = findings.get(link.place.host_id)
                if found is not None and found.state is not None:
                    link.told = (found.state.value, found.reason)

    # Which hosts there are

    def _roster(self, host_id: str = "") -> list[Place]:
        with self._store.read() as tx:
            return places(tx, host_id)

    def _take_roster(self, found: Iterable[Place], writes: bool) -> None:
        by_id = {place.host_id: place for place in found}
        with self._changed:
            for gone in [host_id for host_id in self._links if host_id not in by_id]:
                self._give_up(self._links.pop(gone), None)
            for host_id, place in by_id.items():
                link = self._links.setdefault(host_id, Link(place))
                link.place = place
                if place.state == ConnectionState.CONNECTING.value and link.hypervisor is not None and link.told == _UP:
                    self._give_up(link, None)  # somebody asked, perhaps of another daemon, that it be built anew
                link.told = (place.state, place.reason) if writes else None
                if not place.is_watched and link.hypervisor is not None and place.state != ConnectionState.CREATING.value:
                    self._give_up(link, None)

    def _link(self, host_id: str) -> Link:
        """The link of a host that a step needs, known already or not."""
        with self._store.read() as tx:
            host, cluster = access.host_and_cluster(tx, host_id)
            access.refuse_without_hypervisor(host, cluster)
            if cluster.managed != ManagedState.MANAGED.value:
                raise WrongState(f"cluster {cluster.name} is not managed: nothing is sent to {host.name}", hint="manage the cluster again first",
                                 state=cluster.managed, allowed=[ManagedState.MANAGED.value])
            (place,) = places(tx, host_id)
        with self._changed:
            return self._links.setdefault(host_id, Link(place))

    # What the crews do

    def _dial(self, link: Link, urgent: bool = False) -> None:
        if link.is_dialing:
            return
        link.is_dialing = True
        generation = link.generation
        self._dialers.give(lambda: self._open(link, generation), urgent=urgent)

    def _open(self, link: Link, generation: int) -> None:
        place = link.place
        hypervisor: Hypervisor | None = None
        try:
            with self._store.read() as tx:
                login = access.login_of(access.host_and_cluster(tx, place.host_id)[0], self._sealer)
            hypervisor = self._hypervisors.open(place.kind, login, lambda reason: self._lost(link, generation, reason))
            found = Finding(facts=hypervisor.facts(), figures=hypervisor.figures(), is_master=hypervisor.is_pool_master())
        except Exception as problem:
            if hypervisor is not None:
                _close(hypervisor)
            with self._changed:
                link.is_dialing = False
                if link.generation == generation:
                    self._give_up(link, _error(place.name, problem))
            return
        with self._changed:
            link.is_dialing = False
            if link.generation != generation or self._stopped or self._links.get(place.host_id) is not link:
                self._askers.give(lambda: _close(hypervisor))
            else:
                now = self._clock.monotonic()
                link.hypervisor, link.error, link.failures, link.is_off = hypervisor, None, 0, None
                link.heard = link.measured = now
                link.asked = None
                link.note(found)
            self._wake()

    def _ask(self, link: Link, generation: int, measure: bool) -> None:
        with self._changed:
            hypervisor = link.hypervisor
        if hypervisor is None or link.generation != generation:
            return
        try:
            figures = hypervisor.figures() if measure else None
            if not measure:
                hypervisor.ping()
        except Exception as problem:
            with self._changed:
                if link.generation == generation:
                    self._give_up(link, _error(link.place.name, problem))
            return
        with self._changed:
            if link.generation != generation:
                return
            link.heard, link.asked = self._clock.monotonic(), None
            if figures is not None:
                link.measured = link.heard
                link.note(Finding(figures=figures))

    def _lost(self, link: Link, generation: int, reason: str) -> None:
        """The driver says that a connection broke by itself; from any thread."""
        with self._changed:
            if link.generation == generation and link.hypervisor is not None:
                self._give_up(link, Unreachable("the connection broke", reason=reason if reason in REASONS else "unreachable"))

    def _give_up(self, link: Link, error: FleetError | None) -> None:
        """Call it broken (or, without an error, closed by us). Under the lock."""
        if (hypervisor := link.hypervisor) is not None:
            self._askers.give(lambda: _close(hypervisor))
        link.hypervisor, link.asked, link.error = None, None, error
        link.generation += 1
        if error is not None:
            link.failures += 1
            link.due = self._clock.monotonic() + link.retry_in(self._pace)
        self._wake()

    def _ask_power(self, link: Link, now: float) -> None:
        if self._is_off is None or link.error is None or reason_of(link.error) != "unreachable" or link.power_due > now:
            return
        link.power_due = now + random.uniform(*self._pace.power_s)
        ask, generation = self._is_off, link.generation

        def job() -> None:
            found = ask(link.place.host_id)
            with self._changed:
                if link.hypervisor is None and link.generation >= generation:
                    link.is_off = found
                self._wake()

        self._askers.give(job)

    def _wake(self, roster: bool = False) -> None:
        if roster:
            self._roster_due = 0.0
        self._woken = True
        self._changed.notify_all()


def _error(name: str, problem: Exception) -> FleetError:
    if isinstance(problem, FleetError):
        return problem
    log.error("the driver of %s failed", name, exc_info=problem)
    return Unreachable(f"its driver failed: {type(problem).__name__}", hint="the daemon's log has the details", reason="unreachable")


def _close(hypervisor: Hypervisor) -> None:
    with suppress(Exception):  # it is given up; how it takes that is its own matter
        hypervisor.close()
