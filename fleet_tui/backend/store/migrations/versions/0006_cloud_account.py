"""the site's cloud account"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet_tui.backend.store import Utc

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('cloud_account',
    sa.Column('id', sa.String(length=20), nullable=False),
    sa.Column('site', sa.String(length=40), nullable=False),
    sa.Column('region', sa.String(length=40), nullable=False),
    sa.Column('authentication', sa.String(length=24), nullable=False),
    sa.Column('role_arn', sa.String(length=2048), nullable=False),
    sa.Column('access_key_id', sa.String(length=128), nullable=False),
    sa.Column('secret_key_sealed', sa.Text(), nullable=False),
    sa.Column('endpoint', sa.Text(), nullable=False),
    sa.Column('aws_cmk_id', sa.String(length=2048), nullable=False),
    sa.Column('cmk_arn', sa.String(length=2048), nullable=False),
    sa.Column('machine_image', sa.String(length=2048), nullable=False),
    sa.Column('machine_type', sa.String(length=40), nullable=False),
    sa.Column('account', sa.String(length=20), nullable=False),
    sa.Column('identity', sa.String(length=2048), nullable=False),
    sa.Column('tested_at', Utc(), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_cloud_account'))
    )
