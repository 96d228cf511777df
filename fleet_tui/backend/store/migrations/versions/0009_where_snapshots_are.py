"""region of the cloud in which a snapshot is kept"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('disk_snapshot', schema=None) as batch_op:
        batch_op.add_column(sa.Column('region', sa.String(length=40), nullable=False, server_default=''))
