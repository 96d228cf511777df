"""Keys and certificates made for a test, each once a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID


@cache
def _ssh_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@cache
def private_key(passphrase: str = "") -> str:
    """For SSH, in OpenSSH's own form."""
    lock = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return _ssh_key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, lock).decode()


@cache
def public_key(comment: str = "tester") -> str:
    found = _ssh_key().public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{found.decode()} {comment}"


def authority(until: datetime | None = None) -> str:
    """A certificate of a CA, as PEM."""
    return _certificate("authority", until, is_authority=True)


def certificate() -> str:
    """One that is not of a CA."""
    return _certificate("leaf", None, is_authority=False)


@cache
def _certificate(name: str, until: datetime | None, *, is_authority: bool) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = until or datetime.now(UTC) + timedelta(days=30)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=60)).not_valid_after(until).add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM).decode()
