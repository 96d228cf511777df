"""certificates and keys"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet_tui.backend.store import Utc

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('acme_account',
    sa.Column('network_id', sa.String(length=40), nullable=False),
    sa.Column('directory', sa.String(length=500), nullable=False),
    sa.Column('key_sealed', sa.Text(), nullable=False),
    sa.Column('uri', sa.Text(), nullable=False),
    sa.Column('mail', sa.String(length=320), nullable=False),
    sa.Column('created_at', Utc(), nullable=False),
    sa.PrimaryKeyConstraint('network_id', 'directory', name=op.f('pk_acme_account'))
    )
    op.create_table('certificate',
    sa.Column('ref', sa.String(length=80), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('pem', sa.Text(), nullable=False),
    sa.Column('not_after', Utc(), nullable=True),
    sa.Column('untrusted', sa.Boolean(), nullable=False),
    sa.Column('served_at', Utc(), nullable=True),
    sa.Column('served_pem', sa.Text(), nullable=False),
    sa.Column('served_problem', sa.Text(), nullable=False),
    sa.Column('mismatch', sa.Boolean(), nullable=False),
    sa.Column('renew_at', Utc(), nullable=True),
    sa.Column('renewal_problem', sa.Text(), nullable=False),
    sa.Column('retry_at', Utc(), nullable=True),
    sa.Column('order_url', sa.Text(), nullable=False),
    sa.Column('order_for', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('ref', name=op.f('pk_certificate'))
    )
    with op.batch_alter_table('certificate', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_certificate_mismatch'), ['mismatch'], unique=False)
        batch_op.create_index(batch_op.f('ix_certificate_renew_at'), ['renew_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_certificate_served_at'), ['served_at'], unique=False)

    op.create_table('certificate_key',
    sa.Column('ref', sa.String(length=80), nullable=False),
    sa.Column('key_id', sa.String(length=64), nullable=False),
    sa.Column('sealed', sa.Text(), nullable=False),
    sa.Column('created_at', Utc(), nullable=False),
    sa.PrimaryKeyConstraint('ref', 'key_id', name=op.f('pk_certificate_key'))
    )
    # Not as a batch: that makes the table anew, and with it would go the index over labels in lower case.
    op.add_column('instance', sa.Column('http_port', sa.Integer(), nullable=True))
    op.add_column('instance', sa.Column('came_from', sa.String(length=20), server_default='', nullable=False))
    op.create_index('instance_by_http_port', 'instance', ['http_port'], unique=True)
    op.create_index('instance_by_certificate_end', 'instance', ['certificate_not_after'], unique=False)
