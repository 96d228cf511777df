"""Planning to empty a host: a destination for each VM, and whether the rest could then lose one more.

The plan is what an evacuation would do if nothing else changed meanwhile. The evacuation itself chooses anew for each move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fleet_tui.backend.machines import Verdict
from fleet_tui.backend.machines.balance import Balance
from fleet_tui.backend.machines.placement import Chooser, summary, wanted_move
from fleet_tui.backend.machines.world import Cluster, Guest, Seat, World

_LEAVING = "it is to be emptied"
_FIRST = ("router", "console-proxy", "storage-vm")
"""Routers first, so that networks are settled before guests (spec 8.4)."""


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """One VM and where it would go."""

    guest: Guest
    destination_id: str
    destination: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A VM for which there is no place."""

    guest: Guest
    why: str
    can_ever_fit: bool
    verdicts: tuple[Verdict, ...]
    """Of every host, when they were asked for."""


@dataclass(frozen=True, slots=True)
class Evacuation:
    """What emptying would do. Moves are in the order in which they are made."""

    moves: tuple[PlannedMove, ...]
    unplaced: tuple[Unplaced, ...]
    survives: bool
    """Whether, when all of that is done, the rest of the cluster could lose any one more host (N+1)."""


def in_order(guests: Iterable[Guest]) -> list[Guest]:
    """System VMs first, then guests, each by memory, the largest first (spec 8.4)."""
    return sorted(guests, key=lambda g: (_FIRST.index(g.kind) if g.kind in _FIRST else len(_FIRST), -g.size.memory_bytes, g.name))


def plan_evacuation(world: World, host_id: str, *others: str, explain: bool = False, keep: bool = False) -> Evacuation:
    """Empty a host, or several at once.

    Args:
        explain: with the reason for every host not chosen, for each VM without a place.
        keep: leave ``world`` as it would be afterwards, for plans that go on from there; the hosts stay open in it.
    """
    hosts = (host_id, *others)
    guests = in_order(guest for one in hosts for guest in world.on(one))
    with world.without(hosts, _LEAVING):
        places = _place(world, guests, _Even)
        if any(seat is None for seat in places.values()):
            # Spread out, the last ones found no room; packed tightly, perhaps all do.
            tight = _place(world, sorted(guests, key=lambda g: -g.size.memory_bytes), _Tight)
            if _missing(tight) < _missing(places):
                places = tight
        moves = tuple(PlannedMove(guest, seat.id, seat.name) for guest in guests if (seat := places[guest.id]) is not None)
        unplaced = tuple(_unplaced(world, guest, explain) for guest in guests if places[guest.id] is None)
        origins = {move.guest.id: move.guest.host_id for move in moves}
        for move in moves:
            world.move(move.guest, move.destination_id)
        lasting = all(survives(world, cluster) for cluster in {world.seats[one].cluster.id: world.seats[one].cluster for one in hosts}.values())
        if not keep:
            for move in moves:
                world.move(move.guest, origins[move.guest.id] or "")
    return Evacuation(moves, unplaced, lasting)


def survives(world: World, cluster: Cluster, without: str = "") -> bool:
    """Whether each open host of a cluster, or the one of that id, could be lost and its VMs started on the others.

    Found by packing: largest VM first, on the emptiest host, and if that fails on the fullest that takes it. A ``False`` may therefore be
    too careful by a VM or so, a ``True`` is certain.
    """
    seats = [seat for seat in cluster.seats if not seat.closed]
    lost = [seat for seat in seats if not without or seat.id == without]
    by_room = sorted(seats, key=lambda seat: seat.ram_free, reverse=True)
    if _is_roomy(world, cluster, by_room):
        return True
    # Those most likely to fail come first, so that a "no" is quick.
    return all(_is_absorbed(world, seat, by_room) for seat in sorted(lost, key=lambda seat: (seat.ram_taken, seat.cpu_taken), reverse=True))


def _is_roomy(world: World, cluster: Cluster, by_room: Sequence[Seat]) -> bool:
    """The quick yes: so many hosts have room for the largest VM of all that each VM of any host could have one to itself."""
    most = max((len(world.on(seat.id)) for seat in by_room), default=0)
    if most + 1 > len(by_room):
        return False
    cores = mhz = cpu = ram = 0
    for size in {guest.size for seat in by_room for guest in world.on(seat.id)}:
        weight = cluster.weight(size)
        cores, mhz, cpu, ram = max(cores, size.cores), max(mhz, size.mhz), max(cpu, weight[0]), max(ram, weight[1])
    return all(
        seat.ram_free >= ram and seat.cpu_free >= cpu and seat.cores >= cores and seat.mhz >= mhz and not seat.tags for seat in by_room[:most + 1]
    )


def _is_absorbed(world: World, lost: Seat, by_room: Sequence[Seat]) -> bool:
    guests = sorted(world.on(lost.id), key=lambda guest: -guest.size.memory_bytes)
    needs = [(guest, *lost.cluster.weight(guest.size)) for guest in guests]
    if not guests:
        return True
    if len(by_room) < 2:
        return False
    return any(_packs(needs, lost, by_room, tightly=tightly) for tightly in (False, True))


def _packs(needs: Sequence[tuple[Guest, int, int]], lost: Seat, by_room: Sequence[Seat], *, tightly: bool) -> bool:
    """Whether all find a place, with what each took before kept in mind. ``by_room`` is from the emptiest host on."""
    extra: dict[str, tuple[int, int, frozenset[str]]] = {}
    for guest, cpu, ram in needs:
        best: Seat | None = None
        for seat in by_room:
            if seat.ram_free < ram:
                break  # nor on any after it
            took_cpu, took_ram, tags = extra.get(seat.id, (0, 0, frozenset[str]()))
            if seat is lost or seat.ram_free - took_ram < ram or seat.cpu_free - took_cpu < cpu:
                continue
            if seat.cores < guest.size.cores or seat.mhz < guest.size.mhz or tags & guest.tags or any(seat.tags[tag] > 0 for tag in guest.tags):
                continue
            if not tightly:
                best = seat
                break
            if best is None or seat.ram_free - took_ram < best.ram_free - extra.get(best.id, (0, 0, tags))[1]:
                best = seat
        if best is None:
            return False
        took_cpu, took_ram, tags = extra.get(best.id, (0, 0, frozenset[str]()))
        extra[best.id] = (took_cpu + cpu, took_ram + ram, tags | guest.tags)
    return True


class _Even:
    """The most even result."""

    def __init__(self, cluster: Cluster) -> None:
        self._balance = Balance(cluster)

    def pick(self, fitting: Sequence[Seat], cpu: int, ram: int) -> Seat:
        return self._balance.best(fitting, cpu, ram)

    def placed(self, seat: Seat, cpu: int, ram: int) -> None:
        self._balance.placed(seat, cpu, ram)


class _Tight:
    """The fullest host that takes it."""

    def __init__(self, cluster: Cluster) -> None:
        pass

    def pick(self, fitting: Sequence[Seat], cpu: int, ram: int) -> Seat:
        return min(fitting, key=lambda seat: (seat.ram_free, seat.cpu_free))

    def placed(self, seat: Seat, cpu: int, ram: int) -> None:
        pass


def _place(world: World, guests: Sequence[Guest], way: type[_Even] | type[_Tight]) -> dict[str, Seat | None]:
    """A seat for each, taken one after the other; the world is as before afterwards."""
    places: dict[str, Seat | None] = {}
    taken: list[tuple[Seat, int, int, frozenset[str]]] = []
    ways = {cluster_id: way(world.clusters[cluster_id]) for cluster_id in {guest.cluster_id for guest in guests}}
    for guest in guests:
        chooser = Chooser(world, wanted_move(world, guest))
        fitting = [] if guest.has_device else chooser.fitting()
        if not fitting:
            places[guest.id] = None
            continue
        cpu, ram = chooser.cpu, chooser.ram
        seat = places[guest.id] = ways[guest.cluster_id].pick(fitting, cpu, ram)
        seat.take(cpu, ram, guest.tags)
        ways[guest.cluster_id].placed(seat, cpu, ram)
        taken.append((seat, cpu, ram, guest.tags))
    for seat, cpu, ram, tags in taken:
        seat.give_back(cpu, ram, tags)
    return places


def _missing(places: dict[str, Seat | None]) -> int:
    return sum(seat is None for seat in places.values())


def _unplaced(world: World, guest: Guest, explain: bool) -> Unplaced:
    if guest.has_device:
        return Unplaced(guest, "a device is passed through to it: it cannot move while it runs", False, ())
    chooser = Chooser(world, wanted_move(world, guest))
    found = [(seat, chooser.against(seat)) for seat in chooser.cluster.seats]
    verdicts = tuple(Verdict(seat.name, why is None, chooser.words(seat, why) if why else "") for seat, why in found) if explain else ()
    speaking = [(seat, why) for seat, why in found if why is not None]
    free = [seat for seat, why in found if why is None]
    why = summary(speaking) if not free else f"the room on {free[0].name} goes to others that leave with it"
    return Unplaced(guest, why, chooser.can_ever_fit(), verdicts)


__all__ = ["Evacuation", "PlannedMove", "Unplaced", "in_order", "plan_evacuation", "survives"]
