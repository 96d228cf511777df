"""templates and virtual networks have all their fields

What a site has already gets the defaults, which change nothing of how its instances run.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet_tui.backend.store import Json, Utc

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('instance_template', schema=None) as batch_op:
        batch_op.add_column(sa.Column('machine_type', sa.String(length=63), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('license_sealed', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('ssh_key_pair', sa.String(length=255), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('authorized_keys', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('startup_profile_arn', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('runtime_profile_arn', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('restrict_metadata_access', sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column('api_access_mode', sa.String(length=20), nullable=False, server_default='none'))
        batch_op.add_column(sa.Column('api_key_storage', sa.String(length=20), nullable=False, server_default='none'))
        batch_op.add_column(sa.Column('api_key_id', sa.String(length=128), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('api_key_sealed', sa.Text(), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('api_secret_id', sa.Text(), nullable=False, server_default=''))

    with op.batch_alter_table('virtual_network', schema=None) as batch_op:
        batch_op.add_column(sa.Column('account', sa.String(length=63), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('region', sa.String(length=40), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('vpc_id', sa.String(length=40), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('subnet_id', sa.String(length=40), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('second_subnet_id', sa.String(length=40), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('security_groups', Json, nullable=False, server_default=sa.text("'[\"auto\"]'")))
        batch_op.add_column(sa.Column('zone', sa.String(length=63), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('guest_network', sa.String(length=63), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('internet_access', sa.String(length=12), nullable=False, server_default='yes'))
        batch_op.add_column(sa.Column('assign_public_ip', sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column('dns_strategy', sa.String(length=12), nullable=False, server_default='none'))
        batch_op.add_column(sa.Column('private_zone_id', sa.String(length=40), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('public_zone_id', sa.String(length=40), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('http_mode', sa.String(length=12), nullable=False, server_default='disabled'))
        batch_op.add_column(sa.Column('contact_mail', sa.String(length=320), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('acme_directory', sa.Text(), nullable=False, server_default='production'))
        batch_op.add_column(sa.Column('directory_mode', sa.String(length=12), nullable=False, server_default='none'))
        batch_op.add_column(sa.Column('event_server', sa.String(length=63), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('version', sa.Integer(), nullable=False, server_default='1'))
        batch_op.add_column(sa.Column('checked_at', Utc(), nullable=True))
        batch_op.add_column(sa.Column('findings', Json, nullable=False, server_default=sa.text("'[]'")))
