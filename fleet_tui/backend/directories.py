"""Every directory and socket the product uses, in one place.

``FLEET_HOME=DIR`` puts everything under DIR. Otherwise the XDG base directories are used, as tmux and
systemd user units do: state that must last, run-time sockets that need not, configuration a person edits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fleet_tui.backend.records import dataclass

SYSTEM_SOCKET = Path("/run/fleetd/fleetd.sock")


@dataclass(frozen=True, slots=True)
class Directories:
    """Where one site keeps its things. All absolute; none is created by asking."""

    state: Path
    """Database, disks, snapshots, images, logs, keys: what must survive."""
    runtime: Path
    """The socket: gone at boot."""
    config: Path
    """Files a person writes."""

    @property
    def socket(self) -> Path:
        return self.runtime / "fleetd.sock"

    @property
    def door(self) -> Path:
        """A link to the socket of the daemon that holds this state directory: where it listens depends on the session it was begun in,
        and cron, ``su`` and a service have none or another."""
        return self.state / "fleetd.sock"

    @property
    def lock(self) -> Path:
        """Held by the one daemon of this state directory; contains its pid."""
        return self.state / "fleetd.lock"

    @property
    def database(self) -> Path:
        return self.state / "fleet.db"

    @property
    def engine_database(self) -> Path:
        """Where the durable engine keeps its own tables (SQLite only)."""
        return self.state / "engine.db"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def daemon_log(self) -> Path:
        return self.logs / "fleetd.log"

    @property
    def master_key(self) -> Path:
        return self.state / "master.key"

    @property
    def machines(self) -> Path:
        """OS folders of local instances: thrown away at deprovision."""
        return self.state / "machines"

    @property
    def disks(self) -> Path:
        """Data disks of local instances: kept."""
        return self.state / "disks"

    @property
    def snapshots(self) -> Path:
        return self.state / "snapshots"

    @property
    def images(self) -> Path:
        return self.state / "images"

    @property
    def exports(self) -> Path:
        """What a person saved from the console."""
        return self.state / "exports"

    @property
    def crashes(self) -> Path:
        """Where programs of a person ended by a fault of their own."""
        return self.state / "crashes"

    @property
    def backups(self) -> Path:
        """Copies of the database made before a migration."""
        return self.state / "backups"


def find(environ: Mapping[str, str] | None = None) -> Directories:
    """The directories of this user's own site. Raises ``RuntimeError`` where nothing says whose home is meant."""
    env = os.environ if environ is None else environ
    if home := env.get("FLEET_HOME"):
        root = Path(home).expanduser().absolute()
        return Directories(state=root, runtime=root / "run", config=root / "config")
    user = Path(env.get("HOME") or Path.home())
    state = Path(env.get("XDG_STATE_HOME") or user / ".local/state") / "fleet"
    runtime = Path(env["XDG_RUNTIME_DIR"]) / "fleet" if env.get("XDG_RUNTIME_DIR") else state / "run"
    return Directories(state=state, runtime=runtime, config=Path(env.get("XDG_CONFIG_HOME") or user / ".config") / "fleet")
