"""Writes the next migration from what the rows say and the newest migration does not.

    python -m fleet_tui.backend.store.migrations.draft "hosts have a patch level"
    python -m fleet_tui.backend.store.migrations.draft --from-nothing initial     # before the first release only

Read and correct what it wrote: it cannot see renamed columns, and it moves no data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table
from fleet_tui.backend.store.schema import MIGRATIONS, configuration


def draft(message: str, *, from_nothing: bool = False) -> Path:
    """Write the migration and return its file."""
    every_table()
    versions = MIGRATIONS / "versions"
    if from_nothing:
        for old in versions.glob("[0-9]*.py"):
            old.unlink()
    config = configuration()
    number = f"{len(list(versions.glob('[0-9]*.py'))) + 1:04d}"
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(sqlite_url(Path(scratch) / "draft.db"))
        with store.engine.connect() as connection:
            config.attributes["connection"] = connection
            if ScriptDirectory.from_config(config).get_current_head() is not None:
                command.upgrade(config, "head")
                connection.commit()
            script = command.revision(config, message=message, autogenerate=True, rev_id=number)
        store.close()
    assert script is not None and not isinstance(script, list)
    return Path(script.path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="draft", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("message")
    parser.add_argument("--from-nothing", action="store_true", help="throw the present migrations away first")
    given = parser.parse_args()
    try:
        print(draft(given.message, from_nothing=given.from_nothing))
    except SQLAlchemyError as error:
        print(f"no draft: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
