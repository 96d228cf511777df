"""Alembic's entry: migrates the connection it is given, in one transaction on either back end."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import CreateIndexOp, CreateTableOp, MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, Column

from fleet_tui.backend.store import Base, Utc


def render(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Our column types under their own names."""
    if kind == "type" and isinstance(item, (Utc, JSON)):
        autogen.imports.add("from fleet_tui.backend.store import Json, Utc")
        return "Utc()" if isinstance(item, Utc) else "Json"
    return False


def keep_expression_indexes(_context: MigrationContext, _revision: Any, directives: list[MigrationScript]) -> None:
    """Drafts are made on SQLite, where Alembic leaves indexes over expressions out, also those of new tables."""
    for directive in directives:
        operations = directive.upgrade_ops.ops if directive.upgrade_ops is not None else []
        for made in [one for one in operations if isinstance(one, CreateTableOp)]:
            for index in Base.metadata.tables[made.table_name].indexes:
                if not all(isinstance(part, Column) for part in index.expressions):
                    operations.append(CreateIndexOp.from_index(index))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=render,
    process_revision_directives=keep_expression_indexes,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
