"""what data disks held on the last days"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet_tui.backend.store import Json

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('instance', schema=None) as batch_op:
        batch_op.add_column(sa.Column('disk_days', Json, nullable=False, server_default='[]'))
