"""Envelope encryption with AES-256-GCM: each secret has its own key, wrapped by the master key.

A master key wraps keys and never data, so that changing it (or moving it into a KMS) means rewrapping a few bytes
of each secret. Sealed text is ``v1.<key id>.<wrapped key>.<nonce and ciphertext>``, base64url without padding.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fleet_tui.backend.errors import AuthFailed, InternalError

_VERSION = "v1"
_KEY_BYTES = 32
_NONCE_BYTES = 12


class Envelope:
    """Seals with one master key of 32 bytes."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise InternalError(f"a master key has {_KEY_BYTES} bytes, this one {len(master_key)}")
        self._master = AESGCM(master_key)
        self.key_id = hashlib.sha256(b"fleet master key" + master_key).hexdigest()[:8]
        """Names the key without telling anything about it."""

    @classmethod
    def from_file(cls, path: Path, sealed: str = "") -> Envelope:
        """With the key in ``path``, which is made with mode 0600 if it is not there.

        Args:
            sealed: something that was sealed before, if anything was: then only the key that it was sealed under will do.

        Raises:
            AuthFailed: others can read the file, or it is gone or another one than that.
            InternalError: it is not a key.
        """
        key_id = _key_id(sealed)
        if key_id and not path.exists():
            raise AuthFailed(
                f"the master key {path} is gone, and secrets were sealed under it", hint="restore it from a backup; nothing was made in its place"
            )
        envelope = cls(read_or_create_key(path))
        if key_id:
            envelope._check_key(key_id)
        return envelope

    def _check_key(self, key_id: str) -> None:
        if key_id != self.key_id:
            raise AuthFailed(
                f"a secret was sealed under master key {key_id}, this daemon has {self.key_id}",
                hint="put the master key file back that belongs to this database",
            )

    def seal(self, secret: bytes, context: str) -> str:
        key = AESGCM.generate_key(bit_length=256)
        bound = context.encode()
        parts = (_encrypt(self._master, key, bound), _encrypt(AESGCM(key), secret, bound))
        return ".".join((_VERSION, self.key_id, *map(_text, parts)))

    def open(self, sealed: str, context: str) -> bytes:
        try:
            version, key_id, wrapped, body = sealed.split(".")
            if version != _VERSION:
                raise ValueError(version)
            self._check_key(key_id)
            bound = context.encode()
            key = _decrypt(self._master, _bytes(wrapped), bound)
            return _decrypt(AESGCM(key), _bytes(body), bound)
        except (ValueError, InvalidTag) as problem:
            raise AuthFailed("a sealed secret cannot be opened: it was changed, or belongs to something else") from problem


def _key_id(sealed: str) -> str:
    """The master key that something was sealed under, by itself or within what a vault made; empty for what is under a cloud's key."""
    parts = sealed.split(".")
    return parts[parts.index(_VERSION) + 1] if _VERSION in parts[:-1] else ""


def read_or_create_key(path: Path) -> bytes:
    """The master key of a site. Two daemons that start at once get the same one; a half-written one is never seen.

    Raises :class:`AuthFailed` if others can read the file, :class:`InternalError` if it is not a key.
    """
    if not path.exists():
        _create(path)
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        key = file.read(_KEY_BYTES + 1)
    if mode & 0o077:
        raise AuthFailed(f"the master key {path} can be read by others (mode {mode:o})", hint=f"chmod 600 {path}, and consider it known")
    if len(key) != _KEY_BYTES:
        raise InternalError(f"{path} is not a master key: it has {len(key)} bytes instead of {_KEY_BYTES}", hint="restore it from a backup")
    return key


def _create(path: Path) -> None:
    """Written beside and linked into place: ``link`` never replaces, so whoever is first wins."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink()


def _encrypt(cipher: AESGCM, data: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, bound)


def _decrypt(cipher: AESGCM, data: bytes, bound: bytes) -> bytes:
    return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
