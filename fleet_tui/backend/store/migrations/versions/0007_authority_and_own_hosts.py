"""authority and own hosts"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet_tui.backend.store import Utc

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('authority',
    sa.Column('id', sa.String(length=20), nullable=False),
    sa.Column('certificate_pem', sa.Text(), nullable=False),
    sa.Column('key_sealed', sa.Text(), nullable=False),
    sa.Column('created_at', Utc(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_authority'))
    )
    op.create_table('cloud_image',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('zone_id', sa.String(length=40), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('created_at', Utc(), nullable=False),
    sa.ForeignKeyConstraint(['zone_id'], ['zone.id'], name=op.f('fk_cloud_image_zone_id_zone'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_cloud_image')),
    sa.UniqueConstraint('name', name=op.f('uq_cloud_image_name'))
    )
    with op.batch_alter_table('cloud_image', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_cloud_image_zone_id'), ['zone_id'], unique=False)

    op.create_table('own_disk',
    sa.Column('id', sa.String(length=101), nullable=False),
    sa.Column('cluster_id', sa.String(length=40), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('size_gb', sa.Integer(), nullable=False),
    sa.Column('token', sa.String(length=120), nullable=False),
    sa.Column('attached_to', sa.String(length=101), nullable=True),
    sa.Column('created_at', Utc(), nullable=False),
    sa.ForeignKeyConstraint(['cluster_id'], ['cluster.id'], name=op.f('fk_own_disk_cluster_id_cluster')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_own_disk'))
    )
    with op.batch_alter_table('own_disk', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_own_disk_attached_to'), ['attached_to'], unique=False)

    op.create_table('own_machine',
    sa.Column('id', sa.String(length=101), nullable=False),
    sa.Column('instance_id', sa.String(length=40), nullable=False),
    sa.Column('label', sa.String(length=63), nullable=False),
    sa.Column('token', sa.String(length=120), nullable=False),
    sa.Column('cluster_id', sa.String(length=40), nullable=False),
    sa.Column('folder', sa.Text(), nullable=False),
    sa.Column('network_id', sa.String(length=40), nullable=False),
    sa.Column('address', sa.String(length=45), nullable=False),
    sa.Column('created_at', Utc(), nullable=False),
    sa.ForeignKeyConstraint(['cluster_id'], ['cluster.id'], name=op.f('fk_own_machine_cluster_id_cluster')),
    sa.ForeignKeyConstraint(['network_id'], ['guest_network.id'], name=op.f('fk_own_machine_network_id_guest_network')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_own_machine')),
    sa.UniqueConstraint('network_id', 'address', name=op.f('uq_own_machine_network_id_address'))
    )
    op.create_table('own_snapshot',
    sa.Column('id', sa.String(length=101), nullable=False),
    sa.Column('disk_id', sa.String(length=101), nullable=False),
    sa.Column('cluster_id', sa.String(length=40), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['cluster_id'], ['cluster.id'], name=op.f('fk_own_snapshot_cluster_id_cluster')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_own_snapshot'))
    )
