"""Secrets of the cloud's secret manager, as the agent reads them: with the machine's role, signed as the cloud wants it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.agent import vault
from fleet_tui.agent.failures import Failure
from fleet_tui.agent.pairs import Pair
from tests.backend.certificates.authority import Authority, openssl

ROLE = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "Token": "session-token"}


class Cloud:
    """A metadata service and a secret manager on one port."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, str]] = {}
        self.refusals: dict[str, str] = {}
        self.role = "reader"
        self.asked: list[dict[str, str]] = []
        cloud = self

        class Visit(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                assert self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
                self._say(200, b"metadata-token")

            def do_GET(self) -> None:
                assert self.headers["X-aws-ec2-metadata-token"] == "metadata-token"
                known = {
                    "/latest/meta-data/placement/region": "eu-west-1", "/latest/meta-data/iam/security-credentials/": cloud.role,
                    "/latest/meta-data/iam/security-credentials/reader": json.dumps(ROLE),
                }
                self._say(200 if self.path in known else 404, known.get(self.path, "").encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                cloud.asked.append({**{name.lower(): value for name, value in self.headers.items()}, "body": body.decode()})
                if self.headers["X-Amz-Target"] == "TrentService.Decrypt":
                    asked = json.loads(body)
                    if asked["EncryptionContext"] == {"fleet:for": "instance:i-1:key"} and asked["KeyId"].endswith("key/k1"):
                        self._say(200, json.dumps({"Plaintext": base64.b64encode(base64.b64decode(asked["CiphertextBlob"])[::-1]).decode()}).encode())
                    else:
                        self._say(400, json.dumps({"__type": "AccessDeniedException"}).encode())
                    return
                name = json.loads(body)["SecretId"]
                if refusal := cloud.refusals.get(name) or ("" if name in cloud.secrets else "ResourceNotFoundException"):
                    self._say(400, json.dumps({"__type": f"com.amazon.coral.service#{refusal}", "message": "no"}).encode())
                else:
                    self._say(200, json.dumps({"Name": name, **cloud.secrets[name]}).encode())

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Visit)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    found = Cloud()
    monkeypatch.setattr(vault, "_METADATA", found.url)
    yield found
    found.close()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "ca")


def wanted(cloud: Cloud, **more: Any) -> dict[str, Any]:
    return {"secret_id": "web/key", "vault_endpoint": cloud.url, "vault_region": "", **more}


def test_a_key_is_read_with_the_role_of_the_machine(cloud: Cloud, ca: Authority) -> None:
    key = ca.key("web").read_text()
    cloud.secrets["web/key"] = {"SecretString": key}
    assert vault.fetch_key(wanted(cloud)) == key
    (asked,) = cloud.asked
    assert asked["x-amz-target"].endswith(".GetSecretValue") and asked["x-amz-security-token"] == "session-token"
    assert "/eu-west-1/secretsmanager/aws4_request" in asked["authorization"]


def test_the_signature_is_the_one_the_cloud_computes(cloud: Cloud, ca: Authority) -> None:
    """Computed once more, straight from the specification of signatures, over what really arrived."""
    import hashlib
    import hmac

    cloud.secrets["web/key"] = {"SecretString": ca.key("signed").read_text()}
    vault.fetch_key(wanted(cloud, vault_region="eu-central-1"))
    asked = cloud.asked[0]
    fields = dict(part.strip().split("=", 1) for part in asked["authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(","))
    names = fields["SignedHeaders"].split(";")
    assert names == sorted(names) and {"host", "x-amz-date", "x-amz-security-token"} <= set(names)
    canonical = "POST\n/\n\n" + "".join(f"{name}:{asked[name].strip()}\n" for name in names) + f"\n{fields['SignedHeaders']}\n" + hashlib.sha256(asked["body"].encode()).hexdigest()
    scope = fields["Credential"].partition("/")[2]
    day, region, service, end = scope.split("/")
    assert (region, service, end) == ("eu-central-1", "secretsmanager", "aws4_request") and asked["x-amz-date"].startswith(day)
    key = ("AWS4" + ROLE["SecretAccessKey"]).encode()
    for word in (day, region, service, end):
        key = hmac.digest(key, word.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{asked['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    assert fields["Signature"] == hmac.new(key, text.encode(), "sha256").hexdigest()


@pytest.mark.parametrize(("refusal", "words"), [
    ("ResourceNotFoundException", "there is no secret of that name"), ("AccessDeniedException", "secretsmanager:GetSecretValue"),
    ("DecryptionFailure", "kms:Decrypt"), ("InvalidRequestException", "marked for deletion"), ("SomethingElse", "SomethingElse"),
])  # fmt: skip
def test_refusals_say_what_to_do(cloud: Cloud, refusal: str, words: str) -> None:
    cloud.refusals["web/key"] = refusal
    with pytest.raises(Failure, match=words):
        vault.fetch_key(wanted(cloud))


def test_a_secret_that_is_no_key(cloud: Cloud) -> None:
    cloud.secrets["web/key"] = {"SecretString": "hunter2hunter2"}
    with pytest.raises(Failure, match="not a private key in PEM form") as refused:
        vault.fetch_key(wanted(cloud))
    assert "hunter2" not in str(refused.value)


def test_a_machine_without_a_role_or_without_a_cloud(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.role = ""
    with pytest.raises(Failure, match="no role; set the runtime profile in the template"):
        vault.fetch_key(wanted(cloud))
    with pytest.raises(Failure, match="no secret is named"):
        vault.fetch_key(wanted(cloud, secret_id=""))
    monkeypatch.setattr(vault, "_METADATA", "http://127.0.0.1:9")
    with pytest.raises(Failure, match="metadata service does not answer"):
        vault.fetch_key(wanted(cloud))


def sealed(text: str, context: str = "instance:i-1:key", key: str = "arn:aws:kms:eu-north-1:1:key/k1") -> str:
    """As a key service would that turns texts round."""
    parts = (key.encode(), context.encode(), text.encode()[::-1])
    return ".".join(("k1", *(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)))


def test_a_key_that_the_cloud_sealed_is_opened_by_the_machine_alone(cloud: Cloud, ca: Authority) -> None:
    key = ca.key("sealed").read_text()
    assert vault.opened(wanted(cloud), sealed(key)) == key
    assert "/eu-north-1/kms/aws4_request" in cloud.asked[0]["authorization"]
    with pytest.raises(Failure, match="allow kms:Decrypt for that key"):
        vault.opened(wanted(cloud), sealed(key, context="another"))
    for wrong in ("v1.a.b.c.d", "k1.a.b", "k1.!.!.!", ""):
        with pytest.raises(Failure, match="enter it again"):
            vault.opened(wanted(cloud), wrong)


def test_a_bundle_in_pem_in_any_order(cloud: Cloud, ca: Authority, tmp_path: Path) -> None:
    certificate = ca.issue("bundle", ca.key("bundle"), "web.example", sans="DNS:web.example")
    cloud.secrets["web/key"] = {"SecretString": (ca.folder / "bundle.key").read_text() + ca.chain(certificate)}
    pem, key = vault.fetch_bundle(wanted(cloud), tmp_path)
    assert pem.split() == ca.chain(certificate).split()
    pair = Pair(tmp_path, "per-instance")
    pair.replace(pem, key)
    pair.check()


@pytest.mark.parametrize("password", ["", "geheim"])
def test_a_bundle_in_pkcs12(cloud: Cloud, ca: Authority, tmp_path: Path, password: str) -> None:
    certificate = ca.issue("p12", ca.key("p12"), "web.example", sans="DNS:web.example")
    bundle = tmp_path / "web.p12"
    openssl("pkcs12", "-export", "-in", certificate, "-inkey", ca.folder / "p12.key", "-certfile", ca.middle, "-passout", f"pass:{password}", "-out", bundle)
    cloud.secrets["web/key"] = {"SecretBinary": base64.b64encode(bundle.read_bytes()).decode()}
    cloud.secrets["web/password"] = {"SecretString": f"{password}\n"}
    more = {"password_secret_id": "web/password"} if password else {}
    (tmp_path / "to").mkdir()
    pem, key = vault.fetch_bundle(wanted(cloud, **more), tmp_path / "to")
    assert pem.count("BEGIN CERTIFICATE") == 2
    pair = Pair(tmp_path / "to", "per-instance")
    pair.replace(pem, key)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["per-instance.crt", "per-instance.key"]
    if password:
        cloud.secrets["web/password"] = {"SecretString": "wrong"}
        with pytest.raises(Failure, match="its password is not the one"):
            vault.fetch_bundle(wanted(cloud, **more), tmp_path / "to")


@pytest.mark.parametrize("content", ["nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_bundle_that_is_none(cloud: Cloud, tmp_path: Path, content: str) -> None:
    cloud.secrets["web/key"] = {"SecretString": content}
    with pytest.raises(Failure, match="bundle web/key"):
        vault.fetch_bundle(wanted(cloud), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_an_older_program_wrote(cloud: Cloud, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = ca.issue("old", ca.key("old"), "web.example", sans="DNS:web.example")
    bundle = tmp_path / "old.p12"
    openssl("pkcs12", "-export", "-legacy", "-in", certificate, "-inkey", ca.folder / "old.key", "-passout", "pass:geheim", "-out", bundle)
    cloud.secrets["web/key"] = {"SecretBinary": base64.b64encode(bundle.read_bytes()).decode()}
    cloud.secrets["web/password"] = {"SecretString": "geheim"}
    pem, _ = vault.fetch_bundle(wanted(cloud, password_secret_id="web/password"), tmp_path)
    assert pem.split() == certificate.read_text().split()
    cloud.secrets["web/password"] = {"SecretString": "wrong"}
    with pytest.raises(Failure, match="its password is not the one"):
        vault.fetch_bundle(wanted(cloud, password_secret_id="web/password"), tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/openssl").write_text("#!/bin/sh\necho 'Algorithm (RC2-40-CBC : 0): unsupported' >&2\nexit 1\n")
    (tmp_path / "bin/openssl").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    with pytest.raises(Failure, match=r"encrypted in an old way .* pkcs12 -export"):
        vault.fetch_bundle(wanted(cloud, password_secret_id="web/password"), tmp_path)
