"""hosts, VMs and their maintenance"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet_tui.backend.store import Json, Utc

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('offering',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('cores', sa.Integer(), nullable=False),
    sa.Column('mhz', sa.Integer(), nullable=False),
    sa.Column('memory_mib', sa.Integer(), nullable=False),
    sa.Column('limit_cpu', sa.Boolean(), nullable=False),
    sa.Column('ha', sa.Boolean(), nullable=False),
    sa.Column('tags', Json, nullable=False),
    sa.Column('system_kind', sa.String(length=20), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_offering')),
    sa.UniqueConstraint('name', name=op.f('uq_offering_name'))
    )
    op.create_table('patch',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('hypervisor', sa.String(length=20), nullable=False),
    sa.Column('hypervisor_version', sa.String(length=60), nullable=False),
    sa.Column('patch', sa.String(length=120), nullable=False),
    sa.Column('released', sa.String(length=10), nullable=False),
    sa.Column('severity', sa.String(length=20), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('superseded_by', sa.String(length=120), nullable=False),
    sa.Column('imported_at', Utc(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_patch')),
    sa.UniqueConstraint('hypervisor', 'hypervisor_version', 'patch', name=op.f('uq_patch_hypervisor_hypervisor_version_patch'))
    )
    op.create_table('maintenance',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('host_id', sa.String(length=40), nullable=False),
    sa.Column('open_host_id', sa.String(length=40), nullable=True),
    sa.Column('step', sa.String(length=20), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('ticket', sa.String(length=100), nullable=False),
    sa.Column('owner', sa.String(length=64), nullable=False),
    sa.Column('allow_stop', sa.Boolean(), nullable=False),
    sa.Column('started_at', Utc(), nullable=False),
    sa.Column('planned_end', Utc(), nullable=True),
    sa.Column('overrun_told', sa.Boolean(), nullable=False),
    sa.Column('closed_at', Utc(), nullable=True),
    sa.Column('checklist', Json, nullable=False),
    sa.Column('notes', Json, nullable=False),
    sa.Column('announced_at', Utc(), nullable=True),
    sa.Column('announced_to', Json, nullable=False),
    sa.Column('operation_id', sa.String(length=40), nullable=True),
    sa.Column('own_mode', sa.String(length=8), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['host_id'], ['host.id'], name=op.f('fk_maintenance_host_id_host'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_maintenance')),
    sa.UniqueConstraint('open_host_id', name=op.f('uq_maintenance_open_host_id'))
    )
    with op.batch_alter_table('maintenance', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_maintenance_host_id'), ['host_id'], unique=False)

    op.create_table('vm',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('guest_id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('cluster_id', sa.String(length=40), nullable=False),
    sa.Column('offering_id', sa.String(length=40), nullable=False),
    sa.Column('state', sa.String(length=20), nullable=False),
    sa.Column('host_id', sa.String(length=40), nullable=True),
    sa.Column('destination_id', sa.String(length=40), nullable=True),
    sa.Column('last_host_id', sa.String(length=40), nullable=True),
    sa.Column('stopped_at', Utc(), nullable=True),
    sa.Column('cores', sa.Integer(), nullable=False),
    sa.Column('mhz', sa.Integer(), nullable=False),
    sa.Column('memory_mib', sa.Integer(), nullable=False),
    sa.Column('cpu_hundredths', sa.Integer(), nullable=False),
    sa.Column('ram_hundredths', sa.Integer(), nullable=False),
    sa.Column('boot', Json, nullable=False),
    sa.Column('disks', Json, nullable=False),
    sa.Column('tags', Json, nullable=False),
    sa.Column('exclusion_tags', Json, nullable=False),
    sa.Column('owners', Json, nullable=False),
    sa.Column('account', sa.String(length=100), nullable=False),
    sa.Column('ips', Json, nullable=False),
    sa.Column('destroy_protected', sa.Boolean(), nullable=False),
    sa.Column('ha', sa.Boolean(), nullable=False),
    sa.Column('has_device', sa.Boolean(), nullable=False),
    sa.Column('has_local_disk', sa.Boolean(), nullable=False),
    sa.Column('has_balloon', sa.Boolean(), nullable=True),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('created_at', Utc(), nullable=False),
    sa.Column('updated_at', Utc(), nullable=False),
    sa.ForeignKeyConstraint(['cluster_id'], ['cluster.id'], name=op.f('fk_vm_cluster_id_cluster')),
    sa.ForeignKeyConstraint(['destination_id'], ['host.id'], name=op.f('fk_vm_destination_id_host')),
    sa.ForeignKeyConstraint(['host_id'], ['host.id'], name=op.f('fk_vm_host_id_host')),
    sa.ForeignKeyConstraint(['last_host_id'], ['host.id'], name=op.f('fk_vm_last_host_id_host')),
    sa.ForeignKeyConstraint(['offering_id'], ['offering.id'], name=op.f('fk_vm_offering_id_offering')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_vm')),
    sa.UniqueConstraint('guest_id', name=op.f('uq_vm_guest_id')),
    sa.UniqueConstraint('name', name=op.f('uq_vm_name'))
    )
    with op.batch_alter_table('vm', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_vm_cluster_id'), ['cluster_id'], unique=False)
        batch_op.create_index('vm_by_destination', ['destination_id'], unique=False)
        batch_op.create_index('vm_by_host', ['host_id', 'state'], unique=False)

    op.create_table('evacuee',
    sa.Column('session_id', sa.String(length=40), nullable=False),
    sa.Column('vm_id', sa.String(length=40), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('granted', sa.Integer(), nullable=False),
    sa.Column('next_try_at', Utc(), nullable=True),
    sa.Column('destination_id', sa.String(length=40), nullable=True),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('hint', sa.Text(), nullable=False),
    sa.Column('elapsed_ms', sa.Integer(), nullable=True),
    sa.Column('downtime_ms', sa.Integer(), nullable=True),
    sa.Column('back', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['session_id'], ['maintenance.id'], name=op.f('fk_evacuee_session_id_maintenance'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('session_id', 'vm_id', name=op.f('pk_evacuee'))
    )
    with op.batch_alter_table('evacuee', schema=None) as batch_op:
        batch_op.create_index('evacuee_by_session', ['session_id', 'position'], unique=False)

    op.create_table('announcement',
    sa.Column('operation_id', sa.String(length=40), nullable=False),
    sa.Column('recipient', sa.String(length=254), nullable=False),
    sa.Column('session_id', sa.String(length=40), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('time', Utc(), nullable=False),
    sa.ForeignKeyConstraint(['session_id'], ['maintenance.id'], name=op.f('fk_announcement_session_id_maintenance'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('operation_id', 'recipient', name=op.f('pk_announcement'))
    )
    with op.batch_alter_table('announcement', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_announcement_session_id'), ['session_id'], unique=False)

    op.create_table('move',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('vm_id', sa.String(length=40), nullable=False),
    sa.Column('source_id', sa.String(length=40), nullable=False),
    sa.Column('destination_id', sa.String(length=40), nullable=False),
    sa.Column('phase', sa.String(length=12), nullable=False),
    sa.Column('percent', sa.Integer(), nullable=False),
    sa.Column('detail', sa.String(length=120), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('outcome', sa.String(length=12), nullable=False),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('downtime_ms', sa.Integer(), nullable=True),
    sa.Column('elapsed_ms', sa.Integer(), nullable=True),
    sa.Column('operation_id', sa.String(length=40), nullable=True),
    sa.Column('started_at', Utc(), nullable=False),
    sa.Column('ended_at', Utc(), nullable=True),
    sa.ForeignKeyConstraint(['destination_id'], ['host.id'], name=op.f('fk_move_destination_id_host'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['source_id'], ['host.id'], name=op.f('fk_move_source_id_host'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['vm_id'], ['vm.id'], name=op.f('fk_move_vm_id_vm'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_move'))
    )
    with op.batch_alter_table('move', schema=None) as batch_op:
        batch_op.create_index('move_by_operation', ['operation_id'], unique=False)
        batch_op.create_index('move_by_vm', ['vm_id', 'started_at'], unique=False)

    # What the first release made stays usable: branches it had were never disabled, and its links were written with a capital.
    # Defaults are plain texts: an expression would have SQLite copy the table, which its foreign keys forbid.
    with op.batch_alter_table('agent', schema=None) as batch_op:
        batch_op.add_column(sa.Column('standing', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False, server_default='0'))

    with op.batch_alter_table('cluster', schema=None) as batch_op:
        batch_op.add_column(sa.Column('arch', sa.String(length=20), nullable=False, server_default='x86_64'))
        batch_op.add_column(sa.Column('allocation', sa.String(length=20), nullable=False, server_default='Disabled'))
        batch_op.add_column(sa.Column('managed', sa.String(length=24), nullable=False, server_default='Managed'))
        batch_op.add_column(sa.Column('cpu_hundredths', sa.Integer(), nullable=False, server_default='100'))
        batch_op.add_column(sa.Column('ram_hundredths', sa.Integer(), nullable=False, server_default='100'))
        batch_op.add_column(sa.Column('ratio_is_own', sa.Boolean(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('recalculated_by', sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column('dedicated_account', sa.String(length=100), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('password_sealed', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('mismatch', Json, nullable=False, server_default='{}'))

    with op.batch_alter_table('host', schema=None) as batch_op:
        batch_op.add_column(sa.Column('state_since', Utc(), nullable=True))
        batch_op.add_column(sa.Column('came_from', sa.String(length=40), nullable=False, server_default='Enabled'))
        batch_op.add_column(sa.Column('error', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('reason', sa.String(length=40), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('connection_since', Utc(), nullable=True))
        batch_op.add_column(sa.Column('expected_off_until', Utc(), nullable=True))
        batch_op.add_column(sa.Column('health', sa.String(length=20), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('ssh_user', sa.String(length=64), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('ssh_port', sa.Integer(), nullable=False, server_default='22'))
        batch_op.add_column(sa.Column('key_sealed', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('password_sealed', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('host_key', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('accepted_key', sa.String(length=80), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('hypervisor_version', sa.String(length=60), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('arch', sa.String(length=20), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('serial', sa.String(length=120), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('uuid', sa.String(length=60), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('patch_level', sa.String(length=120), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('is_accelerated', sa.Boolean(), nullable=False, server_default='1'))
        batch_op.add_column(sa.Column('is_secured', sa.Boolean(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('is_master', sa.Boolean(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('facts', Json, nullable=False, server_default='{}'))
        batch_op.add_column(sa.Column('mhz', sa.Integer(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('tags', Json, nullable=False, server_default='[]'))
        batch_op.add_column(sa.Column('location_note', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('version', sa.Integer(), nullable=False, server_default='1'))
        batch_op.create_index(batch_op.f('ix_host_cluster_id'), ['cluster_id'], unique=False)

    with op.batch_alter_table('pod', schema=None) as batch_op:
        batch_op.add_column(sa.Column('allocation', sa.String(length=20), nullable=False, server_default='Disabled'))
        batch_op.add_column(sa.Column('gateway', sa.String(length=45), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('netmask', sa.String(length=45), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('start_ip', sa.String(length=45), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('end_ip', sa.String(length=45), nullable=False, server_default=''))

    with op.batch_alter_table('zone', schema=None) as batch_op:
        batch_op.add_column(sa.Column('allocation', sa.String(length=20), nullable=False, server_default='Disabled'))
        batch_op.add_column(sa.Column('network_type', sa.String(length=20), nullable=False, server_default='advanced'))
        batch_op.add_column(sa.Column('dns', Json, nullable=False, server_default='[]'))
        batch_op.add_column(sa.Column('guest_cidr', sa.String(length=50), nullable=False, server_default=''))

    for table in ('zone', 'pod', 'cluster'):
        op.execute(f"UPDATE {table} SET allocation = 'Enabled'")
    op.execute("UPDATE host SET connection_state = lower(connection_state)")
