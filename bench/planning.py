"""Planning to empty a host: any one among 2,000 hosts and 20,000 VMs, and 200 hosts beside Ganeti's balancer.

Ours is counted from the database to the finished plan, N+1 included; Ganeti's ``hbal --evac-mode`` from its file of the same cluster. Both
results are scored by ``hbal`` itself, lower is better: ours by giving it the cluster as our plan leaves it.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from bench.sheet import Goal, Row, skipped
from bench.site import Bench
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.machines.capacity import Rules
from fleet_tui.backend.machines.evacuation import Evacuation, plan_evacuation
from fleet_tui.backend.machines.rows import OfferingRow, VmRow
from fleet_tui.backend.machines.world import World
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table

MANY, FEW = (2000, 20_000), (200, 2000)
CORES, MHZ, GIB = 64, 2500, 256
CPU_RATIO = 400
NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
_SCORE = re.compile(r"(?:Initial score|Cluster score improved from [0-9.]+ to|Cluster was not altered, final score is)[: ]+([0-9.]+)")


def measure(bench: Bench) -> list[Row]:
    with _fleet(*MANY) as store:
        with store.read() as tx:
            world = World.load(tx, Rules(), NOW)
        busiest = max(world.seats, key=lambda host: len(world.on(host)))
        hosts = [busiest, *random.Random(5).sample(sorted(world.seats), 9)]
        times, vms = zip(*(_timed(store, host) for host in hosts), strict=True)
    text = f"{max(len(plan.moves) for plan in vms)} VMs on the fullest of 10 hosts tried"
    return [Row(f"plan to empty a host among {MANY[0]:,} hosts, {MANY[1]:,} VMs", "s", times, goal=Goal(1.0, "p95"), note=text), _beside_ganeti()]


def _beside_ganeti() -> Row:
    name = f"plan to empty a host among {FEW[0]} hosts, {FEW[1]:,} VMs"
    if shutil.which("hbal") is None:
        return skipped(name, "ganeti-htools (Debian) is not installed")
    with _fleet(*FEW) as store, tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        with store.read() as tx:
            world = World.load(tx, Rules(), NOW)
        host = max(world.seats, key=lambda one: len(world.on(one)))
        times, plans = zip(*(_timed(store, host) for _ in range(5)), strict=True)
        before, after = Path(folder) / "before", Path(folder) / "after"
        before.write_text(_as_ganeti(world, host))
        for move in plans[0].moves:
            world.move(world.guests[move.guest.id], move.destination_id)
        after.write_text(_as_ganeti(world, host))
        theirs, found = _hbal(before, "--evac-mode", "-l", "10000")
        scores = f"score of hbal: {_score(_hbal(after, '-l', '0')[1]):.4f} ours, {_score(found):.4f} its own"
    return Row(name, "s", times, "hbal --evac-mode", [theirs], Goal(1.0, "ratio"), scores)


def _timed(store: Store, host: str) -> tuple[float, Evacuation]:
    begun = time.monotonic()
    with store.read() as tx:
        plan = plan_evacuation(World.load(tx, Rules(), NOW), host)
    took = time.monotonic() - begun
    if plan.unplaced:
        raise RuntimeError(f"{len(plan.unplaced)} VMs of {host} have no place in the plan")
    return took, plan


@contextlib.contextmanager
def _fleet(hosts: int, vms: int) -> Iterator[Store]:
    """One cluster in a database of its own, filled to about four tenths."""
    rng = random.Random(hosts)
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        every_table()
        store = Store(sqlite_url(Path(folder) / "fleet.db"))
        store.create_all()
        with store.write() as tx:
            for row in (
                ZoneRow(id="z", name="z", allocation="Enabled"), PodRow(id="p", name="p", zone_id="z", allocation="Enabled"),
                ClusterRow(id="c", name="c", pod_id="p", hypervisor="kvm", allocation="Enabled", cpu_hundredths=CPU_RATIO),
                OfferingRow(id="o", name="o", cores=1, mhz=MHZ, memory_mib=1024),
            ):
                tx.add(row)
                tx.flush()
            tx.add_all(
                HostRow(id=f"h{n:04}", name=f"h{n:04}", cluster_id="c", address=f"10.{n >> 8}.{n & 255}.1", cores=CORES, mhz=MHZ,
                        memory_bytes=GIB * 1024**3, resource_state="Enabled", connection_state="up") for n in range(hosts)
            )
            tx.flush()
            tx.add_all(
                VmRow(
                    id=f"v{n}", guest_id=f"{n}", name=f"v{n}", cluster_id="c", offering_id="o", state="running",
                    host_id=f"h{rng.randrange(hosts):04}",
                    cores=rng.choice((1, 2, 4, 8)), mhz=MHZ, memory_mib=rng.choice((2048, 4096, 8192, 16_384)), cpu_hundredths=CPU_RATIO,
                    created_at=NOW, updated_at=NOW,
                ) for n in range(vms)
            )
        yield store
        store.close()


def _as_ganeti(world: World, leaving: str) -> str:
    """The cluster in the text form of Ganeti's tools: shared disks, the host to be emptied offline."""
    mib = GIB * 1024
    nodes = []
    for n, seat in enumerate(world.seats.values()):
        used = sum(guest.size.memory_bytes for guest in world.on(seat.id)) // 1024**2
        state = "Y" if seat.id == leaving else "M" if n == 0 else "N"
        nodes.append(f"{seat.name}|{mib}|0|{mib - used}|1000000|1000000|{CORES}|{state}|g|1||N|0|1|1.0")
    instances = [
        f"{guest.name}|{guest.size.memory_bytes // 1024**2}|1|{guest.size.cores}|running|Y|{guest.host_id}||sharedfile||1|1|N"
        for guest in world.guests.values()
    ]
    bounds = "1,1,1,1,1,1;262144,64,1048576,16,8,64"
    policy = f"128,1,1024,1,1,1|{bounds}|sharedfile|{CPU_RATIO / 100}|32.0"
    return "\n\n".join(("group|g|preferred||", "\n".join(nodes), "\n".join(instances), "", f"|{policy}\ngroup|{policy}")) + "\n"


def _hbal(file: Path, *flags: str) -> tuple[float, str]:
    begun = time.monotonic()
    found = subprocess.run(["hbal", "-t", str(file), *flags], capture_output=True, text=True, timeout=120, check=False)
    took = time.monotonic() - begun
    if found.returncode not in (0, 1):
        raise RuntimeError(f"hbal ended with {found.returncode}: {found.stderr.strip()[:200]}")
    return took, found.stdout


def _score(said: str) -> float:
    """The last score that hbal tells."""
    return float(_SCORE.findall(said)[-1])
