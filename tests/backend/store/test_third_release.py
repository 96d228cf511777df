"""A database that the third release wrote gets the fields of templates and virtual networks, and runs its instances as before."""

from __future__ import annotations

from pathlib import Path

from fleet_tui.backend.instances import network_fields, template_fields, templates, virtual_networks
from fleet_tui.backend.store import Store, schema

_ACTION = '[{"kind": "application_port", "name": "port", "parameters": {"port": 8081}, "stage": "before_install", "enabled": true}]'
REVISION = "0003"
SITE = (
    f"INSERT INTO instance_template (id, label, application, setup_actions, version) VALUES ('t-1', 'web', 'hello-app', '{_ACTION}', 3)",
    "INSERT INTO virtual_network (id, label, provider, https_strategy) VALUES ('n-1', 'local-tls', 'local', 'self_signed')",
)


def test_a_site_of_the_third_release_keeps_its_registers_and_gets_their_new_fields(old: Store, tmp_path: Path) -> None:
    schema.prepare(old, tmp_path / "backups")
    with old.read() as tx:
        (template,) = templates.list_templates(tx)
        (network,) = virtual_networks.list_networks(tx)
    assert (template.label, template.version, template.setup_actions[0].parameters["port"]) == ("web", 3, 8081)
    assert template.values == {**template_fields.defaults(), "label": "web", "application": "hello-app"}
    assert (network.version, network.findings, network.checked_at) == (1, (), None)
    assert network.values == {**network_fields.defaults(), "label": "local-tls", "provider": "local", "https_strategy": "self_signed"}
