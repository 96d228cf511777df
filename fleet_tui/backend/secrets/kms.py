"""Sealing with a key that a cloud keeps, and a vault that opens whatever any key of the site has sealed.

Sealed text is ``k1.<key>.<context>.<ciphertext>`` where the secret itself went to the key service, and
``k1.<key>.<context>.<wrapped key>.<nonce and ciphertext>`` where it was too large for that and only its own key went; all base64url.
What a vault seals under the site's own key is ``m1.<context>.<envelope>``. The context stands in both so that whoever moves secrets
to another key need not know what they are; what opens them gives it anew.
"""

from __future__ import annotations

import base64
import os
import secrets as random_secrets
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fleet_tui.backend.errors import AuthFailed, FleetError, InvalidInput, Problem, WrongState
from fleet_tui.backend.secrets import KeyFacts, KeyService, Sealer

DIRECT_LIMIT = 4096
"""Bytes that AWS KMS encrypts itself; more is sealed with a key of its own, which is what goes there."""
SYMMETRIC = "SYMMETRIC_DEFAULT"
USAGE = "ENCRYPT_DECRYPT"
ENABLED = "Enabled"
_MARK, _OWN_MARK = "k1", "m1"
_NONCE_BYTES = 12


class KmsSealer:
    """Seals under one key of a key service; opens what any of its keys sealed.

    Args:
        key: full name of the key that new secrets are sealed under.
    """

    def __init__(self, service: KeyService, key: str) -> None:
        self._service = service
        self.key = key

    def seal(self, secret: bytes, context: str) -> str:
        head = (_MARK, _text(self.key.encode()), _text(context.encode()))
        if len(secret) <= DIRECT_LIMIT:
            return ".".join((*head, _text(self._service.encrypt(self.key, secret, context))))
        own = AESGCM.generate_key(bit_length=256)
        nonce = os.urandom(_NONCE_BYTES)
        body = nonce + AESGCM(own).encrypt(nonce, secret, context.encode())
        return ".".join((*head, _text(self._service.encrypt(self.key, own, context)), _text(body)))

    def open(self, sealed: str, context: str) -> bytes:
        key, _, wrapped, body = _parts(sealed)
        secret = self._service.decrypt(key, wrapped, context)
        if not body:
            return secret
        try:
            return AESGCM(secret).decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], context.encode())
        except (ValueError, InvalidTag) as problem:
            raise AuthFailed("a sealed secret cannot be opened: it was changed, or belongs to something else") from problem

    def rewrap(self, sealed: str) -> str:
        """The same secret under the present key; within the key service, so nothing is in clear here."""
        key, context, wrapped, body = _parts(sealed)
        moved = self._service.re_encrypt(key, wrapped, context, self.key)
        parts = (_MARK, _text(self.key.encode()), _text(context.encode()), _text(moved))
        return ".".join((*parts, _text(body)) if body else parts)


class Vault:
    """Seals with the site's key of a cloud where there is one, else with the site's own master key; opens both.

    Args:
        own: the site's own sealer.
        keyed: the sealer of the site's cloud account as it is set up now; ``None`` when it has no key there.
        service: the key service of the account, even when no key is chosen any more: for what was sealed there.
    """

    def __init__(self, own: Sealer, keyed: Callable[[], KmsSealer | None] = lambda: None,
                 service: Callable[[], KeyService | None] = lambda: None) -> None:
        self._own, self._keyed, self._service = own, keyed, service

    def seal(self, secret: bytes, context: str) -> str:
        if (keyed := self._keyed()) is not None:
            return keyed.seal(secret, context)
        return ".".join((_OWN_MARK, _text(context.encode()), self._own.seal(secret, context)))

    def open(self, sealed: str, context: str) -> bytes:
        if key_of(sealed) is None:
            return self._own.open(_own_part(sealed), context)
        service = self._service()
        if service is None:
            raise WrongState(
                "a secret was sealed by a cloud's key, and this site has no cloud account", hint="`fleet cloud setup` gives it one"
            )
        return KmsSealer(service, "").open(sealed, context)

    def move(self, sealed: str) -> str:
        """The same secret under the key that new ones are sealed under now. What was under the site's own is in clear here for a moment.

        Raises:
            WrongState: there is no cloud's key to move it to.
        """
        keyed = self._keyed()
        if keyed is None:
            raise WrongState("this site has no cloud's key", hint="`fleet cloud setup --cmk KEY` chooses one")
        if key_of(sealed) is not None:
            return keyed.rewrap(sealed)
        context = _decoded(sealed.split(".")[1])
        return keyed.seal(self.open(sealed, context), context)


def key_of(sealed: str) -> str | None:
    """Full name of the cloud's key that a text is sealed under; ``None`` for one under the site's own."""
    return _parts(sealed)[0] if sealed.startswith(f"{_MARK}.") else None


def is_sealed(text: str) -> bool:
    """Whether a vault sealed it."""
    return text.startswith((f"{_MARK}.", f"{_OWN_MARK}."))


def sealed_under(key: str) -> str:
    """How every text sealed under that key begins."""
    return f"{_MARK}.{_text(key.encode())}."


def check_key(service: KeyService, key: str, region: str) -> tuple[KeyFacts, str]:
    """Whether a key will do: symmetric, made to encrypt, enabled, and really used once (spec 5.4).

    Returns:
        (facts, warning): the warning is empty when there is none.

    Raises:
        InvalidInput: it is of the wrong kind; says which it is.
        WrongState: it is disabled, or about to be deleted.
        FleetError: the key service refuses, or does not answer.
    """
    facts = service.describe(key)
    for found, wanted, what in ((facts.usage, USAGE, "made to encrypt and decrypt"), (facts.spec, SYMMETRIC, "symmetric")):
        if found != wanted:
            raise InvalidInput(
                f"key {facts.id} is not {what}: it is {found}", problems=[Problem("aws_cmk_id", f"is {found}, not {wanted}")],
                hint="make a symmetric key for encryption and decryption",
            )
    if facts.state != ENABLED:
        raise WrongState(f"key {facts.id} is {facts.state}", hint="enable it, or choose another one", state=facts.state)
    probe, context = random_secrets.token_bytes(32), "fleet:test-key"
    try:
        returned = service.decrypt(facts.id, service.encrypt(facts.id, probe, context), context)
    except FleetError as error:
        error.message = f"key {facts.id} cannot be used: {error.message}"
        raise
    if returned != probe:
        raise WrongState(f"key {facts.id} does not give back what it was given", hint="choose another one", state=facts.state)
    warning = f"the key is in {facts.region}, the site in {region}: every use goes there" if region and facts.region != region else ""
    return facts, warning


def _parts(sealed: str) -> tuple[str, str, bytes, bytes]:
    """(key, context, what the key service made, what was sealed here)."""
    try:
        mark, key, context, wrapped, *rest = sealed.split(".")
        if mark != _MARK or len(rest) > 1:
            raise ValueError(mark)
        return _decoded(key), _decoded(context), _bytes(wrapped), _bytes(rest[0]) if rest else b""
    except ValueError as problem:
        raise AuthFailed("a sealed secret cannot be opened: it was changed") from problem


def _own_part(sealed: str) -> str:
    return sealed.split(".", 2)[-1] if sealed.startswith(f"{_OWN_MARK}.") else sealed


def _decoded(part: str) -> str:
    return _bytes(part).decode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
