"""Secrets of the cloud, read with the role of this machine: its metadata service gives credentials, a signed request the secret.

A secret is one of the secret manager, or one that the control plane had sealed by a key of the key service and cannot read any more itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import write

_METADATA = "http://169.254.169.254"
_ANSWER_S = 5.0
_CONTEXT = "fleet:for"
"""Name in the encryption context under which the control plane seals."""
_KINDS = {
    ("", "ResourceNotFoundException"): "there is no secret of that name; make it, or correct the secret id in the instance's settings",
    ("", "AccessDeniedException"): "the role of this machine may not read it; allow secretsmanager:GetSecretValue in its runtime profile",
    ("", "DecryptionFailure"): "the role of this machine may not decrypt it; allow kms:Decrypt for the secret's key",
    ("", "InvalidRequestException"): "it is marked for deletion; restore it or name another",
    ("kms", "AccessDeniedException"): "the role of this machine may not decrypt it; allow kms:Decrypt for that key in its runtime profile",
    ("kms", "DisabledException"): "the key is disabled; enable it",
    ("kms", "NotFoundException"): "the key is gone; choose another one in the cloud set-up, and enter the private key again",
}


def fetch_key(wanted: Mapping[str, Any]) -> str:
    """The private key that is a secret in plain text.

    Raises:
        Failure: missing, not readable, or not a key in PEM form.
    """
    secret = str(wanted.get("secret_id") or "")
    text = _secret(wanted, secret).decode("utf-8", "replace")
    if "PRIVATE KEY-----" not in text:
        raise Failure(f"the secret {secret} is not a private key in PEM form; store the key's text, with its BEGIN and END lines")
    return text


def fetch_bundle(wanted: Mapping[str, Any], folder: Path) -> Tuple[str, str]:
    """(certificates, key) of a bundle: PEM with key, leaf and chain, or PKCS#12 whose password is a secret too.

    Raises:
        Failure: missing, not readable, or neither of the two.
    """
    secret = str(wanted.get("secret_id") or "")
    data = _secret(wanted, secret)
    if b"-----BEGIN" not in data:
        password = str(wanted.get("password_secret_id") or "")
        data = _unpacked(data, _secret(wanted, password).rstrip(b"\r\n") if password else b"", folder, secret)
    certificates, keys = [], []
    for block in data.decode("ascii", "replace").split("-----BEGIN ")[1:]:
        text = f"-----BEGIN {block.partition('-----END ')[0]}-----END {block.partition('-----END ')[2].partition('-----')[0]}-----\n"
        if block.startswith("CERTIFICATE-----"):
            certificates.append(text)
        elif "PRIVATE KEY" in block.partition("-----")[0]:
            keys.append(text)
    if not certificates or len(keys) != 1:
        raise Failure(f"the bundle {secret} has {len(certificates)} certificates and {len(keys)} keys; one key and some certificates are needed")
    return "".join(certificates), keys[0]


def _unpacked(data: bytes, password: bytes, folder: Path, secret: str) -> bytes:
    """PKCS#12 as PEM. The password goes through a pipe, the file lies where only we can read."""
    place = folder / ".bundle.p12"
    command = ["openssl", "pkcs12", "-in", str(place), "-nodes", "-passin", "stdin"]
    try:
        write(place, "")
        place.write_bytes(data if data[:1] == b"\x30" else base64.b64decode(data))
        done = subprocess.run(command, input=password + b"\n", capture_output=True, timeout=60, check=False)
        if is_old := b"unsupported" in done.stderr:  # what OpenSSL 3 says of RC2, with which older programs wrote by default
            done = subprocess.run([*command, "-legacy"], input=password + b"\n", capture_output=True, timeout=60, check=False)
    except ValueError:
        raise Failure(f"the bundle {secret} is neither PEM nor PKCS#12") from None
    finally:
        place.unlink()
    if done.returncode != 0 and is_old:
        raise Failure(
            f"the bundle {secret} cannot be unpacked: it is encrypted in an old way that the openssl of this machine does not read; write it "
            "anew with `openssl pkcs12 -export` of version 3, or store it as PEM"
        )
    if done.returncode != 0:
        raise Failure(f"the bundle {secret} cannot be unpacked: it is no PKCS#12 file, or its password is not the one in the password secret")
    return done.stdout


def _secret(wanted: Mapping[str, Any], secret: str) -> bytes:
    if not secret:
        raise Failure("no secret is named; set the secret id in the instance's settings")
    region = str(wanted.get("vault_region") or "") or _metadata("/latest/meta-data/placement/region")
    reply = _ask(wanted, "secretsmanager", region, "secretsmanager.GetSecretValue", {"SecretId": secret}, f"the secret {secret} cannot be read")
    if reply.get("SecretString") is not None:
        return str(reply["SecretString"]).encode()
    return base64.b64decode(str(reply.get("SecretBinary") or ""))


def opened(wanted: Mapping[str, Any], sealed: str) -> str:
    """A secret that the key service sealed, as the control plane keeps it: ``k1.<key>.<context>.<ciphertext>``, each part base64url.

    Raises:
        Failure: the role may not decrypt it, or it is something else.
    """
    parts = sealed.split(".")
    try:
        if len(parts) != 4 or parts[0] != "k1":
            raise ValueError(parts[0])
        key, context, blob = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts[1:])
        region = key.decode().split(":")[3]
    except (ValueError, IndexError):
        raise Failure("the private key was sealed in a way that this agent does not know; enter it again, then reprovision") from None
    request = {
        "CiphertextBlob": base64.b64encode(blob).decode(), "KeyId": key.decode(), "EncryptionContext": {_CONTEXT: context.decode()},
    }
    reply = _ask(wanted, "kms", region, "TrentService.Decrypt", request, f"the private key cannot be decrypted with {key.decode()}")
    return base64.b64decode(str(reply.get("Plaintext") or "")).decode("ascii", "replace")


def _ask(wanted: Mapping[str, Any], service: str, region: str, target: str, request: Mapping[str, Any], complaint: str) -> Dict[str, Any]:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    endpoint = str(wanted.get("vault_endpoint") or f"https://{service}.{region}.{domain}")
    status, reply = _post(endpoint, service, target, region, _credentials(), json.dumps(request).encode())
    if status != 200:
        kind = str(reply.get("__type", "")).rpartition("#")[2]
        raise Failure(f"{complaint}: {_KINDS.get((service, kind)) or _KINDS.get(('', kind)) or kind or f'HTTP status {status}'}")
    return reply


def _credentials() -> Dict[str, str]:
    folder = "/latest/meta-data/iam/security-credentials/"
    role = _metadata(folder).splitlines()[:1]
    if not role:
        raise Failure("this machine has no role; set the runtime profile in the template, then reprovision")
    found = json.loads(_metadata(folder + role[0]))
    return {"id": str(found["AccessKeyId"]), "key": str(found["SecretAccessKey"]), "token": str(found.get("Token") or "")}


def _metadata(path: str) -> str:
    """What the metadata service tells, asked with a session token."""
    try:
        ask = urllib.request.Request(f"{_METADATA}/latest/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(ask, timeout=_ANSWER_S) as answer:
            token = answer.read().decode()
        with opener.open(urllib.request.Request(_METADATA + path, headers={"X-aws-ec2-metadata-token": token}), timeout=_ANSWER_S) as answer:
            return str(answer.read().decode())
    except OSError as error:
        raise Failure(
            f"this machine's metadata service does not answer ({error}): secrets of a vault need a machine in the cloud with a runtime profile"
        ) from error


def _post(
    endpoint: str, service: str, target: str, region: str, credentials: Mapping[str, str], body: bytes
) -> Tuple[int, Dict[str, Any]]:
    """One request, signed with version 4 of the provider's signatures."""
    place = urllib.parse.urlsplit(endpoint)
    now = time.gmtime()
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    headers = {
        "content-type": "application/x-amz-json-1.1", "host": place.netloc, "x-amz-date": stamp, "x-amz-target": target,
    }
    if credentials["token"]:
        headers["x-amz-security-token"] = credentials["token"]
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        ("POST", "/", "", *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, hashlib.sha256(body).hexdigest())
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials['key']}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credentials['id']}/{scope}, SignedHeaders={names}, Signature={signature}"
    link: http.client.HTTPConnection
    if place.scheme == "https":
        link = http.client.HTTPSConnection(place.netloc, timeout=_ANSWER_S, context=ssl.create_default_context())
    else:
        link = http.client.HTTPConnection(place.netloc, timeout=_ANSWER_S)
    try:
        link.request("POST", "/", body, headers)
        answer = link.getresponse()
        reply = json.loads(answer.read(1024 * 1024))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Failure(f"the cloud at {place.netloc} does not answer: {error or type(error).__name__}") from error
    finally:
        link.close()
    return answer.status, reply if isinstance(reply, dict) else {}
