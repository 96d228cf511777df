"""The key service and the secret store of AWS, behind the protocols of :mod:`fleet_tui.backend.secrets`."""

from __future__ import annotations

from fleet_tui.backend.cloud.session import Client, Session
from fleet_tui.backend.errors import InvalidInput, NotFound, Problem
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
    """AWS Secrets Manager, read only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, secret_id: str) -> bytes:
        """The present value of a secret, by name or ARN.

        Raises:
            NotFound: there is none, or it is about to be deleted.
            PermissionDenied: the site may not read it.
        """
        if not secret_id.strip():
            raise InvalidInput("a secret has a name", problems=[Problem("secret_id", "is needed")])
        try:
            told = self._session.client("secretsmanager", region_of(secret_id)).call("get_secret_value", SecretId=secret_id)
        except NotFound as error:
            raise NotFound(f"there is no secret {secret_id!r}", hint="make it in the secret manager, or correct its name", **error.details) from error
        return told["SecretString"].encode() if "SecretString" in told else bytes(told["SecretBinary"])


def region_of(name: str) -> str:
    """Region in an ARN; empty for anything else."""
    parts = name.split(":")
    return parts[3] if len(parts) > 5 and parts[0] == "arn" else ""
