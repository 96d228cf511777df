"""Whether what a person pasted is the key or certificate that it is to be. Only whether, and why not: nothing is kept."""

from __future__ import annotations

import re
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def public_key_complaint(text: str) -> str:
    """What is wrong with an SSH public key on one line; empty when nothing is."""
    try:
        serialization.load_ssh_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm) as problem:
        return f"that is no SSH public key that can be read: {_short(problem)}"
    return ""


def private_key_complaint(text: str) -> str:
    """What is wrong with a private key for SSH (OpenSSH or PEM); empty when nothing is. Says nothing of the key itself."""
    data = text.strip().encode() + b"\n"
    load = serialization.load_ssh_private_key if b"OPENSSH" in data else serialization.load_pem_private_key
    if "ENCRYPTED" in text:
        return _LOCKED
    try:
        load(data, password=None)
    except TypeError:
        return _LOCKED
    except (ValueError, UnsupportedAlgorithm):
        return "that is no private key that can be read; paste the whole file, first and last line too"
    return ""


_LOCKED = "the key has a passphrase, which nobody could type at a start-up; give one without (`ssh-keygen -p -N ''`)"


def authorities_complaint(pem: str, now: datetime) -> str:
    """What is wrong with PEM certificates that are to be trusted as CAs, naming the first that is; empty when nothing is."""
    blocks = list(_BLOCK.finditer(pem))
    if foreign := next((block[1] for block in blocks if block[1] != "CERTIFICATE"), None):
        return f"there is a {foreign.lower()} in it; give certificates alone"
    if not blocks:
        return "no whole PEM certificate is in it"
    for number, block in enumerate(blocks, 1):
        which = f"certificate {number}"
        try:
            found = x509.load_pem_x509_certificate(block[0].encode())
            subject = found.subject.rfc4514_string()
        except (ValueError, UnsupportedAlgorithm) as problem:
            return f"{which} cannot be read: {_short(problem)}"
        if found.not_valid_after_utc <= now:
            return f"{which} ({subject}) expired on {found.not_valid_after_utc:%Y-%m-%d}"
        try:
            is_authority = found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_authority = found.issuer == found.subject
        except ValueError as problem:
            return f"{which} ({subject}) cannot be read: {_short(problem)}"
        if not is_authority:
            return f"{which} ({subject}) is not of a CA; give the CA that issued it"
    return ""


def _short(problem: Exception) -> str:
    return (str(problem).partition("\n")[0] or type(problem).__name__)[:120]
