"""Checks of certificate and key as a person gives them (spec 5.3): each refusal says which block and what to do about it.

What is checked is what the control plane can see: the form, the order of the chain, the dates, the strength, and whether the key is
the certificate's. Nothing of a key is ever quoted.
"""

from __future__ import annotations

import base64
import ipaddress
import itertools
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from fleet_tui.backend.certificates import SOON, CertificateFacts, ChainLink, Verdict
from fleet_tui.backend.certificates.pem import Block, Findings, read
from fleet_tui.backend.text import clean

CERTIFICATE_FIELD, KEY_FIELD = "ssl.certificate_pem", "ssl.private_key_pem"
CERTIFICATE_LIMIT, KEY_LIMIT = 64 * 1024, 16 * 1024
"""Characters; the longest chains in use are a sixth of it."""
_RSA_BITS = 2048
_WEAK = (hashes.SHA1, hashes.MD5)
_KEY_WORDS = re.compile(r"PRIVATE KEY")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def judge(certificate_pem: str, now: datetime, *, private_key_pem: str | None = None, names: Iterable[str] = ()) -> Verdict:
    """Every check that can be made of this material, all at once.

    Args:
        private_key_pem: ``None`` where the key is somewhere else (a vault, sealed): then only the certificate is judged.
        names: host names and addresses it is expected to cover.
    """
    found = Findings()
    certificates = certificates_in(certificate_pem, CERTIFICATE_FIELD, found)
    if certificates:
        _judge_order(certificates, found)
        _judge_dates(certificates, now, found)
        _judge_strength(certificates, found)
        _judge_names(certificates[0], names, found)
    key = _key(private_key_pem, found) if private_key_pem is not None else None
    if certificates and key is not None and _public(key.public_key()) != _public(certificates[0].public_key()):
        found.refuse(KEY_FIELD, (
            f"the private key does not belong to this certificate ({_subject(certificates[0].subject)}): give the key its request was made with, "
            "or have the certificate issued again for this key"
        ))  # fmt: skip
    facts = _facts(certificates) if certificates else None
    if found.refusals:
        return Verdict(tuple(found.refusals), tuple(found.warnings), facts)
    return Verdict((), tuple(found.warnings), facts, pem_of(certificates), _pem_of_key(key) if key is not None else "")


def describe(certificate_pem: str) -> CertificateFacts:
    """What certificates that were judged before say.

    Raises:
        ValueError: it is none.
    """
    return _facts(x509.load_pem_x509_certificates(certificate_pem.encode("ascii", "replace")))


def describe_der(leaf: bytes) -> CertificateFacts:
    """Raises ValueError: it is none."""
    return _facts([x509.load_der_x509_certificate(leaf)])


def key_id(private_key_pem: str) -> str:
    """SHA-256 of the public half, by which a key is told from another without being shown."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(_public(_load_key(private_key_pem.encode()).public_key()))
    return digest.finalize().hex()


def key_id_of_certificate(certificate_pem: str) -> str:
    """The same, of the key that a certificate is for."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(_public(x509.load_pem_x509_certificates(certificate_pem.encode())[0].public_key()))
    return digest.finalize().hex()


def pem_of(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def covers(sans: Iterable[str], name: str) -> bool:
    """Whether a client that asks for ``name`` takes a certificate with these names: exactly, or by a wildcard of one label."""
    try:
        return str(ipaddress.ip_address(name)) in set(sans)
    except ValueError:
        wanted = name.lower().rstrip(".")
    wild = f"*.{wanted.partition('.')[2]}"
    return any(san.lower() in (wanted, wild) for san in sans)


# --- reading ---------------------------------------------------------------------------------------------------------


def certificates_in(text: str, where: str, found: Findings) -> list[x509.Certificate]:
    """Every certificate, or none when one block is something else. ``where`` names the field."""
    if not text.strip():
        found.refuse(where, "a certificate is needed: the PEM text of the server's own, then of those that sign it")
        return []
    certificates: list[x509.Certificate] = []
    before = len(found.refusals)
    for block in read(text, where, CERTIFICATE_LIMIT, found):
        if block.complaint:
            found.refuse(where, f"{block.name} {block.complaint}")
        elif _KEY_WORDS.search(block.label):
            found.refuse(where, f"{block.name} is a private key; it belongs in the field of the key, and nowhere else")
        elif block.label in ("PKCS7", "CMS"):
            found.refuse(where, f"{block.name} is a PKCS#7 bundle; unpack it: `openssl pkcs7 -print_certs -in FILE -out certificate.pem`")
        elif block.label in ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"):
            found.refuse(where, f"{block.name} is a request; give the certificate that was issued for it")
        elif block.label == "TRUSTED CERTIFICATE":
            found.refuse(where, f"{block.name} is in openssl's own form; `openssl x509 -in FILE -out certificate.pem` makes it a plain one")
        elif block.label not in ("CERTIFICATE", "X509 CERTIFICATE"):
            found.refuse(where, f"{block.name} is no certificate; take it out")
        else:
            try:
                certificates.append(x509.load_der_x509_certificate(block.der))
                _facts(certificates[-1:])
            except (ValueError, UnsupportedAlgorithm):
                found.refuse(where, f"{block.name} cannot be read as a certificate: it was changed on the way; copy it again from the file")
    return certificates if len(found.refusals) == before else []


def _key(text: str, found: Findings) -> PrivateKey | None:
    where = KEY_FIELD
    if not text.strip():
        found.refuse(where, "a private key is needed: its PEM text, without a passphrase")
        return None
    before = len(found.refusals)
    blocks = [block for block in read(text, where, KEY_LIMIT, found, is_key=True) if block.label != "EC PARAMETERS"]
    if len(found.refusals) > before:
        return None
    if len(blocks) != 1:
        found.refuse(where, f"one private key is needed, and there are {len(blocks)} blocks; certificates belong in the field of the certificate")
        return None
    block = blocks[0]
    if block.complaint:
        found.refuse(where, f"{block.name} {block.complaint}")
    elif "ENCRYPTED" in block.label or block.label.endswith(", encrypted"):
        found.refuse(where, f"{block.name} has a passphrase; take it off: `openssl pkey -in FILE -out key.pem` asks for it")
    elif block.label == "OPENSSH PRIVATE KEY":
        found.refuse(where, f"{block.name} is in OpenSSH's form; `ssh-keygen -p -m PEM -f FILE` makes it PEM, if it is meant for TLS at all")
    elif not _KEY_WORDS.search(block.label):
        found.refuse(where, f"{block.name} is no private key; give the one the certificate's request was made with")
    else:
        return _judged_key(block, found)
    return None


def _judged_key(block: Block, found: Findings) -> PrivateKey | None:
    armoured = f"-----BEGIN {block.label}-----\n{base64.encodebytes(block.der).decode()}-----END {block.label}-----\n"
    try:
        key = _load_key(armoured.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found.refuse(KEY_FIELD, f"{block.name} cannot be read as an RSA or EC key: it was changed on the way; copy it again from the file")
        return None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _RSA_BITS:
        found.refuse(KEY_FIELD, f"{block.name} is RSA of {key.key_size} bits; {_RSA_BITS} or more are needed: make a new key and have it certified")
        return None
    return key


def _load_key(pem: bytes) -> PrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, PrivateKey):
        raise ValueError("neither RSA nor EC")
    return key


def _pem_of_key(key: PrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


# --- judging ---------------------------------------------------------------------------------------------------------


def _judge_order(certificates: Sequence[x509.Certificate], found: Findings) -> None:
    """Leaf first, each certificate followed by the one that signs it."""
    broken = next((n for n, (one, above) in enumerate(itertools.pairwise(certificates)) if not _signs(above, one)), None)
    if _is_authority(certificates[0]) and any(not _is_authority(one) for one in certificates[1:]):
        own = next(n for n, one in enumerate(certificates, 1) if not _is_authority(one))
        found.refuse(CERTIFICATE_FIELD, (
            f"block 1 is that of an authority ({_subject(certificates[0].subject)}): the server's own certificate comes first, which is block {own}"
        ))  # fmt: skip
    elif broken is not None:
        one, above = certificates[broken], certificates[broken + 1]
        right = _right_order(certificates)
        what = f"put the blocks in the order {', '.join(map(str, right))}" if right else (
            f"after block {broken + 1} the certificate of its issuer is needed ({_subject(one.issuer)}); take out what does not belong to the chain"
        )
        found.refuse(CERTIFICATE_FIELD, f"block {broken + 2} ({_subject(above.subject)}) does not sign block {broken + 1}: {what}")


def _right_order(certificates: Sequence[x509.Certificate]) -> list[int]:
    """Numbers of the blocks in the order of the chain, if all of them make one."""
    order, left = [0], list(range(1, len(certificates)))
    while left:
        above = next((n for n in left if _signs(certificates[n], certificates[order[-1]])), None)
        if above is None:
            return []
        order.append(above)
        left.remove(above)
    return [n + 1 for n in order]


def _signs(above: x509.Certificate, below: x509.Certificate) -> bool:
    if isinstance(below.signature_hash_algorithm, _WEAK):  # such signatures are not even tried; they are refused elsewhere, by their name
        return below.issuer == above.subject
    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _judge_dates(certificates: Sequence[x509.Certificate], now: datetime, found: Findings) -> None:
    for number, one in enumerate(certificates, 1):
        who = f"block {number} ({_subject(one.subject)})"
        ends, begins = one.not_valid_after_utc, one.not_valid_before_utc
        if ends <= now:
            found.refuse(CERTIFICATE_FIELD, f"{who} ended on {ends:%Y-%m-%d}: give a renewed one")
        elif ends - now < SOON and number == 1:
            found.warn(CERTIFICATE_FIELD, f"{who} ends in {(ends - now).days} days, on {ends:%Y-%m-%d}")
        if begins > now:
            found.warn(CERTIFICATE_FIELD, f"{who} is valid only from {begins:%Y-%m-%d %H:%M} UTC on; until then clients refuse it")


def _judge_strength(certificates: Sequence[x509.Certificate], found: Findings) -> None:
    for number, one in enumerate(certificates, 1):
        who = f"block {number} ({_subject(one.subject)})"
        key = one.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS:
            found.refuse(CERTIFICATE_FIELD, f"{who} is for RSA of {key.key_size} bits; {_RSA_BITS} or more are needed: have one issued for a new key")
        elif not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            found.refuse(CERTIFICATE_FIELD, f"{who} is for a key that is neither RSA nor EC, which clients refuse: have one issued for such a key")
        elif not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) and number == 1:
            found.warn(CERTIFICATE_FIELD, f"{who} is for an Ed25519 key, which browsers do not take yet")
        is_root = number > 1 and one.subject == one.issuer  # nobody checks what a root signed itself with
        if isinstance(one.signature_hash_algorithm, _WEAK) and not is_root:
            weak = one.signature_hash_algorithm.name.upper().replace("SHA1", "SHA-1")
            found.refuse(CERTIFICATE_FIELD, f"{who} is signed with {weak}, which clients refuse: have it issued again with SHA-256")


def _judge_names(leaf: x509.Certificate, names: Iterable[str], found: Findings) -> None:
    sans = _sans(leaf)
    if not sans:
        found.warn(CERTIFICATE_FIELD, "block 1 has no subject alternative names; clients look at nothing else")
    elif missing := [name for name in names if not covers(sans, name)]:
        found.warn(CERTIFICATE_FIELD, f"block 1 does not cover {', '.join(missing)}; it is for {', '.join(sans[:6])}{' …' if len(sans) > 6 else ''}")


# --- telling ---------------------------------------------------------------------------------------------------------


def _facts(certificates: Sequence[x509.Certificate]) -> CertificateFacts:
    leaf = certificates[0]
    weak = leaf.signature_hash_algorithm
    return CertificateFacts(
        subject=_subject(leaf.subject), issuer=_subject(leaf.issuer), sans=_sans(leaf), fingerprint=fingerprint(leaf),
        not_before=leaf.not_valid_before_utc, not_after=leaf.not_valid_after_utc, key=_key_words(leaf.public_key()),
        signature=weak.name if weak is not None else "", is_self_signed=leaf.subject == leaf.issuer,
        chain=tuple(ChainLink(_subject(one.subject), _subject(one.issuer), one.not_valid_after_utc, fingerprint(one)) for one in certificates[1:]),
    )


def fingerprint(certificate: x509.Certificate) -> str:
    digest = certificate.fingerprint(hashes.SHA256()).hex().upper()
    return ":".join(digest[n : n + 2] for n in range(0, len(digest), 2))


def _subject(name: x509.Name) -> str:
    """The common name, which is what people know it by; the whole name where there is none."""
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    text = str(common[0].value) if common else name.rfc4514_string()
    return clean(text, 200) or "no name"


def _sans(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return tuple(clean(name, 253) for name in found[:200])


def _key_words(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"
    return type(key).__name__.lstrip("_").removesuffix("PublicKey")


_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
