"""A private key that somebody enters is in no audit record and in no crash report, whichever field it was pasted into."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fleet_tui.backend.api.requests import MASK, parameters_of
from fleet_tui.backend.certificates import AskMaterial, AskOrder, Material, OrderStanding, Verdict
from fleet_tui.backend.instances import CreateInstance, EditInstance
from tests.backend.certificates.authority import openssl


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("key") / "web.key"
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
    return path.read_text()


def lines(key: str) -> list[str]:
    return key.splitlines()[2:-2]


@pytest.mark.parametrize("field", ["ssl.private_key_pem", "ssl.certificate_pem", "notes", "ssl.sans", "domains"])
@pytest.mark.parametrize("kind", ["edit", "create", "list"])
def test_the_audit_masks_it_wherever_it_stands(key: str, field: str, kind: str) -> None:
    value: object = [key] if kind == "list" else f"words before\n{key}"
    request = CreateInstance(label="web", settings={field: value}) if kind == "create" else EditInstance("web", 1, {field: value})
    kept = str(parameters_of(request))
    assert not any(line in kept for line in lines(key)) and MASK in kept


def test_records_that_carry_secrets_do_not_show_them(key: str) -> None:
    for record in (
        AskMaterial("m", "b", "machine-key", "id"), Material(key), AskOrder("m", "b", "machine-key", "csr", False, key), OrderStanding("wait", (), key),
        Verdict(private_key_pem=key),
    ):
        assert "PRIVATE KEY" not in repr(record) and "machine-key" not in repr(record)


def test_a_crash_leaves_a_trace_without_it(key: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A bug behind the door while a key is in a caller's hands: what is logged is code, not values."""
    from fleet_tui.backend.api.dispatch import Dispatcher
    from fleet_tui.backend.errors import InternalError

    def crash() -> None:
        request = EditInstance("web", 1, {"ssl.private_key_pem": key})
        raise RuntimeError(f"a bug while {request.target} was saved")

    door = Dispatcher({}, None, None)  # type: ignore[arg-type]
    with caplog.at_level(logging.DEBUG), pytest.raises(InternalError) as told:
        door.guarded(crash, "instances.edit")
    assert "a bug while web" in caplog.text and not any(line in caplog.text or line in str(told.value.as_json()) for line in lines(key))
