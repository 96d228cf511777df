"""Templates and virtual networks for tests of their screens: the daemon's own answers on a small database, behind the stub session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fleet_tui.backend import api
from fleet_tui.backend.api.registers_answers import RegisterAnswers
from fleet_tui.backend.identity import Role
from fleet_tui.backend.instances import SetupAction, templates, virtual_networks
from fleet_tui.backend.instances.fields import defaults
from fleet_tui.backend.instances.links import NETWORK_COPY, TEMPLATE_COPY, network_copy, template_copy
from fleet_tui.backend.instances.profiles import CreateTemplate, CreateVirtualNetwork, EditTemplate, NetworkFinding
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow
from fleet_tui.backend.instances.setup_actions import shown
from fleet_tui.backend.providers import Providers
from fleet_tui.backend.providers.fake import FakeProvider
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.store.migrations.tables import every_table
from tests.fleet_stub import NOW, StubSession, instance

SECRET = "hunter2-and-some-more"
GONE = {"subnet-0d5e6f70": "is not there any more", "sg-0d5e6f70": "is not in vpc-0a1b2c3d any more"}
TASKS = "- name: warm cache\n  run: curl -fsS localhost:$FLEET_PORT/warm\n"
WEB = (
    SetupAction("install_packages", "tools", {"packages": ["curl", "jq"]}, "before_install"),
    SetupAction("add_env_variables", "payment", {"variables": {"PAYMENT_URL": "https://pay.example.com", "PAYMENT_TOKEN": SECRET}}, "before_install"),
    SetupAction("setup_proxy", "proxy", {"host": "proxy.internal", "port": 3128, "exceptions": ["10.0.0.0/8"]}, "before_install", False),
    SetupAction("run_tasks", "warm cache", {"tasks": TASKS}, "after_startup"),
)
EDGE = {
    "provider": "fake", "https_strategy": "letsencrypt", "contact_mail": "ops@example.com", "acme_directory": "staging", "region": "eu-west-1",
    "vpc_id": "vpc-0a1b2c3d", "subnet_id": "subnet-0a1b2c3d", "second_subnet_id": "subnet-0d5e6f70",
    "security_groups": ["sg-0a1b2c3d", "sg-0d5e6f70"], "dns_strategy": "cloud_dns", "public_zone_id": "Z0EXAMPLE",
}  # fmt: skip


class RegistersSession(StubSession):
    """The stub session, with the real register behind it."""

    def __init__(self, folder: Path, role: Role = Role.ADMIN, *, read_only: bool = False) -> None:
        super().__init__(role, read_only=read_only)
        self.store = Store(sqlite_url(folder / "fleet.db"))
        every_table()
        self.store.create_all()
        self.provider = FakeProvider(folder / "fake", pace=0)
        self.sealer = Envelope(b"k" * 32)
        clock = SimpleNamespace(now=lambda: NOW)
        lines = SimpleNamespace(masker=SimpleNamespace(learn=lambda *_secrets: None))
        drivers: Any = SimpleNamespace(sealer=self.sealer, providers=Providers(self.provider), clock=clock, lines=lines)
        self._registers = RegisterAnswers(self.store, drivers, "paris").table()

    def _answer(self, request: Any) -> Any:
        method = api.method_of(request)
        if method.name not in self._registers:
            return super()._answer(request)
        self.calls.append(request)
        reply: Any = self._registers[method.name](None, request)  # type: ignore[arg-type]
        if not method.read and (changed := getattr(reply, "id", "")):
            self.touch(f"{'template' if method.name.startswith('templates') else 'virtual-network'}:{changed}")
        return reply

    def fill(self) -> None:
        """Something of everything: actions of several kinds, secrets, somebody who waits, a lost subnet, a template that lacks a secret."""
        fresh = CreateTemplate
        with self.store.write() as tx:
            for name in ("webshop", "hello-app"):
                tx.add(ImageRow(id=f"m-{name}", name=name, version="1.4.0", sha256=name, size_bytes=1, path="", manifest={}, created_at=NOW))
            virtual_networks.ensure_network(tx, "local", "fake", "none")
            made = virtual_networks.create_network(tx, CreateVirtualNetwork("edge", EDGE), Providers(self.provider), (), NOW - timedelta(hours=26))
            web = templates.create_template(tx, fresh("web", {"application": "webshop"}, WEB[:3]), self.sealer)
            templates.create_template(tx, fresh("hello", {}, ()), self.sealer)
            keypair = {"api_access_mode": "keypair", "api_key_storage": "inline_encrypted", "api_key_id": "AKIAEXAMPLE000000001", "api_key_secret": SECRET}
            templates.create_template(tx, fresh("legacy", keypair, WEB[2:3]), self.sealer).api_key_sealed = ""
            local = virtual_networks.find_network(tx, "local")
            for label, network, state in (("web-1", local, "running"), ("web-2", local, "stopped"), ("web-3", made, "running"), ("web-4", local, "new")):
                copies = {TEMPLATE_COPY: template_copy(web), NETWORK_COPY: network_copy(network)}
                settings = {**defaults(), "label": label, "template": "web", "virtual_network": network.label}
                tx.add(InstanceRow(
                    id=f"i-{label}", label=label, kind="design", state=state, template_id=web.id, network_id=network.id, settings=settings,
                    applied={**settings, **copies} if state != "new" else None, pending=[], disk_id=f"d-{label}", created_at=NOW, updated_at=NOW,
                ))
            tx.flush()
            more = (*(shown(action) for action in templates.actions_of(web)), WEB[3])
            templates.edit_template(tx, EditTemplate("web", 1, {"machine_type": "m7i.large"}, more), self.sealer)
            lost = NetworkFinding("second_subnet_id", f"subnet-0d5e6f70 {GONE['subnet-0d5e6f70']}")
            virtual_networks.note_findings(tx, "edge", (lost,), NOW - timedelta(hours=26))
        self.provider.gone = GONE
        for label, network, state in (("web-1", "local", "running"), ("web-2", "local", "stopped"), ("web-3", "edge", "running"), ("web-4", "local", "new")):
            self.add(instance(label, state, template="web", network=network, pending_changes=("template",) if state != "new" else ()))


@contextmanager
def registers(folder: Path, role: Role = Role.ADMIN, **options: Any) -> Iterator[RegistersSession]:
    """The session on a filled register."""
    session = RegistersSession(folder, role, **options)
    try:
        session.fill()
        yield session
    finally:
        session.provider.close()
        session.store.close()
