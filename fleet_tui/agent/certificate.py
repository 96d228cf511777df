"""The certificate the application serves with: none, or a self-signed one that lives on the data disk and is reused."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import ssl
import subprocess
from pathlib import Path
from typing import Iterable, Sequence

from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import write
from fleet_tui.agent.machine import Machine

_DAYS = 3650
_PHASE = "certificate"


def settle(machine: Machine) -> bool:
    """Phase ``certificate``; false when there is nothing to do.

    Raises:
        Failure: unknown strategy, no openssl, or files on the data disk that do not belong together.
    """
    wanted = machine.section("certificate")
    strategy = str(wanted.get("strategy") or "none")
    machine.certificate = None
    if strategy == "none":
        machine.standing.set_facts(certificate_not_after=None, certificate_fingerprint=None)
        return False
    if strategy != "self_signed":
        raise Failure(f"this agent does not know the certificate strategy {strategy!r}; choose none or self_signed")
    folder = machine.disk.certificates
    certificate, key = folder / "self-signed.crt", folder / "self-signed.key"
    addresses = machine.section("addresses")
    known = [addresses.get("private_ip"), addresses.get("public_ip"), addresses.get("host_name"), *(wanted.get("sans") or ())]
    sans = _normalised(str(name) for name in known if name)
    _finish_interrupted(certificate, key)
    say = machine.sayer(_PHASE)
    if certificate.exists() and key.exists():
        _check_pair(certificate, key)
        served = names_in(certificate)
        if served == sans:
            say(f"reusing the certificate of the data disk, {fingerprint(certificate)}")
        else:
            say(f"names changed from {', '.join(sorted(served))} to {', '.join(sorted(sans))}: making a new certificate")
            _make(certificate, key, str(wanted.get("common_name") or machine.name), sans)
    else:
        say(f"making a self-signed certificate for {', '.join(sorted(sans))}, valid 10 years")
        _make(certificate, key, str(wanted.get("common_name") or machine.name), sans)
    key.chmod(0o600)
    machine.certificate = (certificate, key)
    machine.standing.set_facts(certificate_not_after=not_after(certificate), certificate_fingerprint=fingerprint(certificate))
    return True


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate, as browsers show it."""
    try:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii").strip())).hexdigest().upper()
    except ValueError as error:
        raise Failure(f"{certificate} is not a PEM certificate ({error}); remove it, then retry the start-up") from error
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def not_after(certificate: Path) -> float:
    """Unix time the certificate ends."""
    said = _openssl("x509", "-in", str(certificate), "-noout", "-enddate")
    return float(ssl.cert_time_to_seconds(said.strip().partition("=")[2]))


def names_in(certificate: Path) -> frozenset[str]:
    """The subject alternative names of a certificate, in one form."""
    said = _openssl("x509", "-in", str(certificate), "-noout", "-ext", "subjectAltName")
    return _normalised(re.findall(r"(?:DNS|IP Address):([^,\s]+)", said))


def _normalised(names: Iterable[str]) -> frozenset[str]:
    found = set()
    for name in names:
        try:
            found.add(str(ipaddress.ip_address(name.strip())))
        except ValueError:
            found.add(name.strip().lower())
    return frozenset(found)


def _make(certificate: Path, key: Path, common_name: str, sans: frozenset[str]) -> None:
    """Make both under temporary names, then put them in place, key first; see :func:`_finish_interrupted`."""
    if not sans:
        raise Failure("a self-signed certificate needs at least one address or name; add one to the instance")
    if any(not re.fullmatch(r"[A-Za-z0-9.:*_-]+", name) for name in sans):
        raise Failure(f"not all of these are names or addresses: {', '.join(sorted(sans))}; correct the instance's names")
    fresh_certificate, fresh_key, request = _fresh(certificate), _fresh(key), certificate.parent / ".self-signed.conf"
    write(request, _request(common_name, sorted(sans)))
    _openssl(
        "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256", "-days", str(_DAYS),
        "-utf8", "-config", str(request), "-keyout", str(fresh_key), "-out", str(fresh_certificate),
    )
    request.unlink()
    _check_pair(fresh_certificate, fresh_key)
    for path in (fresh_certificate, fresh_key):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    os.rename(fresh_key, key)
    os.rename(fresh_certificate, certificate)


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _finish_interrupted(certificate: Path, key: Path) -> None:
    """A machine killed between the two renames has the new key in place and its certificate still waiting."""
    waiting = _fresh(certificate)
    if waiting.exists() and not _fresh(key).exists() and key.exists() and _public_of(waiting, key):
        os.rename(waiting, certificate)
    for left in (waiting, _fresh(key)):
        if left.exists():
            left.unlink()


def _public_of(certificate: Path, key: Path) -> bool:
    return _openssl("x509", "-in", str(certificate), "-noout", "-pubkey") == _openssl("pkey", "-in", str(key), "-pubout")


def _check_pair(certificate: Path, key: Path) -> None:
    if not _public_of(certificate, key):
        raise Failure(f"the key {key} does not belong to {certificate}; remove both to have new ones made, then retry the start-up")


def _request(common_name: str, sans: Sequence[str]) -> str:
    name = "".join(f"\\{c}" if c in "\\$#\"'" else c for c in common_name if c.isprintable())[:64].strip() or "instance"
    alternatives = [f"IP.{n} = {san}" if _is_address(san) else f"DNS.{n} = {san}" for n, san in enumerate(sans, 1)]
    return "\n".join(
        (
            "[req]", "prompt = no", "string_mask = utf8only", "distinguished_name = subject", "x509_extensions = extensions",
            "[subject]", f"CN = {name}",
            "[extensions]", "basicConstraints = critical,CA:FALSE", "keyUsage = critical,digitalSignature",
            "extendedKeyUsage = serverAuth", "subjectKeyIdentifier = hash", "subjectAltName = @names",
            "[names]", *alternatives, "",
        )
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _openssl(*arguments: str) -> str:
    """Run the openssl program with a umask that keeps what it writes to ourselves."""
    command = ["/bin/sh", "-c", 'umask 077; exec openssl "$@"', "sh", *arguments]
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, env=environment)
    if done.returncode == 127:
        raise Failure("the program openssl is missing; install the package openssl on this machine, then retry the start-up")
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise Failure(f"openssl {arguments[0]} failed: {words[0]}")
    return done.stdout.decode("utf-8", "replace")
