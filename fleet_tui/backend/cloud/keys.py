"""The key service and the secret store of AWS, behind the protocols of :mod:`fleet_tui.backend.secrets`."""

from __future__ import annotations

from fleet_tui.backend.cloud.session import Client, Session
from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.secrets import KeyFacts

CONTEXT = "fleet:for"
"""Name in the encryption context: whoever decrypts an instance's secret with its own role must give the same."""


class AwsKeys:
    """AWS KMS. A key's own region is where it is asked for, whatever region the site is in."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def describe(self, key: str) -> KeyFacts:
        told = self._client(key).call("describe_key", KeyId=key)["KeyMetadata"]
        arn = str(told["Arn"])
        return KeyFacts(arn, str(told.get("KeyUsage", "")), str(told.get("KeySpec", "")), str(told.get("KeyState", "")), region_of(arn))

    def encrypt(self, key: str, secret: bytes, context: str) -> bytes:
        answer = self._client(key).call("encrypt", KeyId=key, Plaintext=secret, EncryptionContext={CONTEXT: context})
        return bytes(answer["CiphertextBlob"])

    def decrypt(self, key: str, ciphertext: bytes, context: str) -> bytes:
        answer = self._client(key).call("decrypt", KeyId=key, CiphertextBlob=ciphertext, EncryptionContext={CONTEXT: context})
        return bytes(answer["Plaintext"])

    def re_encrypt(self, key: str, ciphertext: bytes, context: str, new_key: str) -> bytes:
        if region_of(key) != region_of(new_key):
            # KMS re-encrypts within a region only; between two of them the secret passes through here.
            return self.encrypt(new_key, self.decrypt(key, ciphertext, context), context)
        answer = self._client(key).call(
            "re_encrypt", CiphertextBlob=ciphertext, SourceKeyId=key, SourceEncryptionContext={CONTEXT: context},
            DestinationKeyId=new_key, DestinationEncryptionContext={CONTEXT: context},
        )
        return bytes(answer["CiphertextBlob"])

    def _client(self, key: str) -> Client:
        return self._session.client("kms", region_of(key))


class AwsSecrets:
    """AWS Secrets Manager: whether a secret is there. What is in one is for the machine that reads it with its own role, and never comes here."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def problem(self, secret_id: str, region: str = "") -> str:
        """Why a machine in that region (the site's own when empty) could not read a secret, by its name or ARN; empty when it is there.

        Raises:
            PermissionDenied: the site may not look; the machine may be allowed to all the same.
            FleetError: AWS does not answer.
        """
        region = region or self._session.access.region
        if (its_own := region_of(secret_id)) not in ("", region):
            return f"{secret_id} is in {its_own}, and the machine reads secrets of {region}: replicate it there"
        try:
            told = self._session.client("secretsmanager", region).call("describe_secret", SecretId=secret_id)
        except NotFound:
            return f"there is no secret {secret_id} in {region}: make it in the secret manager, or correct its name"
        return f"{secret_id} is marked for deletion: restore it, or name another" if told.get("DeletedDate") else ""


def region_of(name: str) -> str:
    """Region in an ARN; empty for anything else."""
    parts = name.split(":")
    return parts[3] if len(parts) > 5 and parts[0] == "arn" else ""
