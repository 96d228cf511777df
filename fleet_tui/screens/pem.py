"""What can be told of a PEM text without showing it: what is in it, how much, and whether it came whole.

Only the look of it is judged here, while one types; what it is worth, the daemon judges when it is saved.
"""

from __future__ import annotations

import base64
import binascii
import re

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")
_CURVES = {
    bytes.fromhex("06082a8648ce3d030107"): "P-256", bytes.fromhex("06052b81040022"): "P-384", bytes.fromhex("06052b81040023"): "P-521",
    bytes.fromhex("06032b6570"): "Ed25519", bytes.fromhex("06032b6571"): "Ed448",
}
"""Object identifiers in DER (RFC 5480, RFC 8410) -> what people call the curve."""
_MODULUS = re.compile(rb"\x02\x01\x00\x02\x82(..)", re.DOTALL)
"""Version and head of the modulus of an RSA key (RFC 8017, A.1.2)."""
_DOTS = 16
"""More characters of a password are not told apart."""


def unix_lines(text: str) -> str:
    """Lines as this machine ends them: terminals paste them ended by a carriage return."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def holds_private_key(text: str) -> bool:
    return _PRIVATE.search(text) is not None


def is_unfinished(text: str) -> bool:
    """Whether the last block has no end yet, so that a line of it may follow."""
    labels = _BEGIN.findall(text)
    return bool(labels) and f"-----END {labels[-1]}-----" not in text.rpartition(f"-----BEGIN {labels[-1]}-----")[2]


def said_of_text(text: str) -> str:
    """``3 certificates, 4,096 B``; empty for a text without blocks."""
    labels = _BEGIN.findall(text)
    if not labels:
        return ""
    count = sum(label in ("CERTIFICATE", "X509 CERTIFICATE") for label in labels)
    what = f"{count} certificate{'s' * (count != 1)}" if count == len(labels) else f"{len(labels)} block{'s' * (len(labels) != 1)}"
    return f"{what}, {len(text.encode()):,} B{', cut off' if is_unfinished(text) else ''}"


def said_of_secret(text: str) -> str:
    """``P-256, 241 B``; a dot for each character of a password."""
    labels = _BEGIN.findall(text)
    if not labels:
        return f"{len(text.splitlines())} lines, no PEM" if "\n" in text else "•" * min(len(text), _DOTS)
    size = f"{len(text.encode()):,} B"
    if is_unfinished(text):
        return f"{size}, no end yet"
    return f"{_kind(labels[0], text)}, {size}"


def _kind(label: str, text: str) -> str:
    """What kind of key the first block is."""
    if not label.endswith("PRIVATE KEY"):
        return f"no key ({label.lower()})"
    body = text.partition(f"-----BEGIN {label}-----")[2].partition("-----END ")[0]
    if label.startswith("ENCRYPTED") or "ENCRYPTED" in body:
        return "encrypted key"
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return "damaged key"
    for identifier, name in _CURVES.items():
        if identifier in der[:64] or (label.startswith("EC ") and identifier in der):
            return name
    if (modulus := _MODULUS.search(der[:64])) is not None:
        return f"RSA {(int.from_bytes(modulus[1], 'big') - 1) * 8}"
    return "key"
