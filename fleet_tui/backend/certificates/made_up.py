"""Certificates of machines that are not there: real ones, which follow from a seed, so that the same simulated site has the same ones.

Whoever knows the seed has their keys, so they protect nothing; no real machine is ever given one.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleet_tui.backend.certificates import material

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256 (SEC 2)."""
_PIECE = 120
"""Characters of a piece, as agents tell a certificate."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Leaf and chain, and the leaf's key."""

    pem: str
    key_pem: str = field(repr=False)


def issue(seed: str, names: Sequence[str], begins: datetime, ends: datetime, authority: str = "") -> Pair:
    """A certificate for these names, the first of them its subject's; signed by an authority of that name, or by itself."""
    key = _key(seed)
    subject = _name(names[0])
    signer = (_name(authority), _key(authority)) if authority else (subject, key)
    chain = [_built(seed, subject, key, names, begins, ends, signer)]
    if authority:
        chain.append(_built(authority, *signer, (), begins - timedelta(days=400), ends + timedelta(days=1000), signer))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return Pair(material.pem_of(chain), private)


def facts_of(pem: str) -> Mapping[str, Any]:
    """What an agent tells of the certificate it serves with."""
    chain = x509.load_pem_x509_certificates(pem.encode())
    texts = [base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode() for one in chain]
    return {
        "certificate_fingerprint": material.describe(pem).fingerprint, "certificate_not_after": int(chain[0].not_valid_after_utc.timestamp()),
        "certificate_not_before": int(chain[0].not_valid_before_utc.timestamp()),
        "certificate_chain": [[text[n : n + _PIECE] for n in range(0, len(text), _PIECE)] for text in texts],
    }


def renewed(told: Sequence[Sequence[str]], now: datetime) -> Mapping[str, Any]:
    """What an agent tells of a new certificate in the place of the one it told: for the same names, by the same authority, for as long."""
    before = x509.load_der_x509_certificate(base64.b64decode("".join(told[0])))
    facts = material.describe_der(before.public_bytes(serialization.Encoding.DER))
    common = before.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    issuer = before.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    names = list(dict.fromkeys([str(common), *facts.sans]))
    ends = now + (before.not_valid_after_utc - before.not_valid_before_utc)
    return facts_of(issue(f"{facts.fingerprint} renewed {now.isoformat()}", names, now, ends, "" if facts.is_self_signed else str(issuer)).pem)


def leaf_of(pem: str) -> bytes:
    """The first certificate, in DER form."""
    return x509.load_pem_x509_certificates(pem.encode())[0].public_bytes(serialization.Encoding.DER)


def _key(seed: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha512(f"key of {seed}".encode()).digest(), "big")
    return ec.derive_private_key(number % (_ORDER - 1) + 1, ec.SECP256R1())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _built(
    seed: str, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: Sequence[str], begins: datetime, ends: datetime,
    by: tuple[x509.Name, ec.EllipticCurvePrivateKey],
) -> x509.Certificate:
    serial = int.from_bytes(hashlib.sha256(f"serial of {seed} until {ends:%Y%m%d}".encode()).digest()[:15], "big") | 1
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(by[0]).public_key(key.public_key()).serial_number(serial)
        .not_valid_before(begins.replace(microsecond=0)).not_valid_after(ends.replace(microsecond=0))
        .add_extension(x509.BasicConstraints(not names, None), critical=True)
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    return builder.sign(by[1], hashes.SHA256(), ecdsa_deterministic=True)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
