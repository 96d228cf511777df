"""Secrets under a key that a cloud keeps: moto's KMS behind the proxy, which knows what a disabled key is."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.cloud.keys import CONTEXT, AwsKeys
from fleet_tui.backend.errors import AuthFailed, InvalidInput, NotFound, PermissionDenied, WrongState
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.secrets.kms import DIRECT_LIMIT, KmsSealer, Vault, check_key, is_sealed, key_of, sealed_under
from tests.cloud.account import REGION, CloudAccount, cloud_account

FOR = "instance:i-1:private-key"


@pytest.fixture
def account(moto: int, tmp_path: Path) -> Iterator[CloudAccount]:
    with cloud_account(moto, tmp_path) as found:
        yield found


@pytest.fixture
def keys(account: CloudAccount) -> AwsKeys:
    return AwsKeys(account.session)


@pytest.mark.parametrize("length", [1, DIRECT_LIMIT, DIRECT_LIMIT + 1, 100_000])
def test_what_is_sealed_opens_for_the_same_thing_only(account: CloudAccount, keys: AwsKeys, length: int) -> None:
    sealer, secret = KmsSealer(keys, account.key()), os.urandom(length)
    sealed = sealer.seal(secret, FOR)
    assert sealed.isascii() and is_sealed(sealed) and key_of(sealed) == sealer.key and sealed.startswith(sealed_under(sealer.key))
    assert sealer.open(sealed, FOR) == secret
    for context, text in (("instance:i-2:private-key", sealed), (FOR, sealed[:-5] + ("AAAAA" if sealed[-5:] != "AAAAA" else "BBBBB"))):
        with pytest.raises(AuthFailed):
            sealer.open(text, context)
    with pytest.raises(AuthFailed):
        sealer.open("k1.not.a", FOR)


def test_a_secret_of_the_largest_size_is_one_that_an_instance_can_decrypt_itself(account: CloudAccount, keys: AwsKeys) -> None:
    """What is up to 4 KiB is plain KMS ciphertext: an agent needs nothing but the service and its role (spec SSL-2)."""
    sealed = KmsSealer(keys, account.key()).seal(b"PEM", FOR)
    ciphertext = sealed.split(".")[3]
    blob = base64.urlsafe_b64decode(ciphertext + "=" * (-len(ciphertext) % 4))
    assert account.sdk("kms").decrypt(CiphertextBlob=blob, EncryptionContext={CONTEXT: FOR})["Plaintext"] == b"PEM"


@pytest.mark.parametrize("length", [100, 10_000])
def test_moved_to_another_key_it_is_the_same_secret_and_was_never_in_clear_here(account: CloudAccount, keys: AwsKeys, length: int) -> None:
    old, new, secret = KmsSealer(keys, account.key()), KmsSealer(keys, account.key()), os.urandom(length)
    sealed = old.seal(secret, FOR)
    account.proxy.calls.clear()
    moved = new.rewrap(sealed)
    assert key_of(moved) == new.key and new.open(moved, FOR) == secret and old.open(sealed, FOR) == secret
    assert account.proxy.calls["kms:ReEncrypt"] == 1 and account.proxy.calls["kms:Decrypt"] == 2, "the two of this test"


def test_a_vault_opens_whatever_the_site_sealed_at_any_time(account: CloudAccount, keys: AwsKeys) -> None:
    own = Envelope(b"k" * 32)
    chosen: list[KmsSealer] = []
    vault = Vault(own, lambda: chosen[0] if chosen else None, lambda: keys)
    before = vault.seal(b"early", FOR)
    assert key_of(before) is None and vault.open(before, FOR) == b"early" and vault.open(own.seal(b"x", FOR), FOR) == b"x"
    with pytest.raises(WrongState):
        vault.move(before)
    chosen.append(KmsSealer(keys, account.key()))
    after = vault.seal(b"late", FOR)
    assert key_of(after) == chosen[0].key and vault.open(after, FOR) == b"late" and vault.open(before, FOR) == b"early"
    moved = vault.move(before)
    assert key_of(moved) == chosen[0].key and vault.open(moved, FOR) == b"early"
    chosen.clear()
    assert vault.open(after, FOR) == b"late", "still, when no key is chosen any more"
    with pytest.raises(WrongState, match="no cloud account"):
        Vault(own).open(after, FOR)


# --- test key -----------------------------------------------------------------------------------------------------------------


def test_a_key_that_does_passes_and_another_region_is_worth_a_warning(account: CloudAccount, keys: AwsKeys) -> None:
    arn = account.key()
    account.sdk("kms").create_alias(AliasName="alias/fleet", TargetKeyId=arn.rpartition("/")[2])
    for name in (arn, arn.rpartition("/")[2], "alias/fleet"):
        facts, warning = check_key(keys, name, REGION)
        assert facts.id == arn and not warning
    assert REGION in check_key(keys, arn, "us-east-1")[1]


def test_a_key_that_does_not_says_why(account: CloudAccount, keys: AwsKeys) -> None:
    client = account.sdk("kms")
    signing = client.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["Arn"]
    with pytest.raises(InvalidInput, match="SIGN_VERIFY"):
        check_key(keys, signing, REGION)
    asymmetric = client.create_key(KeyUsage="ENCRYPT_DECRYPT", KeySpec="RSA_2048")["KeyMetadata"]["Arn"]
    with pytest.raises(InvalidInput, match="symmetric"):
        check_key(keys, asymmetric, REGION)
    disabled = account.key()
    client.disable_key(KeyId=disabled.rpartition("/")[2])
    with pytest.raises(WrongState, match="Disabled"):
        check_key(keys, disabled, REGION)
    going = account.key()
    client.schedule_key_deletion(KeyId=going.rpartition("/")[2], PendingWindowInDays=7)
    with pytest.raises(WrongState, match="PendingDeletion"):
        check_key(keys, going, REGION)
    with pytest.raises(NotFound):
        check_key(keys, "alias/nobody", REGION)
    closed = account.key()
    account.proxy.denied.add("kms:Encrypt")
    with pytest.raises(PermissionDenied, match="kms:Encrypt"):
        check_key(keys, closed, REGION)


def test_a_key_disabled_later_is_said_when_it_is_needed(account: CloudAccount, keys: AwsKeys) -> None:
    sealer = KmsSealer(keys, account.key())
    sealed = sealer.seal(b"x", FOR)
    account.proxy.disabled.add(sealer.key)
    for act in (lambda: sealer.seal(b"x", FOR), lambda: sealer.open(sealed, FOR), lambda: KmsSealer(keys, account.key()).rewrap(sealed)):
        with pytest.raises(WrongState, match="disabled"):
            act()
    account.proxy.calm()
    assert sealer.open(sealed, FOR) == b"x"
