"""What the stub of a daemon answers about settings, certificates and setup actions of its instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fleet_tui.backend import instances
from fleet_tui.backend.certificates import CertificateFacts, ChainLink, Served
from fleet_tui.backend.errors import InvalidInput, Problem, WrongState
from fleet_tui.backend.instances.fields import BY_NAME, FIELDS, defaults, problems_of
from fleet_tui.backend.instances.profiles import KEPT, RenderedAction, RenderedTemplate, RenderTemplate

MARK = "public-key:3f9a2b117c0d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789ab"
"""What stands for a private key on record."""
ELSEWHERE = tuple(field.name for field in FIELDS if field.providers)
"""Fields that mean nothing on the stub's networks."""


def facts(name: str = "web-20.example.org", *, days: int = 89, at: Any, seed: str = "3F", issuer: str = "", **fields: Any) -> CertificateFacts:
    """A certificate that ends in so many days."""
    fingerprint = ":".join(f"{(int(seed, 16) * 7 + n * 37) % 256:02X}" for n in range(32))
    chain = (ChainLink(issuer, "CN=Example Root", at + timedelta(days=900), fingerprint),) if issuer else ()
    values: dict[str, Any] = {
        "subject": f"CN={name}", "issuer": issuer or f"CN={name}", "sans": (name, "10.2.0.30"), "fingerprint": fingerprint,
        "not_before": at - timedelta(days=1), "not_after": at + timedelta(days=days), "key": "EC P-256", "signature": "sha256",
        "is_self_signed": not issuer, "chain": chain,
    }  # fmt: skip
    return CertificateFacts(**{**values, **fields})


def certificate(row: instances.InstanceRecord, **fields: Any) -> instances.SslRecord:
    """As an instance that serves nothing special has it."""
    values: dict[str, Any] = {
        "instance": row.label, "strategy": row.https_strategy, "network": row.network, "http_mode": "" if row.https_strategy == "none" else "redirect",
        "key_storage": "", "key": "", "secret_id": "", "domains": (), "directory": "", "saved": None, "in_use": None, "served": None,
        "mismatch": False, "days_left": None, "untrusted": False, "certificate_pem": "", "renew_at": None, "renewal_problem": "", "retry_at": None,
        "refusals": (), "warnings": (),
    }  # fmt: skip
    return instances.SslRecord(**{**values, **fields})


class SettingsStub:
    """Settings by instance, over defaults; certificates and actions as a test puts them in."""

    _one: Callable[[str], instances.InstanceRecord]
    add: Callable[..., Any]
    instances: dict[str, instances.InstanceRecord]

    def begin_settings(self) -> None:
        self.saved: dict[str, dict[str, Any]] = {}
        """Label -> values that differ from the defaults."""
        self.reasons: dict[str, Mapping[str, str]] = {}
        self.applied: dict[str, Mapping[str, Any]] = {}
        self.certificates: dict[str, instances.SslRecord] = {}
        self.setup: tuple[RenderedAction, ...] = ACTIONS
        self.refuse: dict[str, str] = {}
        """Field -> what the daemon says is wrong with it, whatever it holds."""
        self.warnings: tuple[str, ...] = ()
        self.secrets_seen: list[str] = []
        """Keys that were sent."""

    def _ShowSettings(self, request: instances.ShowSettings) -> instances.InstanceSettings:
        row = self._one(request.target) if request.target else None
        own = {"label": row.label, "kind": row.kind, "template": row.template, "virtual_network": row.network} if row else {}
        values = {**defaults(), **own, **self.saved.get(row.label if row else "", {})}
        choices = {"template": ("hello", "web-small", "web-tiny"), "virtual_network": ("local", "local-tls"), "image": ("", "hello-app 1.4.0")}
        locked = {"kind": "fixed since first provision", "virtual_network": "fixed since first provision"} if row and row.machine else {}
        label = row.label if row else ""
        applied = self.applied.get(label, {"template": "web-tiny"} if row and row.pending_changes else {})
        return instances.InstanceSettings(
            row.id if row else "", row.version if row else 0, values, applied, locked, choices, self.reasons.get(label, {}), ELSEWHERE,
        )

    def _EditInstance(self, request: instances.EditInstance) -> instances.InstanceRecord:
        row = self._one(request.target)
        changes = dict(request.changes)
        parsed, problems = problems_of(changes)
        problems += [Problem(name, said) for name, said in self.refuse.items()]
        if "ssl.private_key_pem" in changes:
            self.secrets_seen.append(changes["ssl.private_key_pem"])
        if problems:
            raise InvalidInput("the settings were not saved", problems=problems)
        if request.version != row.version:
            shown = {name: "••••" if BY_NAME[name].kind == "secret" else value for name, value in changes.items()}
            raise WrongState("somebody else saved these settings", hint="take theirs or keep yours", version=row.version,
                             fields={name: {"theirs": "theirs", "yours": value} for name, value in shown.items()})  # fmt: skip
        if changes.get("ssl.private_key_pem"):
            parsed["ssl.private_key_pem"] = MARK
        self.saved.setdefault(row.label, {}).update(parsed)
        label = str(parsed.get("label", row.label))
        if label != row.label:
            self.saved[label] = self.saved.pop(row.label)
        self.add(replace(row, label=label, version=row.version + 1))
        found = self.instances[row.id]
        values = {name: getattr(found, name) for name in instances.InstanceRecord.__dataclass_fields__}
        return instances.SavedInstance(**values, warnings=self.warnings) if self.warnings else found

    def _ShowSsl(self, request: instances.ShowSsl) -> instances.SslRecord:
        row = self._one(request.target)
        return self.certificates.get(row.label) or certificate(row)

    def _RenderTemplate(self, request: RenderTemplate) -> RenderedTemplate:
        row = self._one(request.instance)
        return RenderedTemplate(row.template, row.label, row.network, self.setup)


ACTIONS = (
    RenderedAction("before_install", "add_env_variables", "environment", True, ("STAGE=production", "TZ=Europe/Berlin"), ""),
    RenderedAction("before_install", "setup_proxy", "proxy", False,
                   ("HTTP_PROXY and HTTPS_PROXY are http://proxy.internal:3128", "NO_PROXY is localhost, 127.0.0.1, 10.0.0.0/8"), ""),
    RenderedAction("before_install", "add_ssh_key", "deploy key", True, (f"write ~/.ssh/deploy, mode 600: {KEPT}",), ""),
    RenderedAction("after_install", "run_tasks", "tune", True,
                   ("by ansible-playbook where the machine has it, else by the agent itself", "1. tune: run ./tune --memory auto",
                    "2. limits: copy dest=/etc/security/limits.d/app.conf content=app - nofile 65536"), ""),
    RenderedAction("after_startup", "application_port", "port", True, ("FLEET_PORT=8080",), "port 8080 is web-19's"),
)  # fmt: skip


def served(at: Any, certificate: CertificateFacts | None = None, problem: str = "") -> Served:
    return Served(at, problem, certificate)
