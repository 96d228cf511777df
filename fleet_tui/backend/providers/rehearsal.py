"""What a simulated agent goes through and says: the ten phases of a start-up, and the talk of a living application.

Everything follows from the seed, so an agent that is taken up again after a restart of the daemon says the same lines
under the same numbers, and none is stored twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_tui.backend.providers.faults import PHASES

Line = tuple[str, str]
"""(level, text)"""


@dataclass(frozen=True, slots=True)
class Scene:
    """One phase: how long it takes at pace 1, and what is said in it."""

    phase: str
    seconds: float
    lines: tuple[Line, ...]
    skipped: bool = False


FAILURES: Mapping[str, tuple[str, tuple[Line, ...]]] = {
    "hello": ("the one-time token was refused", (("error", "door: 401 the token is not the one this machine was given"),)),
    "data-disk": (
        "the disk carries a foreign file system: ntfs; it is left as it is",
        (("info", "blkid /dev/vdb: TYPE=\"ntfs\" LABEL=\"backup-2019\""), ("error", "refusing to format a disk that carries ntfs")),
    ),
    "internal-setup": (
        "the container daemon did not start on the data disk",
        (("warn", "containerd: failed to load plugin io.containerd.snapshotter.v1.overlayfs"), ("error", "containerd exited 1 after 3 tries")),
    ),
    "certificate": (
        "the certificate on the data disk does not match its key",
        (("info", "found certificates/instance.pem from an earlier machine"), ("error", "public keys differ: sha256 91fe.. and 0c77..")),
    ),
    "actions:before_install": (
        "setup action 1 'environment' failed: exit code 127",
        (("info", "action 1/2 environment"), ("error", "sh: 1: envsubst: not found")),
    ),
    "install-or-upgrade": (
        "install ended with exit code 1: No space left on device",
        (("info", "unpacking bundle.tar"), ("error", "tar: lib/assets.pack: Cannot write: No space left on device"), ("error", "install exited 1")),
    ),
    "actions:after_install": (
        "setup action 2 'warm cache' failed: exit code 22",
        (("info", "action 2/2 warm cache"), ("error", "curl: (22) The requested URL returned error: 404")),
    ),
    "start": (
        "port 8080 is taken by process 4711 (nginx); free it, then retry the start-up",
        (("info", "starting the application"), ("error", "bind 0.0.0.0:8080: Address already in use"),
         ("error", "application exited 98 after 0.4 s")),
    ),
    "actions:after_startup": (
        "setup action 1 'register' failed: no answer within 60 s",
        (("info", "action 1/1 register"), ("error", "POST https://registry.internal/v1/nodes: timed out after 60 s")),
    ),
    "ready": ("the application ended while it was being watched", (("error", "application exited 139 (SIGSEGV)"),)),
}
"""Phase -> (what its report says, what its log shows). For the tests of faults and for the failed instances of a demo."""


def start_up(document: Mapping[str, Any], disk: Mapping[str, Any], seed: str) -> tuple[Scene, ...]:
    """The scenes of one boot, from the start-up document and what an earlier machine left on the data disk."""
    rng = random.Random(seed)
    app: Mapping[str, Any] = document.get("application", {})
    name, version, port = app.get("name", "application"), str(app.get("version", "1.0")), document.get("port") or app.get("port") or 8080
    scenes = {
        "hello": (0.3, _info(f"agent 1.0 on {_host(document)}, clock {rng.uniform(-0.4, 0.4):+.3f} s", "door answered, document received")),
        "data-disk": (0.6, _disk(document, disk, rng)),
        "internal-setup": (0.9, _info(
            "user app (uid 990) is there", "limits: nofile 65536, nproc 8192", "containers live on the data disk: /data/containers",
            f"{rng.randint(18, 31)} environment variables, port {port}",
        )),
        "certificate": (0.7, _certificate(document, disk)),
        "install-or-upgrade": (2.6, _install(name, version, disk, rng)),
        "start": (1.6, _info(
            f"starting {name} {version}", f"process {rng.randint(700, 9000)} started", "waiting for the port to open",
            f"port {port} is open after {rng.uniform(0.6, 2.4):.1f} s",
        )),
        "ready": (0.3, _info(f"{name} {version} is ready", f"health {app.get('health', '/health')}: 200 in {rng.randint(3, 40)} ms")),
    }
    actions = list(document.get("actions", ()))
    return tuple(
        _actions(phase, actions, rng) if phase.startswith("actions:") else Scene(phase, *scenes[phase]) for phase in PHASES
    )


def _info(*texts: str) -> tuple[Line, ...]:
    return tuple(("info", text) for text in texts)


def _host(document: Mapping[str, Any]) -> str:
    addresses = document.get("addresses") or {}
    return str(addresses.get("host_name") or addresses.get("private_ip") or "localhost")


def _disk(document: Mapping[str, Any], disk: Mapping[str, Any], rng: random.Random) -> tuple[Line, ...]:
    size = (document.get("disk") or {}).get("size_gb", 50)
    if disk.get("formatted"):
        return _info(f"/dev/vdb {size} GiB: ext4, clean", "mounted at /data",
                     "application, containers and certificates of an earlier machine are there")
    return _info(
        f"/dev/vdb {size} GiB: no file system", f"mkfs.ext4: {rng.randint(1000, 4000)} ms", "mounted at /data",
        "folders made: application, containers, certificates",
    )


def _certificate(document: Mapping[str, Any], disk: Mapping[str, Any]) -> tuple[Line, ...]:
    wanted: Mapping[str, Any] = document.get("certificate") or {}
    if wanted.get("strategy", "none") == "none":
        return _info("plain HTTP: no certificate is needed")
    if disk.get("certificate_fingerprint"):
        return _info(f"certificate from the data disk is reused, fingerprint {disk['certificate_fingerprint']}")
    sans = ", ".join(wanted.get("sans") or ()) or wanted.get("common_name", "?")
    return _info("making an EC P-256 key", f"self-signed certificate made for {sans}", "kept in /data/certificates, mode 0600")


def _install(name: str, version: str, disk: Mapping[str, Any], rng: random.Random) -> tuple[Line, ...]:
    before = disk.get("version")
    files = rng.randint(300, 2400)
    if before == version and disk.get("application") == name:
        what = _info(f"{name} {version} is installed already; files are laid out again", f"{files} files unpacked")
        return (*what, ("info", "install: done, 0 migrations"))
    told = [f"unpacking bundle.tar, {rng.randint(4, 180)} MB", f"{files} files unpacked, checksum matches"]
    if before and disk.get("application") == name:
        return (
            *_info(*told, f"upgrade from {before} to {version}", f"migration {rng.randint(100, 400)}: add index on audit(time)"),
            ("warn", "migration took a table lock for 1.2 s"), ("info", "upgrade: done"),
        )
    told += [f"running install of {name} {version}", "resolving 42 dependencies", "compiling assets (1/3)", "compiling assets (2/3)",
             "compiling assets (3/3)"]
    return (*_info(*told), ("warn", "assets: 2 unused selectors dropped"), ("info", "install: done"))


def _actions(phase: str, actions: Sequence[Mapping[str, Any]], rng: random.Random) -> Scene:
    mine = [action for action in actions if action.get("stage") == phase.partition(":")[2]]
    enabled = [action for action in mine if action.get("enabled", True)]
    if not mine:
        return Scene(phase, 0.1, (("info", "no setup actions at this stage"),), skipped=True)
    return Scene(phase, 0.2 + 0.8 * len(enabled), replayed(mine, rng))


def replayed(actions: Sequence[Mapping[str, Any]], rng: random.Random) -> tuple[Line, ...]:
    """What running these setup actions says."""
    told: list[Line] = []
    for number, action in enumerate(actions, 1):
        name = action.get("name") or action.get("kind")
        if not action.get("enabled", True):
            told.append(("info", f"action {number}/{len(actions)} {name}: switched off"))
            continue
        told += _info(f"action {number}/{len(actions)} {name} ({action.get('kind')})", f"{name}: done in {rng.randint(40, 2500)} ms")
    return tuple(told)


# --- the living application ------------------------------------------------------------------------------------------

_TALK: Mapping[str, tuple[tuple[int, str, str], ...]] = {
    "web": (
        (40, "info", "GET /catalogue/{n} 200 {ms} ms"), (20, "info", "GET /api/v2/orders?page={s} 200 {ms} ms"),
        (8, "info", "POST /api/v2/orders 201 {ms} ms"), (4, "info", "session cache: {n} entries, {s} evicted"),
        (4, "warn", "slow request: GET /report/{s} took {n} ms"), (2, "warn", "upstream db pool: {s} waiting"),
        (1, "error", "GET /api/v2/export 500: upstream closed the connection"),
    ),
    "db": (
        (30, "info", "checkpoint complete: wrote {n} buffers in {ms} ms"), (14, "info", "autovacuum of orders: {n} dead tuples removed"),
        (10, "info", "connection from app@10.20.{s}.{u} authorised"), (5, "info", "replica lag {ms} ms"),
        (3, "warn", "statement took {n} ms: SELECT … FROM orders JOIN lines"), (1, "error", "deadlock detected; transaction {n} rolled back"),
    ),
    "ci": (
        (30, "info", "job {n}: step {s} done in {ms} ms"), (12, "info", "job {n}: passed"), (5, "info", "cache restored, {n} MB"),
        (5, "warn", "job {n}: retrying flaky step {s}"), (3, "error", "job {n}: failed, 2 tests of {m}"),
    ),
    "mail": (
        (30, "info", "queue: {s} messages, oldest {u} s"), (20, "info", "delivered to {s} recipients in {ms} ms"),
        (4, "warn", "greylisted by mx{s}.example.net, again in 300 s"), (1, "error", "relay refused: 554 5.7.1"),
    ),
    "cache": (
        (30, "info", "hit rate {s} %, {n} keys"), (10, "info", "evicted {n} keys in {ms} ms"),
        (3, "warn", "memory at {s} %"), (1, "error", "client 10.20.{s}.{u} dropped: output buffer over limit"),
    ),
    "": (
        (30, "info", "GET / 200 {ms} ms"), (10, "info", "project {u}: build finished in {n} ms"), (6, "info", "scenario {s} triggered"),
        (3, "warn", "worker {s} restarted: memory limit"), (1, "error", "scenario {s} failed: timeout after {u} s"),
    ),
}
HOSTILE: tuple[Line, ...] = (
    ("warn", "bad login for user \x1b]52;c;cm0gLXJmIC8=\x07\x1b[2J\x1b[Hadmin"),
    ("info", "User-Agent: [bold red]not markup[/nope] [@click=app.quit]x[/]"),
    ("warn", "upload refused: invoice\u202efdp.exe"),
    ("error", "config reload: DB_PASSWORD=correct-horse-battery url=amqp://app:hunter22@mq.internal/"),
    ("info", "\x00\x08\x7fbinary probe on port 22\u200b\u200d \x9b31mred"),
)
"""What attackers and accidents put into logs; harmless once it was cleaned and masked."""
_OUTAGES = (
    "GET /health: no answer within 5 s", "GET /health: 503 Service Unavailable", "connection refused: the application ended (exit code 137)",
)


def role_of(label: str) -> str:
    """What kind of application a label suggests."""
    head = label.lower().split("-")[0]
    return head if head in _TALK else ""


def chatter(label: str, rng: random.Random, count: int) -> tuple[Line, ...]:
    """A few lines such as this application writes while nothing is wrong; now and then a hostile one."""
    talk = _TALK[role_of(label)]
    weights = [weight for weight, _, _ in talk]
    return tuple(_one(talk, weights, rng) for _ in range(count))


def _one(talk: tuple[tuple[int, str, str], ...], weights: list[int], rng: random.Random) -> Line:
    if rng.random() < 0.004:
        return rng.choice(HOSTILE)
    _, level, text = rng.choices(talk, weights)[0]
    return level, text.format(n=rng.randint(200, 9800), m=rng.randint(200, 2400), s=rng.randint(2, 98), u=rng.randint(2, 98), ms=rng.randint(1, 180))


def outage(rng: random.Random) -> str:
    """Why an application is down, as its health check says it."""
    return rng.choice(_OUTAGES)
