"""Random taking, giving back, dedicating, scoping and editing of ranges, against a model that keeps one entry an ID.

After every edit the two agree on whether it was allowed, and on the state of every ID.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.networks import (
    Dedicate,
    ReleaseDedication,
    SetRanges,
    SetScope,
    allocation,
    dedication,
    editing,
    guest,
    physical,
    queries,
    scopes,
)
from fleet_tui.backend.networks.rows import PhysicalNetworkRow
from fleet_tui.backend.networks.states import OwnerKind, Scope, VlanState
from fleet_tui.backend.store import Store, sqlite_url
from tests.backend.networks.ground import NOW, network, physnet

LAST = 90
OWNERS = ("", "shop", "bank")
NETWORKS = {f"n{n}": OWNERS[n % 3] for n in range(60)}
FOR_GUESTS = {"guest-pool", "guest-assigned", "guest-shared"}


@dataclass
class Model:
    """What the rules of spec 10 say, one ID at a time."""

    scope: dict[int, str] = field(default_factory=dict)
    dedicated: dict[int, str] = field(default_factory=dict)
    taken: dict[int, tuple[str, bool]] = field(default_factory=dict)

    def ranges(self, ids: set[int], how: str) -> bool:
        before = set(self.scope)
        after = {"set": ids, "add": before | ids, "remove": before - ids}[how]
        gone = before - after
        if gone & (self.taken.keys() | self.dedicated.keys()):
            return False
        self.scope = {number: self.scope.get(number, "guest-pool") for number in after}
        return True

    def rescope(self, ids: set[int], to: str) -> bool:
        changed = {number for number in ids if self.scope.get(number) != to}
        if not ids <= self.scope.keys() or (to not in FOR_GUESTS and changed & (self.taken.keys() | self.dedicated.keys())):
            return False
        self.scope.update(dict.fromkeys(ids, to))
        return True

    def dedicate(self, ids: set[int], owner: str) -> bool:
        if not all(self.scope.get(number) in FOR_GUESTS for number in ids) or ids & self.dedicated.keys():
            return False
        if any(NETWORKS[self.taken[number][0]] != owner for number in ids & self.taken.keys()):
            return False
        self.dedicated.update(dict.fromkeys(ids, owner))
        return True

    def release(self, ids: set[int]) -> bool:
        gone = ids & self.dedicated.keys()
        for number in gone:
            del self.dedicated[number]
        return bool(gone)

    def candidates(self, name: str, fallback: bool) -> set[int]:
        """IDs that may be taken for a network; empty when it is refused."""
        owner = NETWORKS[name]
        pool = {number for number, scope in self.scope.items() if scope == "guest-pool" and number not in self.taken}
        has_own = bool(owner) and owner in self.dedicated.values()
        own = {number for number in pool if owner and self.dedicated.get(number) == owner}
        return own or (pool - self.dedicated.keys() if fallback or not has_own else set())

    def specify(self, name: str, number: int) -> bool:
        owner, holder = NETWORKS[name], self.dedicated.get(number)
        mine = {at for at, who in self.dedicated.items() if owner and who == owner}
        if holder is not None and holder != owner:
            return False
        if (self.scope.get(number) == "guest-pool" and holder is None) or self.scope.get(number) in {"management", "public", "reserved"}:
            return False
        if mine - self.taken.keys() and number not in mine:
            return False
        if number in self.taken:
            return False
        self.taken[number] = (name, True)
        return True

    def state(self, number: int) -> str:
        if number in self.taken:
            return "specified" if self.taken[number][1] else "dedicated-allocated" if number in self.dedicated else "allocated"
        if self.scope[number] not in FOR_GUESTS:
            return self.scope[number]
        return "dedicated-free" if number in self.dedicated else "free"


class Walk:
    """One random edit after another, on both."""

    def __init__(self, tx: Session, seed: int) -> None:
        self.rng, self.model, self.tx = random.Random(seed), Model(), tx
        self.refused = 0

    def step(self, fabric: PhysicalNetworkRow) -> None:
        rng, model, tx = self.rng, self.model, self.tx
        deed = rng.choices(
            ("take", "give", "specify", "unspecify", "set", "add", "remove", "scope", "dedicate", "release"), (12, 10, 4, 3, 1, 5, 4, 4, 4, 4)
        )[0]
        first = rng.randint(1, LAST)
        last = min(LAST, first + rng.choice((0, 0, 1, 3, 8, 20)))
        ids, holds = set(range(first, last + 1)), {name: number for number, (name, _) in model.taken.items()}
        name = rng.choice(sorted(NETWORKS))
        if deed == "take" and name not in holds:
            fallback = rng.random() < 0.7
            allowed = model.candidates(name, fallback)
            number = self.does(bool(allowed), lambda: allocation.take(tx, guest.lock(tx, f"gn-{name}"), NOW, fallback=fallback))
            if allowed:
                assert number in allowed
                model.taken[number] = (name, False)
        elif deed in ("give", "unspecify") and name in holds:
            row, specified = guest.lock(tx, f"gn-{name}"), deed == "unspecify"
            freed = allocation.give_back(tx, row, row.reservation, specified=specified)
            assert freed is (specified or not model.taken[holds[name]][1])
            if freed:
                row.reservation = ""
                del model.taken[holds[name]]
        elif deed == "specify" and name not in holds:
            self.does(model.specify(name, first), lambda: allocation.specify(tx, guest.lock(tx, f"gn-{name}"), first, NOW))
        elif deed in ("set", "add", "remove"):
            spans = [(first, last)]
            for _ in range(rng.choice((0, 0, 1, 2)) + 5 * (deed == "set")):
                start = rng.randint(1, LAST)
                spans.append((start, min(LAST, start + rng.choice((0, 2, 10, 40)))))
            text = ",".join(f"{a}-{b}" for a, b in spans)
            wanted = {number for a, b in spans for number in range(a, b + 1)}
            self.does(model.ranges(wanted, deed), lambda: editing.set_ranges(tx, SetRanges("guest", text, deed, True), "ada"))
        elif deed == "scope":
            to = rng.choice((Scope.GUEST_POOL, Scope.GUEST_POOL, *Scope))
            self.does(model.rescope(ids, to.value), lambda: scopes.set_scope(tx, SetScope("guest", first, last, to), "ada"))
        elif deed == "dedicate":
            owner = rng.choice(OWNERS[1:])
            self.does(model.dedicate(ids, owner), lambda: dedication.dedicate(tx, Dedicate("guest", first, last, OwnerKind.ACCOUNT, owner), "ada"))
        elif deed == "release":
            self.does(model.release(ids), lambda: dedication.release(tx, ReleaseDedication("guest", first, last), "ada"))

    def does(self, allowed: bool, act: Callable[[], object]) -> object:
        """What the real one does, which must be what the model says; a refusal leaves nothing behind."""
        if allowed:
            return act()
        self.refused += 1
        with pytest.raises(FleetError):
            act()
        assert not self.tx.dirty and not self.tx.new and not self.tx.deleted
        return None

    def compare(self) -> None:
        found, model = queries.show_map(self.tx, "guest"), self.model
        states = Counter({state.value: 0 for state in VlanState})
        states.update(model.state(number) for number in model.scope)
        assert found.physical.counts == states
        assert {item.number: (item.network, item.state.value) for item in found.taken} == {
            number: (name, model.state(number)) for number, (name, _) in model.taken.items()
        }
        assert {n: r.scope.value for r in found.physical.ranges for n in range(r.first, r.last + 1)} == model.scope
        assert {n: d.owner for d in found.physical.dedications for n in range(d.first, d.last + 1)} == model.dedicated
        for item in found.physical.dedications:
            assert item.used == sum(number in model.taken for number in range(item.first, item.last + 1))
        neighbours = sorted(found.physical.ranges, key=lambda item: item.first)
        assert all(a.last < b.first and (a.scope != b.scope or a.last + 1 < b.first) for a, b in pairwise(neighbours))


def walk(store: Store, seed: int, steps: int, looks: int) -> int:
    """``steps`` edits in transactions of some hundred; compared after every ``looks``. How many were refused."""
    with store.write() as tx:
        fabric = physnet(tx, "")
        for name, owner in NETWORKS.items():
            network(tx, fabric, name, owner)
    model, refused, done = Model(), 0, 0
    rng = random.Random(seed)
    while done < steps:
        with store.write() as tx:
            going = Walk(tx, rng.getrandbits(32))
            going.model = model
            row = physical.find(tx, "guest")
            for _ in range(min(500, steps - done)):
                going.step(row)
                done += 1
                if done % looks == 0:
                    going.compare()
            refused += going.refused
            tx.expire_all()
    with store.read() as tx:
        last = Walk(tx, 0)
        last.model = model
        last.compare()
    return refused


@pytest.mark.parametrize("seed", range(2))
def test_random_edits_agree_with_the_model(store: Store, seed: int) -> None:
    assert walk(store, seed, 300, 2) > 30


@pytest.mark.slow
def test_many_random_edits_agree_with_the_model(sqlite_template: Path, tmp_path: Path) -> None:
    """``FLEET_TEST_EDITS=100000`` walks as far as one likes."""
    path = tmp_path / "fleet.db"
    shutil.copy(sqlite_template, path)
    store, steps = Store(sqlite_url(path)), int(os.environ.get("FLEET_TEST_EDITS", "10000"))
    assert walk(store, 7, steps, 100) > steps // 10
    store.close()
