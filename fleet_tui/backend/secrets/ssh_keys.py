"""Whether what a person pasted is the SSH key that it is to be. Only whether, and why not: nothing is kept."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization


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


def _short(problem: Exception) -> str:
    return (str(problem).partition("\n")[0] or type(problem).__name__)[:120]
