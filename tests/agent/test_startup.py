"""The start-up sequence of a real machine, from hello to ready, and how each phase fails."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_tui.agent import processes
from fleet_tui.backend.providers import BootConfiguration, MachineState
from tests.agent.conftest import Rig
from tests.waiting import until

PHASES = [
    "hello", "data-disk", "internal-setup", "certificate", "actions:before_install", "install-or-upgrade",
    "actions:after_install", "start", "actions:after_startup", "ready",
]


def action(kind: str, stage: str = "after_install", enabled: bool = True, **parameters: object) -> dict[str, object]:
    return {"kind": kind, "name": f"my {kind}", "stage": stage, "enabled": enabled, "parameters": parameters}


def served_certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=5)


def test_whole_sequence_over_http(rig: Rig) -> None:
    rig.document["actions"] = [
        action("add_env_variables", "before_install", variables={"GREETING": "hi there"}),
        action("add_properties", "before_install", properties={"a.b": "c"}),
        action("setup_proxy", "before_install", host="proxy.example", port=3128, exceptions=["intern"]),
        action("add_authorized_key", "before_install", key="ssh-ed25519 AAAA me@here"),
        action("run_tasks", tasks=[{"name": "greet", "run": 'echo "$GREETING"; cat "$FLEET_PROPERTIES"; echo "$https_proxy"'}]),
        action("run_tasks", enabled=False, tasks=[{"name": "never", "run": "exit 1"}]),
        action("run_tasks", "after_startup", tasks=[{"name": "once", "run": "echo again", "creates": "$FLEET_DATA/hello/visits"}]),
    ]
    rig.start()
    assert list(rig.door.phases) == PHASES
    assert rig.door.states() == {name: "skipped" if name == "certificate" else "done" for name in PHASES}
    assert "web" in rig.get() and "1.0.0" in rig.get() and "Uptime" in rig.get()
    assert rig.get("/healthz") == "ok\n"
    assert {"hi there", "a.b=c", "http://proxy.example:3128"} <= set(rig.door.texts("actions:after_install"))
    assert any("never" in t or "switched off" in t for t in rig.door.texts("actions:after_install"))
    assert any("skipped" in text for text in rig.door.texts("actions:after_startup"))
    assert "installing hello-app 1.0.0 for web" in rig.door.texts("install-or-upgrade")
    assert rig.door.health[-1][0] == "ok" and rig.door.facts["installed_version"] == "1.0.0"
    assert rig.door.facts["url"] == f"http://localhost:{rig.port}/" and (rig.door.disk_used or 0) > 0
    assert rig.state() is MachineState.ON
    given = json.loads((rig.folder / "agent.json").read_text())
    assert "token" not in given and rig.door.token not in (rig.folder / "agent-state.json").read_text()
    assert stat.S_IMODE((rig.folder / "agent-state.json").stat().st_mode) == 0o600
    secret = {path.name for path in rig.folder.rglob("*") if path.is_file() and rig.door.token.encode() in path.read_bytes()}
    assert not secret


def test_https_certificate_is_kept_until_its_names_change(rig: Rig) -> None:
    rig.document["certificate"] = {"strategy": "self_signed", "common_name": "web", "sans": ["web.example", "10.1.2.3", "::1"]}
    rig.start()
    folder = rig.disk / "certificates"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(first) == {"self-signed.crt", "self-signed.key"}
    assert stat.S_IMODE((folder / "self-signed.key").stat().st_mode) == 0o600
    context = ssl.create_default_context(cafile=str(folder / "self-signed.crt"))
    with urllib.request.urlopen(f"https://localhost:{rig.port}/healthz", timeout=5, context=context) as answer:
        assert answer.read() == b"ok\n"
    assert served_certificate(rig.port).split() == first["self-signed.crt"].decode().split()
    fingerprint, end = rig.door.facts["certificate_fingerprint"], rig.door.facts["certificate_not_after"]
    assert len(fingerprint) == 95 and end > 2_000_000_000

    rig.rebuild()
    rig.boot()
    rig.ready()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert rig.door.facts["certificate_fingerprint"] == fingerprint

    rig.document["certificate"]["sans"] = ["other.example"]
    rig.rebuild()
    rig.boot()
    rig.ready()
    assert rig.door.facts["certificate_fingerprint"] != fingerprint

    end_now(folder / "self-signed.crt", folder / "self-signed.key")
    rig.rebuild()
    rig.boot()
    rig.ready()
    assert rig.door.facts["certificate_not_after"] > 2_000_000_000, "one that ends soon, or has ended, is made anew, whatever its names"


def end_now(certificate: Path, key_file: Path) -> None:
    """Have the same certificate, but for having ended."""
    old = x509.load_pem_x509_certificate(certificate.read_bytes())
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(old.issuer, old.subject, key.public_key(), old.serial_number, now - timedelta(days=9), now - timedelta(days=1))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def test_key_that_is_not_the_certificates_stops_the_start_up(rig: Rig) -> None:
    rig.document["certificate"]["strategy"] = "self_signed"
    rig.start()
    rig.provider.shut_down("m-1", 10.0, print)
    key = rig.disk / "certificates/self-signed.key"
    os.system(f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key} 2>/dev/null")
    rig.door.phases = {}
    rig.boot()
    assert "does not belong" in rig.failure("certificate")


def test_data_is_kept_and_upgraded(rig: Rig, tmp_path: Path) -> None:
    rig.start()
    assert "<dd>1</dd>" in rig.get()
    markers = {rig.disk / name / "marker": name.encode() for name in ("application", "containers", "certificates")}
    for path, content in markers.items():
        path.write_bytes(content)
    first_seen = (rig.disk / "application/hello/first-seen").read_text()

    rig.rebuild()
    rig.boot()
    rig.ready()
    assert "hello-app 1.0.0 is installed; its data is left as it is" in rig.door.texts("install-or-upgrade")

    rig.document["application"]["version"] = "1.1.0"
    rig.rebuild()
    rig.boot()
    rig.ready()
    page = rig.get()
    assert "upgraded 1.0.0 to 1.1.0" in page and "<dd>2</dd>" in page
    assert (rig.disk / "application/hello/first-seen").read_text() == first_seen
    assert {path: path.read_bytes() for path in markers} == markers

    rig.document["application"]["version"] = "1.1.0-rc2"
    rig.rebuild()
    rig.boot()
    error = rig.failure("install-or-upgrade")
    assert "1.1.0" in error and "1.1.0-rc2" in error and "newer" in error


def test_an_agent_that_cannot_write_its_own_words_lives_on(rig: Rig) -> None:
    """As on a full disk: what it says to its output file is lost, and nothing else."""
    rig.make()
    (rig.folder / "agent.out").symlink_to("/dev/full")
    gate = rig.root / "gate"
    tasks = {"tasks": [{"run": f"test -e {gate}"}]}
    rig.document["actions"] = [{"kind": "run_tasks", "name": "t", "stage": "before_install", "enabled": True, "parameters": tasks}]
    rig.boot()
    rig.failure("actions:before_install")
    gate.touch()
    assert rig.do("retry-startup")["state"] == "done"
    assert "web" in rig.get()


def test_taken_port_names_its_holder_and_a_retry_goes_on_there(rig: Rig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", rig.port))
        taken.listen()
        rig.make()
        rig.boot()
        error = rig.failure("start")
        assert f"port {rig.port}" in error and f"pid {os.getpid()}" in error
        assert rig.door.states()["install-or-upgrade"] == "done" and "ready" not in rig.door.states()
    assert rig.do("retry-startup")["state"] == "done"
    assert rig.door.states()["ready"] == "done"
    assert rig.door.texts("install-or-upgrade").count("installing hello-app 1.0.0 for web") == 1


def test_failing_action_stops_the_sequence_and_later_ones_are_not_begun(rig: Rig) -> None:
    rig.document["actions"] = [
        action("run_tasks", "before_install", tasks=[{"name": "bad", "run": "echo why it fails; exit 7"}]),
        action("run_tasks", "before_install", tasks=[{"name": "later", "run": "echo never-reached"}]),
    ]
    rig.make()
    rig.boot()
    error = rig.failure("actions:before_install")
    assert "my run_tasks" in error and "bad" in error and "exit status 7" in error
    until(lambda: "why it fails" in rig.door.texts())
    assert "never-reached" not in rig.door.texts()
    assert rig.state() is MachineState.ON


def test_application_that_dies_before_its_port_opens(rig: Rig) -> None:
    rig.bundle(start="echo cannot find my feet; exit 3")
    rig.make()
    rig.boot()
    error = rig.failure("start")
    assert "exit status 3" in error and "cannot find my feet" in error


def test_application_whose_port_never_opens_is_stopped(rig: Rig) -> None:
    rig.bundle(start="echo dreaming; exec sleep 1000")
    rig.document["timeouts"]["start_s"] = 0.5
    rig.make()
    rig.boot()
    error = rig.failure("start")
    assert "did not open port" in error and "dreaming" in error
    pid = rig.application_pid()
    until(lambda: processes.find(pid) is None)


def test_health_check_that_never_answers(rig: Rig) -> None:
    rig.bundle(health="/nowhere")
    rig.document["timeouts"]["health_s"] = 0.5
    rig.make()
    rig.boot()
    error = rig.failure("ready")
    assert "/nowhere" in error and "404" in error
    assert rig.door.health[-1][0] == "app-down"


def test_foreign_content_and_foreign_signature_are_left_alone(rig: Rig) -> None:
    rig.make()
    (rig.disk / "photos").mkdir()
    rig.boot()
    assert "photos" in rig.failure("data-disk")
    assert [path.name for path in rig.disk.iterdir()] == ["photos"]

    (rig.disk / "photos").rmdir()
    (rig.disk / ".fleet-disk").write_text('{"id": "d-other"}')
    rig.do("retry-startup")
    error = rig.failure("data-disk")
    assert "d-other" in error and "d-1" in error
    assert [path.name for path in rig.disk.iterdir()] == [".fleet-disk"]


def test_bundle_that_is_not_the_registered_one(rig: Rig) -> None:
    rig.document["application"]["bundle_sha256"] = "0" * 64
    rig.make()
    rig.boot()
    assert "not the registered one" in rig.failure("install-or-upgrade")


def test_refused_hello_ends_the_agent_and_says_so(rig: Rig) -> None:
    rig.make()
    order = BootConfiguration("m-1", "not the token", rig.door.address)
    rig.provider.boot("m-1", order, str(rig.root / "bundle.tar"), print)
    until(lambda: rig.state() is MachineState.OFF)
    assert "hello was refused" in (rig.folder / "agent.out").read_text()

    rig.boot()
    rig.ready()
    until(lambda: any("hello was refused" in text for text in rig.door.texts("hello")))
