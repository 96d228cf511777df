"""A PostgreSQL server of our own: made in a temporary directory, reached by a Unix socket, gone with the session.

``FLEET_TEST_POSTGRES`` names an existing one instead: the URL of a database from which others may be made.
Durability is off: what these tests kill is the product, never the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from tests.waiting import until

BINARIES = Path("/usr/lib/postgresql")
_PR_SET_PDEATHSIG = 1
_EMPTY = b"""
DO $$ DECLARE found record; BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
  SET session_replication_role = replica;
  FOR found IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('DELETE FROM public.%I', found.name);
  END LOOP;
  FOR found IN SELECT sequencename AS name FROM pg_sequences WHERE schemaname = 'public' LOOP
    EXECUTE format('ALTER SEQUENCE public.%I RESTART', found.name);
  END LOOP;
  DROP SCHEMA IF EXISTS dbos CASCADE;
END $$
"""


class Server:
    """Makes and drops databases on one server."""

    def __init__(self, admin: URL) -> None:
        self._admin = admin
        self._made = 0

    def create(self) -> str:
        """The URL of a new database."""
        self._made += 1
        name = f"fleet_{os.getpid()}_{self._made}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 ENCODING UTF8')
        return self._admin.set(database=name).render_as_string(hide_password=False)

    def empty(self, url: str) -> None:
        """A database as if new, but with our tables: ten times faster than another one."""
        with psycopg.connect(_plain(make_url(url)), autocommit=True) as connection:
            connection.execute(_EMPTY)

    def drop(self, url: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    def execute(self, sql: str) -> None:
        with psycopg.connect(_plain(self._admin), autocommit=True) as connection:
            connection.execute(sql.encode())


def _plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A server for this session. Skips when there can be none; fails instead under ``FLEET_TEST_REQUIRE_ALL=1``."""
    if given := os.environ.get("FLEET_TEST_POSTGRES"):
        yield Server(make_url(given))
        return
    binaries = sorted(BINARIES.glob("*/bin/postgres"))
    if not binaries:
        missing("PostgreSQL is not installed (Debian package postgresql)")
    with _own(binaries[-1].parent) as found:
        yield found


def missing(why: str) -> None:
    if os.environ.get("FLEET_TEST_REQUIRE_ALL") == "1":
        pytest.fail(why)
    pytest.skip(why)


@contextlib.contextmanager
def _own(binaries: Path) -> Iterator[Server]:
    home = Path(tempfile.mkdtemp(prefix="fleet-pg-"))
    user = _user()
    os.chown(home, user.pw_uid, user.pw_gid)
    who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    log = home / "log"
    data = home / "data"
    try:
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "fleet", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, capture_output=True, cwd=home, timeout=60, **who,  # type: ignore[call-overload]
        )
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(home), "fsync": "off", "full_page_writes": "off",
            "synchronous_commit": "off", "max_connections": "200", "shared_buffers": "32MB", "autovacuum": "off",
        }
        with log.open("wb") as written:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())],
                stdout=written, stderr=written, cwd=home, preexec_fn=_die_with_us, **who,  # type: ignore[call-overload]
            )
        try:
            found = Server(URL.create("postgresql+psycopg", username="fleet", database="postgres", query={"host": str(home)}))
            until(lambda: _answers(found, process, log), timeout=30, what="the PostgreSQL server answers")
            yield found
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _user() -> pwd.struct_passwd:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _die_with_us() -> None:
    """A killed test session leaves no server."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _answers(found: Server, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, f"the PostgreSQL server ended:\n{log.read_text(errors='replace')[-2000:]}"
    try:
        found.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
