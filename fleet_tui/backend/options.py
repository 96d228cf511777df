"""What ``fleetd`` was told: flags, then environment, then defaults."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from fleet_tui import __version__
from fleet_tui.backend import directories
from fleet_tui.backend.certificates import rules as certificate_rules
from fleet_tui.backend.directories import Directories
from fleet_tui.backend.errors import UsageError
from fleet_tui.backend.instances.drivers import Timeouts
from fleet_tui.backend.maintenance.drivers import POLICIES, Mail, Policy, policy_of
from fleet_tui.backend.networks.rules import RULES, Rules, rules_of
from fleet_tui.backend.store import sqlite_url

AGENT_PORT = 6978
"""Where agents of other machines are listened to when nothing else is said."""


@dataclass(frozen=True, slots=True)
class AgentDoor:
    """Where agents on other machines call, over TCP with TLS."""

    host: str
    """Address to listen on."""
    port: int
    names: tuple[str, ...]
    """What they may call it, ``host`` or ``host:port``, the best first. The certificate is made out to them."""
    most: int = 4096
    """Connections at once; an agent has two."""
    each: int = 2048
    """Of one address."""

    def address(self, port: int) -> str:
        """What agents are told, given the port that is listened on."""
        return " ".join(f"https://{_bracketed(host)}:{given or port}" for host, given in map(_host_and_port, self.names))

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_host_and_port(name)[0] for name in self.names))


@dataclass(frozen=True, slots=True)
class Options:
    """What ``fleetd`` was told."""

    directories: Directories
    database: str
    slot: int = 1
    site: str = ""
    simulate: bool = False
    instances: int = 200
    hosts: int = 24
    seed: int = 7
    faults: str = ""
    heartbeat_s: float = 10.0
    dead_s: float = 60.0
    socket_mode: int = 0o600
    timeouts: Timeouts = field(default_factory=Timeouts)
    policy: Policy = field(default_factory=Policy)
    mail: Mail = field(default_factory=Mail)
    networks: Rules = field(default_factory=Rules)
    agent_door: AgentDoor | None = None
    """Off unless it is given."""
    certificates: certificate_rules.Rules = field(default_factory=certificate_rules.Rules)

    @property
    def socket(self) -> Path:
        name = "fleetd.sock" if self.slot == 1 else f"fleetd-{self.slot}.sock"
        return self.directories.runtime / name

    @property
    def door(self) -> Path:
        """A link to it at a place that does not change."""
        return self.directories.door.with_name(self.socket.name)

    @property
    def lock(self) -> Path:
        return self.directories.lock if self.slot == 1 else self.directories.state / f"fleetd-{self.slot}.lock"

    @property
    def executor(self) -> str:
        """Stable per slot, so that a plain restart takes its own work up again."""
        return f"{socket.gethostname()}-{self.slot}"


def parse(arguments: Sequence[str]) -> tuple[Options, argparse.Namespace]:
    """Flags, then environment (``FLEETD_*``), then defaults."""
    env = os.environ.get
    parser = argparse.ArgumentParser(prog="fleetd", description="Owns a site: its database, its operations, its agents, its door.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--version", action="version", version=f"fleetd {__version__}")
    parser.add_argument("--state-dir", default=env("FLEETD_STATE_DIR", ""), help="everything under this directory, like FLEET_HOME")
    parser.add_argument("--runtime-dir", default=env("FLEETD_RUNTIME_DIR", ""), help="where the socket is; found from the state directory when empty")
    parser.add_argument("--database", default=env("FLEETD_DATABASE", ""), help="SQLAlchemy URL; SQLite in the state directory when empty")
    parser.add_argument("--slot", type=int, default=int(env("FLEETD_SLOT", "1")), help="which of several daemons of one site (PostgreSQL)")
    parser.add_argument("--site", default=env("FLEETD_SITE", ""), help="name of the site; the host's when empty")
    parser.add_argument("--log-level", default=env("FLEETD_LOG_LEVEL", "info"), choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-stderr", action="store_true", help="log to standard error too (for the journal)")
    parser.add_argument("--socket-mode", default=env("FLEETD_SOCKET_MODE", "600"), help="mode of the socket, octal: who may connect")
    parser.add_argument("--simulate", action="store_true", help="simulated provider and fleet; nothing real is touched")
    parser.add_argument("--instances", type=int, default=200, help="simulated instances")
    parser.add_argument("--hosts", type=int, default=24, help="simulated hosts")
    parser.add_argument("--seed", type=int, default=7, help="what the simulation is made from")
    parser.add_argument("--faults", default=env("FLEETD_FAULTS", ""), help="faults to inject in the simulation")
    parser.add_argument("--heartbeat", type=float, default=float(env("FLEETD_HEARTBEAT", "10")), help="seconds between a daemon's heartbeats")
    parser.add_argument("--dead-after", type=float, default=float(env("FLEETD_DEAD_AFTER", "60")), help="seconds without one: its work is taken over")
    parser.add_argument("--timeouts", default=env("FLEETD_TIMEOUTS", ""), help="name=seconds,… of: " + ", ".join(Timeouts.__dataclass_fields__))
    parser.add_argument("--smtp-server", default=env("FLEETD_SMTP_SERVER", ""), help="host[:port] that mail is handed to; no mail when empty")
    parser.add_argument("--mail-from", default=env("FLEETD_MAIL_FROM", ""), help="who announcements come from")
    parser.add_argument("--mail-domain", default=env("FLEETD_MAIL_DOMAIN", ""), help="added to an owner's name that is no address")
    parser.add_argument("--maintenance", default=env("FLEETD_MAINTENANCE", ""), help="name=value,… of: " + ", ".join(POLICIES))
    parser.add_argument("--networks", default=env("FLEETD_NETWORKS", ""), help="name=value,… of: " + ", ".join(RULES))
    parser.add_argument("--agent-listen", default=env("FLEETD_AGENT_LISTEN", ""),
                        help=f"address[:port] where agents of other machines may call, with TLS; port {AGENT_PORT} when not told; nowhere when empty")
    parser.add_argument("--agent-names", default=env("FLEETD_AGENT_NAMES", ""),
                        help="name[:port],… by which those agents call this daemon, and others of its site; the address listened on when empty")
    parser.add_argument("--agent-limits", default=env("FLEETD_AGENT_LIMITS", ""),
                        help="most=connections,each=connections of one address; an agent has two")
    words = ", ".join(certificate_rules.RULES)
    parser.add_argument("--certificates", default=env("FLEETD_CERTIFICATES", ""), help="name=value,… of: " + words)
    given = parser.parse_args(arguments)
    places = directories.find({**os.environ, "FLEET_HOME": given.state_dir} if given.state_dir else os.environ)
    if given.runtime_dir:
        places = replace(places, runtime=Path(given.runtime_dir).absolute())
    options = Options(
        directories=places, database=given.database or sqlite_url(places.database), slot=given.slot, site=given.site, simulate=given.simulate,
        instances=given.instances, hosts=given.hosts, seed=given.seed, faults=given.faults, heartbeat_s=given.heartbeat,
        dead_s=given.dead_after, socket_mode=int(given.socket_mode, 8), timeouts=_timeouts(given.timeouts),
        policy=policy_of(given.maintenance), mail=Mail(given.smtp_server, given.mail_from, given.mail_domain),
        networks=rules_of(given.networks), agent_door=_agent_door(given.agent_listen, given.agent_names, given.agent_limits),
        certificates=certificate_rules.rules_of(given.certificates),
    )
    if options.slot != 1 and options.database.startswith("sqlite"):
        raise UsageError("one daemon only on SQLite", hint="give --database a PostgreSQL URL to run several")
    return options, given


def _timeouts(text: str) -> Timeouts:
    told: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in Timeouts.__dataclass_fields__:
            raise UsageError(f"there is no timeout {name!r}", hint="known: " + ", ".join(Timeouts.__dataclass_fields__))
        told[name] = float(value)
    return replace(Timeouts(), **told)


def _agent_door(listen: str, names: str, limits: str) -> AgentDoor | None:
    if not listen:
        if names or limits:
            raise UsageError("--agent-names and --agent-limits say how agents call, but nothing says where to listen", hint="give --agent-listen too")
        return None
    host, port = _host_and_port(listen)
    told = tuple(name.strip() for name in names.split(",") if name.strip())
    if not told and host in ("", "0.0.0.0", "::"):
        told = (socket.getfqdn(),)
    return replace(AgentDoor(host or "0.0.0.0", AGENT_PORT if port is None else port, told or (host,)), **_agent_limits(limits))  # type: ignore[arg-type]


def _agent_limits(text: str) -> dict[str, int]:
    told: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in ("most", "each") or not value.isdecimal() or int(value) < 2:
            raise UsageError(f"{part!r} is no limit of agents", hint="as in most=4096,each=2048")
        told[name] = int(value)
    return told


def _host_and_port(text: str) -> tuple[str, int | None]:
    """``host``, ``host:port``, ``[2001:db8::1]:port``; an IPv6 address without port needs no brackets."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, None
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "", parts.port
    except ValueError as problem:
        raise UsageError(f"{text!r} is no address and port: {problem}", hint="as in 10.0.0.5:6978") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
