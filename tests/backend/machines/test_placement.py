"""Where VMs go, why not elsewhere, and how a host is planned empty."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_tui.backend.errors import InvalidInput, NoCapacity, NotFound, TimedOut, WrongState
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, ZoneRow
from fleet_tui.backend.machines import PlanPlacement, placement
from fleet_tui.backend.machines.balance import Balance
from fleet_tui.backend.machines.capacity import Rules, Size
from fleet_tui.backend.machines.evacuation import plan_evacuation, survives
from fleet_tui.backend.machines.placement import Wanted, choose, refusal, wanted_move
from fleet_tui.backend.machines.preview import plan_placement
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.machines.world import Cluster, Guest, Seat, World
from fleet_tui.backend.store import Store
from tests.backend.machines.yard import GIB, Fleet

SMALL = Size(2, 2000, 4 * GIB)


@pytest.fixture
def fleet(sqlite_store: Store) -> Fleet:
    return Fleet(sqlite_store)


def world(fleet: Fleet, **options) -> World:
    with fleet.store.read() as tx:
        return World.load(tx, fleet.machines.rules, fleet.clock.now(), "c", **options)


def verdicts(fleet: Fleet, wanted: Wanted | None = None, policy: str = "balanced", **options) -> dict[str, str]:
    chosen = choose(world(fleet), wanted or Wanted("c", SMALL, "web"), policy, **options)
    return {verdict.host: verdict.why for verdict in chosen.placement.verdicts}


def test_every_host_that_is_not_chosen_has_its_reason(fleet: Fleet) -> None:
    fleet.hosts("fits", "roomy")
    fleet.host("full", gib=6)
    fleet.vm("v1", "full")
    fleet.host("busy", cores=3, mhz=2000)
    fleet.vm("v2", "busy")
    fleet.host("few", cores=1)
    fleet.host("slow", mhz=1900)
    fleet.host("off", connection_state="alert", reason="unreachable")
    fleet.host("arm", arch="aarch64")
    fleet.host("ill", health="at-risk")
    fleet.host("tagged")
    fleet.vm("v3", "tagged", exclusion_tags=["db"], offering="tiny")
    for state in ("Disabled", "PrepareForMaintenance", "ErrorInPrepareForMaintenance", "Maintenance", "ErrorInMaintenance", "Degraded"):
        fleet.host(state, resource_state=state)
    found = verdicts(fleet, Wanted("c", SMALL, "web", tags=frozenset({"db", "x"})))
    assert found.pop("fits") == found.pop("roomy") == ""
    assert found["full"] == "needs 4,096 MiB of RAM, 2,048 MiB are free"
    assert found["busy"] == "needs 4,000 MHz, 2,000 are free"
    assert found["few"] == "has 1 cores, 2 are needed" and found["slow"] == "its cores have 1,900 MHz, 2,000 are needed"
    assert "alert (unreachable)" in found["off"] and "aarch64" in found["arm"] and "at-risk" in found["ill"]
    assert found["tagged"] == "a VM with exclusion tag db is on it"
    for state in ("Disabled", "PrepareForMaintenance", "ErrorInPrepareForMaintenance", "Maintenance", "ErrorInMaintenance", "Degraded"):
        assert state in found[state]
    assert verdicts(fleet, Wanted("c", SMALL, unwell_too=True))["ill"] == ""


def test_a_disabled_branch_takes_nothing(fleet: Fleet) -> None:
    fleet.hosts("h1", "h2")
    for table, key, what in ((ZoneRow, "z", "zone z is disabled"), (ClusterRow, "c", "cluster c is disabled")):
        fleet.set(table, key, allocation="Disabled")
        assert set(verdicts(fleet).values()) == {what}
        fleet.set(table, key, allocation="Enabled")
    fleet.set(ClusterRow, "c", managed="PrepareUnmanaged")
    assert "PrepareUnmanaged" in verdicts(fleet)["h1"]


def test_a_dedicated_cluster_is_for_its_account(fleet: Fleet) -> None:
    fleet.host("h1")
    fleet.set(ClusterRow, "c", dedicated_account="gold")
    assert "dedicated to gold" in verdicts(fleet)["h1"]
    assert verdicts(fleet, Wanted("c", SMALL, account="gold"))["h1"] == ""


def test_never_is_told_from_not_now(fleet: Fleet) -> None:
    fleet.hosts("h1", "h2", gib=6)
    for host in ("h1", "h2"):
        fleet.vm(f"on-{host}", host)
    fleet.host("h3", gib=64, resource_state="Maintenance")
    for size, reason in (
        (SMALL, "cannot_fit_now"), (Size(2, 2000, 32 * GIB), "cannot_fit_now"), (Size(2, 2000, 65 * GIB), "cannot_fit_ever"),
        (Size(17, 100, GIB), "cannot_fit_ever"), (Size(1, 2001, GIB), "cannot_fit_ever"),
    ):
        wanted = Wanted("c", size, "web")
        error = refusal(wanted, choose(world(fleet), wanted))
        assert isinstance(error, NoCapacity) and error.details["reason"] == reason and len(error.details["verdicts"]) == 3
    assert "1 host cannot be used now, 2 hosts without enough RAM" in refusal(Wanted("c", SMALL, "web"), choose(world(fleet), Wanted("c", SMALL))).message


def test_new_vms_stop_at_the_threshold_and_others_do_not(fleet: Fleet) -> None:
    fleet.hosts("h1", "h2", gib=10)
    for n in range(4):
        fleet.vm(f"v{n}", f"h{n % 2 + 1}")  # 16 of 20 GiB
    assert fleet.machines.rules.ram_threshold == 85
    found = verdicts(fleet, Wanted("c", Size(1, 100, GIB), is_new=True))  # 17 of 20 are 85 %
    assert set(found.values()) == {""}
    found = verdicts(fleet, Wanted("c", Size(1, 100, GIB + 1), is_new=True))
    assert "above 85 %" in found["h1"]
    assert set(verdicts(fleet, Wanted("c", Size(1, 100, GIB + 1))).values()) == {""}


def test_policies(fleet: Fleet) -> None:
    fleet.hosts("h1", "h2", "h3")
    fleet.vm("a", "h1")
    fleet.vm("b", "h1")
    fleet.vm("c", "h2")
    wanted = Wanted("c", SMALL, "web")

    def picked(policy: str, **options) -> str:
        return choose(world(fleet), wanted, policy, **options).placement.host

    assert picked("emptiest") == picked("balanced") == "h3" and picked("fullest") == "h1"
    assert picked("adjacent:c") == "h2" and picked("balanced", host_id="h1") == "h1"
    for policy in ("any", "random"):
        assert {picked(policy, rng=random.Random(seed)) for seed in range(30)} == {"h1", "h2", "h3"}
    fleet.set(HostRow, "h1", memory_bytes=GIB)
    assert {picked("any", rng=random.Random(seed)) for seed in range(30)} == {"h1", "h2", "h3"}
    assert {picked("random", rng=random.Random(seed)) for seed in range(30)} == {"h2", "h3"}
    assert verdicts(fleet, policy="adjacent:c")["h3"] == "c is not on it"
    for wrong in ("best", "adjacent", "command", "any:thing", ""):
        with pytest.raises(InvalidInput):
            choose(world(fleet), wanted, wrong)
    with pytest.raises(NotFound):
        choose(world(fleet), wanted, "adjacent:nobody")


def test_a_program_of_the_administrator_chooses(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.hosts("h1", "h2", "h3")
    fleet.set(HostRow, "h3", resource_state="Maintenance")
    places = tmp_path / "placement"
    places.mkdir()

    def program(name: str, text: str) -> None:
        (places / name).write_text(f"#!/bin/sh\n{text}\n")
        (places / name).chmod(0o755)

    def asked(name: str) -> str:
        return choose(world(fleet), Wanted("c", SMALL, "web"), f"command:{name}", programs=places).placement.host

    program("second", f"cat > {tmp_path}/in; echo h2")
    assert asked("second") == "h2"
    told = (tmp_path / "in").read_text()
    assert '"name": "web"' in told and '"h1"' in told and '"h3"' not in told
    for name, text in (("silent", "true"), ("wrong", "echo h3"), ("rude", "printf '\\033[31mh1'"), ("broken", "echo no >&2; exit 3")):
        program(name, text)
        with pytest.raises(WrongState) as refused:
            asked(name)
        assert "\033" not in refused.value.message
    monkeypatch.setattr(placement, "_COMMAND_S", 0.2)
    program("slow", "exec sleep 60")
    with pytest.raises(TimedOut):
        asked("slow")
    for missing in ("gone", "../placement/second", ".hidden"):
        with pytest.raises(NotFound):
            asked(missing)
    with pytest.raises(NotFound):
        choose(world(fleet), Wanted("c", SMALL), "command:second")


def test_a_live_move_stays_among_hosts_that_are_secured_alike(fleet: Fleet) -> None:
    fleet.host("h1", is_secured=True)
    fleet.host("h2")
    fleet.host("h3", is_secured=True)
    fleet.vm("v", "h1")
    found = world(fleet)
    chosen = choose(found, wanted_move(found, found.guests["v"]))
    assert chosen.placement.host == "h3"
    assert {v.host: v.why for v in chosen.placement.verdicts} == {
        "h1": "it is there already", "h2": "one of the two hosts is secured, the other is not", "h3": "",
    }


def test_where_would_it_go(fleet: Fleet) -> None:
    fleet.hosts("h1", "h2")
    fleet.vm("v", "h1")
    fleet.vm("off", "h1", VmState.STOPPED)
    for request, host in ((PlanPlacement(vm="v"), "h2"), (PlanPlacement(vm="off"), "h2"), (PlanPlacement(cluster="c", offering="small"), "h2")):
        assert plan_placement(fleet.store, fleet.machines, request).host == host
    assert plan_placement(fleet.store, fleet.machines, PlanPlacement(cluster="c", offering="small")).more == 7 + 8


# --- emptying a host ---------------------------------------------------------------------------------------------------


def test_an_evacuation_has_a_destination_for_each_vm_in_the_order_of_moving(fleet: Fleet) -> None:
    fleet.hosts("h1", "h2", "h3")
    fleet.host("h4", resource_state="Maintenance")
    fleet.vm("small", "h1")
    fleet.vm("large", "h1", offering="large")
    fleet.vm("router", "h1", kind="router", offering="tiny")
    fleet.vm("off", "h1", VmState.STOPPED)
    fleet.set(VmRow, "large", memory_mib=16 * 1024)
    found = world(fleet)
    before = {seat.id: (seat.cpu_taken, seat.ram_taken, dict(seat.tags)) for seat in found.seats.values()}
    plan = plan_evacuation(found, "h1")
    assert [move.guest.name for move in plan.moves] == ["router", "large", "small"] and not plan.unplaced
    assert {move.destination for move in plan.moves} == {"h2", "h3"}
    assert plan.survives is True
    assert {seat.id: (seat.cpu_taken, seat.ram_taken, dict(seat.tags)) for seat in found.seats.values()} == before


def test_a_vm_without_a_place_says_why(fleet: Fleet) -> None:
    fleet.host("h1")
    fleet.hosts("h2", "h3", gib=6)
    fleet.vm("large", "h1", offering="large")
    fleet.set(VmRow, "large", memory_mib=16 * 1024)
    fleet.vm("gpu", "h1", has_device=True)
    fleet.vm("fine", "h1")
    plan = plan_evacuation(world(fleet), "h1", explain=True)
    assert [move.guest.name for move in plan.moves] == ["fine"]
    large, gpu = plan.unplaced
    assert large.why == "2 hosts without enough RAM" and large.can_ever_fit
    assert {v.host: v.why for v in large.verdicts}["h1"] == "it is there already"
    assert "device" in gpu.why


def test_hosts_that_are_emptied_together_do_not_take_each_others_vms(fleet: Fleet) -> None:
    fleet.hosts("h1", "h2", "h3")
    fleet.vm("a", "h1")
    fleet.vm("b", "h2")
    found = world(fleet)
    plan = plan_evacuation(found, "h1", "h2", keep=True)
    assert {move.destination for move in plan.moves} == {"h3"} and not plan.survives
    assert [guest.name for guest in found.on("h3")] == ["a", "b"] and found.seats["h1"].ram_taken == 0
    assert not found.seats["h1"].closed  # and its next plan may use it again


def test_packing_tightly_finds_a_place_where_spreading_does_not(fleet: Fleet) -> None:
    """Two hosts of 8 GiB, VMs of 4, 4 and 8 GiB: spread out, the small ones would block the large one."""
    fleet.host("h1", gib=32)
    fleet.hosts("h2", "h3", gib=8)
    for name, gib in (("r1", 4), ("r2", 4), ("guest", 8)):
        fleet.vm(name, "h1", kind="guest" if name == "guest" else "router", cores=1, memory_mib=gib * 1024)
    plan = plan_evacuation(world(fleet), "h1")
    assert not plan.unplaced and [m.guest.name for m in plan.moves] == ["r1", "r2", "guest"]
    assert plan.moves[0].destination == plan.moves[1].destination != plan.moves[2].destination


def test_survival_of_one_more_loss(fleet: Fleet) -> None:
    fleet.host("h1", gib=16)
    fleet.hosts("h2", "h3", gib=8)
    for name, host in (("a", "h1"), ("b", "h1"), ("c", "h2"), ("d", "h3")):
        fleet.vm(name, host)
    found = world(fleet)
    assert survives(found, found.clusters["c"])
    fleet.vm("e", "h1")  # 12 GiB, and 8 are free elsewhere
    found = world(fleet)
    place = found.clusters["c"]
    assert not survives(found, place) and not survives(found, place, "h1") and survives(found, place, "h2") and survives(found, place, "h3")


BOX = st.tuples(st.integers(1, 64), st.integers(1, 256))
GUEST = st.tuples(st.integers(1, 8), st.integers(1, 32), st.integers(0, 7), st.sampled_from([(), ("db",), ("a", "db")]))


@settings(max_examples=150, deadline=None)
@given(boxes=st.lists(BOX, min_size=2, max_size=8), guests=st.lists(GUEST, max_size=24))
def test_a_plan_never_puts_more_on_a_host_than_it_has_and_leaves_nobody_who_would_fit(boxes, guests) -> None:
    found = World(Rules())
    place = found.clusters["c"] = Cluster("c", "c", "kvm", "", "", 100, 100)
    for n, (cores, gib) in enumerate(boxes):
        seat = found.seats[f"h{n}"] = Seat(f"h{n}", f"h{n}", place, "", "", "", False, 64, 3000, cores * 1000, gib * GIB, 0, True)
        place.seats.append(seat)
    for n, (cores, gib, at, tags) in enumerate(guests):
        host, size = f"h{at % len(boxes)}", Size(cores, 1000, gib * GIB, 100, 100)
        cpu, ram = place.weight(size)
        seat = found.seats[host]
        if seat.cpu_free < cpu or seat.ram_free < ram or any(seat.tags[tag] > 0 for tag in tags):
            continue
        guest = found.guests[f"v{n}"] = Guest(f"v{n}", f"v{n}", "guest", "c", VmState.RUNNING, host, None, size, frozenset(tags), "", False, False)
        seat.take(cpu, ram, tags)
        found._on.setdefault(host, []).append(guest)
    leaving = {guest.id for guest in found.on("h0")}
    plan = plan_evacuation(found, "h0", keep=True)
    assert {m.guest.id for m in plan.moves} | {u.guest.id for u in plan.unplaced} == leaving
    for seat in place.seats:
        assert seat.cpu_free >= 0 and seat.ram_free >= 0 and all(count <= 1 for count in seat.tags.values())
        assert sum(place.weight(g.size)[1] for g in found.on(seat.id)) == seat.ram_taken
    for left in plan.unplaced:
        assert not choose(found, wanted_move(found, left.guest)).seat
    if survives(found, place):
        for seat in place.seats:
            assert not plan_evacuation(found, seat.id).unplaced or len(found.on(seat.id)) > 1


def test_the_balanced_choice_is_the_one_with_the_lowest_score(fleet: Fleet) -> None:
    """Against trying each host for real."""
    rng = random.Random(3)
    for n in range(6):
        fleet.host(f"h{n}", gib=rng.choice([32, 64, 128]), cores=rng.choice([16, 32]))
    for n in range(40):
        fleet.vm(f"v{n}", f"h{rng.randrange(6)}", offering=rng.choice(["small", "tiny"]))
    found = world(fleet)
    place = found.clusters["c"]
    cpu, ram = place.weight(SMALL)
    scores = {}
    for seat in place.seats:
        if seat.cpu_free >= cpu and seat.ram_free >= ram:
            largest = seat.largest
            seat.take(cpu, ram)
            scores[seat.name] = Balance(place).score()
            seat.give_back(cpu, ram)
            seat.largest = largest
    assert choose(found, Wanted("c", SMALL)).placement.host == min(scores, key=scores.__getitem__)
