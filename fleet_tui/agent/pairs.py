"""A certificate and its key as two files that are replaced together, and what the openssl program says of them."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
import re
import ssl
import subprocess
import time
from pathlib import Path
from typing import Iterable, List, Sequence

from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import write

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s*(.+?)\s*-----END CERTIFICATE-----", re.DOTALL)
_PIECE = 480
"""Characters of one piece of a certificate as it is told: the door cuts longer texts."""


class Pair:
    """``<name>.crt`` and ``<name>.key`` in a folder only we can read. Killed at any moment, the old pair or the new one is found whole."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate = folder / f"{name}.crt"
        self.key = folder / f"{name}.key"
        self.fresh_certificate = folder / f".{name}.crt.new"
        self.fresh_key = folder / f".{name}.key.new"

    def exists(self) -> bool:
        return self.certificate.exists() and self.key.exists()

    def check(self) -> None:
        """Raises Failure when the two do not belong together."""
        if not _belong(self.certificate, self.key):
            raise Failure(
                f"the key {self.key} does not belong to {self.certificate}; remove both to have new ones made, then retry the start-up"
            )

    def replace(self, certificate_pem: str, key_pem: str) -> None:
        """Put a new pair in place after checking it; what is wrong with it leaves the old one as it is.

        Raises:
            Failure: not PEM, not one pair, or past its end.
        """
        try:
            write(self.fresh_key, key_pem)
            write(self.fresh_certificate, certificate_pem)
            self.take_fresh()
        except BaseException:
            self.drop_fresh()
            raise

    def take_fresh(self) -> None:
        """Check the two files written under the temporary names and put them in place, key first; see :meth:`finish_interrupted`."""
        if not _belong(self.fresh_certificate, self.fresh_key):
            raise Failure("the private key does not belong to the certificate; correct the pair in the instance's settings")
        if not_after(self.fresh_certificate) <= time.time():
            raise Failure("the certificate has ended; give a renewed one in the instance's settings")
        for path in (self.fresh_certificate, self.fresh_key):
            path.chmod(0o600)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        os.rename(self.fresh_key, self.key)
        os.rename(self.fresh_certificate, self.certificate)

    def drop_fresh(self) -> None:
        for left in (self.fresh_certificate, self.fresh_key):
            if left.exists():
                left.unlink()

    def finish_interrupted(self) -> None:
        """A machine killed between the two renames has the new key in place and its certificate still waiting."""
        waiting = self.fresh_certificate
        if waiting.exists() and not self.fresh_key.exists() and self.key.exists() and _belong(waiting, self.key):
            os.rename(waiting, self.certificate)
        self.drop_fresh()


def _belong(certificate: Path, key: Path) -> bool:
    public = openssl("x509", "-in", str(certificate), "-noout", "-pubkey")
    return public == openssl("pkey", "-in", str(key), "-passin", "pass:", "-pubout")


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the leaf, as browsers show it."""
    digest = hashlib.sha256(_chain(certificate)[0]).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def chain_pieces(certificate: Path) -> List[List[str]]:
    """Leaf and chain as they are told to the control plane: base64 of each, in pieces."""
    texts = [base64.b64encode(der).decode() for der in _chain(certificate)]
    return [[text[i : i + _PIECE] for i in range(0, len(text), _PIECE)] for text in texts]


def _chain(certificate: Path) -> List[bytes]:
    try:
        found = [base64.b64decode("".join(body.split()), validate=True) for body in _BLOCK.findall(certificate.read_text(encoding="ascii"))]
    except ValueError:
        found = []
    if not found:
        raise Failure(f"{certificate} is not a PEM certificate; remove it, then retry the start-up")
    return found


def not_after(certificate: Path) -> float:
    """Unix time the certificate ends."""
    return _date(certificate, "-enddate")


def not_before(certificate: Path) -> float:
    """Unix time it begins."""
    return _date(certificate, "-startdate")


def _date(certificate: Path, which: str) -> float:
    said = openssl("x509", "-in", str(certificate), "-noout", which)
    return float(ssl.cert_time_to_seconds(said.strip().partition("=")[2]))


def names_in(certificate: Path) -> frozenset[str]:
    """The subject alternative names of a certificate, in one form."""
    said = openssl("x509", "-in", str(certificate), "-noout", "-ext", "subjectAltName")
    return normalised(re.findall(r"(?:DNS|IP Address):([^,\s]+)", said))


def normalised(names: Iterable[str]) -> frozenset[str]:
    found = set()
    for name in names:
        try:
            found.add(str(ipaddress.ip_address(name.strip())))
        except ValueError:
            found.add(name.strip().lower())
    return frozenset(found)


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def request_text(common_name: str, sans: Sequence[str], extensions: str) -> str:
    """A configuration for ``openssl req``.

    Raises:
        Failure: something is no name.
    """
    if any(not re.fullmatch(r"[A-Za-z0-9.:*_-]+", name) for name in sans):
        raise Failure(f"not all of these are names or addresses: {', '.join(sorted(sans))}; correct the instance's names")
    name = "".join(f"\\{c}" if c in "\\$#\"'" else c for c in common_name if c.isprintable())[:64].strip() or "instance"
    alternatives = [f"IP.{n} = {san}" if is_address(san) else f"DNS.{n} = {san}" for n, san in enumerate(sans, 1)]
    return "\n".join(
        (
            "[req]", "prompt = no", "string_mask = utf8only", "distinguished_name = subject", f"{extensions} = extensions",
            "[subject]", f"CN = {name}",
            "[extensions]", "basicConstraints = critical,CA:FALSE", "keyUsage = critical,digitalSignature",
            "extendedKeyUsage = serverAuth", "subjectKeyIdentifier = hash", "subjectAltName = @names",
            "[names]", *alternatives, "",
        )
    )


def openssl(*arguments: str) -> str:
    """Run the openssl program with a umask that keeps what it writes to ourselves. Secrets are in files, never in its arguments."""
    command = ["/bin/sh", "-c", 'umask 077; exec openssl "$@"', "sh", *arguments]
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, env=environment)
    if done.returncode == 127:
        raise Failure("the program openssl is missing; install the package openssl on this machine, then retry the start-up")
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise Failure(f"openssl {arguments[0]} failed: {words[0]}")
    return done.stdout.decode("utf-8", "replace")
