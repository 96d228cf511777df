"""networks and their VLANs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet_tui.backend.store import Json, Utc

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('network_offering',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('guest_type', sa.String(length=12), nullable=False),
    sa.Column('specify_vlan', sa.Boolean(), nullable=False),
    sa.Column('persistent', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_network_offering')),
    sa.UniqueConstraint('name', name=op.f('uq_network_offering_name'))
    )
    op.create_table('physical_network',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('zone_id', sa.String(length=40), nullable=False),
    sa.Column('isolation', sa.String(length=8), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('nic_labels', Json, nullable=False),
    sa.Column('checked_at', Utc(), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['zone_id'], ['zone.id'], name=op.f('fk_physical_network_zone_id_zone')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_physical_network')),
    sa.UniqueConstraint('zone_id', 'name', name=op.f('uq_physical_network_zone_id_name'))
    )
    op.create_table('guest_network',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('offering_id', sa.String(length=40), nullable=False),
    sa.Column('physical_id', sa.String(length=40), nullable=False),
    sa.Column('state', sa.String(length=14), nullable=False),
    sa.Column('cidr', sa.String(length=50), nullable=False),
    sa.Column('gateway', sa.String(length=45), nullable=False),
    sa.Column('owner_kind', sa.String(length=12), nullable=False),
    sa.Column('owner', sa.String(length=100), nullable=False),
    sa.Column('reservation', sa.String(length=40), nullable=False),
    sa.Column('unused_since', Utc(), nullable=True),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('created_at', Utc(), nullable=False),
    sa.Column('updated_at', Utc(), nullable=False),
    sa.ForeignKeyConstraint(['offering_id'], ['network_offering.id'], name=op.f('fk_guest_network_offering_id_network_offering')),
    sa.ForeignKeyConstraint(['physical_id'], ['physical_network.id'], name=op.f('fk_guest_network_physical_id_physical_network')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_guest_network')),
    sa.UniqueConstraint('name', name=op.f('uq_guest_network_name'))
    )
    op.create_table('vlan_dedication',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('physical_id', sa.String(length=40), nullable=False),
    sa.Column('first', sa.BigInteger(), nullable=False),
    sa.Column('last', sa.BigInteger(), nullable=False),
    sa.Column('owner_kind', sa.String(length=12), nullable=False),
    sa.Column('owner', sa.String(length=100), nullable=False),
    sa.ForeignKeyConstraint(
        ['physical_id'], ['physical_network.id'], name=op.f('fk_vlan_dedication_physical_id_physical_network'), ondelete='CASCADE',
    ),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_vlan_dedication')),
    sa.UniqueConstraint('physical_id', 'first', name=op.f('uq_vlan_dedication_physical_id_first'))
    )
    op.create_table('vlan_range',
    sa.Column('physical_id', sa.String(length=40), nullable=False),
    sa.Column('first', sa.BigInteger(), nullable=False),
    sa.Column('last', sa.BigInteger(), nullable=False),
    sa.Column('scope', sa.String(length=20), nullable=False),
    sa.ForeignKeyConstraint(['physical_id'], ['physical_network.id'], name=op.f('fk_vlan_range_physical_id_physical_network'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('physical_id', 'first', name=op.f('pk_vlan_range'))
    )
    op.create_table('vlan',
    sa.Column('space', sa.String(length=60), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('physical_id', sa.String(length=40), nullable=False),
    sa.Column('network_id', sa.String(length=40), nullable=True),
    sa.Column('specified', sa.Boolean(), nullable=False),
    sa.Column('owner_kind', sa.String(length=12), nullable=False),
    sa.Column('owner', sa.String(length=100), nullable=False),
    sa.Column('reservation', sa.String(length=40), nullable=False),
    sa.Column('since', Utc(), nullable=False),
    sa.ForeignKeyConstraint(['network_id'], ['guest_network.id'], name=op.f('fk_vlan_network_id_guest_network'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['physical_id'], ['physical_network.id'], name=op.f('fk_vlan_physical_id_physical_network')),
    sa.PrimaryKeyConstraint('space', 'number', name=op.f('pk_vlan')),
    sa.UniqueConstraint('network_id', name=op.f('uq_vlan_network_id'))
    )
    with op.batch_alter_table('vlan', schema=None) as batch_op:
        batch_op.create_index('vlan_by_physical', ['physical_id', 'number'], unique=False)

    op.create_table('host_interface',
    sa.Column('host_id', sa.String(length=40), nullable=False),
    sa.Column('physical_id', sa.String(length=40), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('technique', sa.String(length=12), nullable=False),
    sa.Column('device', sa.String(length=40), nullable=False),
    sa.Column('bridge', sa.String(length=40), nullable=False),
    sa.Column('present', sa.Boolean(), nullable=False),
    sa.Column('problem', sa.String(length=16), nullable=False),
    sa.Column('detail', sa.String(length=200), nullable=False),
    sa.Column('seen_at', Utc(), nullable=False),
    sa.ForeignKeyConstraint(['host_id'], ['host.id'], name=op.f('fk_host_interface_host_id_host'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(
        ['physical_id'], ['physical_network.id'], name=op.f('fk_host_interface_physical_id_physical_network'), ondelete='CASCADE',
    ),
    sa.PrimaryKeyConstraint('host_id', 'physical_id', 'number', name=op.f('pk_host_interface'))
    )
    op.create_table('nic',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('vm_id', sa.String(length=40), nullable=False),
    sa.Column('network_id', sa.String(length=40), nullable=False),
    sa.Column('mac', sa.String(length=17), nullable=False),
    sa.Column('device', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['network_id'], ['guest_network.id'], name=op.f('fk_nic_network_id_guest_network')),
    sa.ForeignKeyConstraint(['vm_id'], ['vm.id'], name=op.f('fk_nic_vm_id_vm'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_nic')),
    sa.UniqueConstraint('mac', name=op.f('uq_nic_mac')),
    sa.UniqueConstraint('vm_id', 'device', name=op.f('uq_nic_vm_id_device'))
    )
    with op.batch_alter_table('nic', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_nic_network_id'), ['network_id'], unique=False)
