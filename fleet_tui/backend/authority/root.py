"""The root authority: made when it is first needed, by one daemon; afterwards found. It signs what the daemon serves with.

Its private key is in the database, sealed; it leaves this module in no form. ``cryptography`` is loaded when something is made or issued.
"""

from __future__ import annotations

import datetime
import ipaddress
from typing import TYPE_CHECKING

from fleet_tui.backend.authority import Issued, Rules
from fleet_tui.backend.authority.rows import AuthorityRow
from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import Store, in_turn

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_ROOT = "root"
_TURN = 0x726F6F74  # "root": two daemons must never make two authorities
_CONTEXT = "authority:root:private-key"
_EARLIER = datetime.timedelta(minutes=10)
"""Certificates hold from a little before they were made: not every clock is right."""
_LONGEST_NAME = 64
"""Characters of a common name (RFC 5280, ub-common-name)."""


class Authority:
    """The site's authority.

    Args:
        fleet: name of the site, part of the issuer's name when the authority is made; ignored later.
    """

    def __init__(self, store: Store, sealer: Sealer, fleet: str, *, clock: Clock | None = None, rules: Rules | None = None) -> None:
        self._store, self._sealer, self._fleet = store, sealer, fleet
        self._clock, self._rules = clock or SystemClock(), rules or Rules()

    def certificate_pem(self) -> str:
        """The authority's own certificate, which agents are given to trust. Made now when there is none."""
        return self._found()[0]

    def issue(self, *names: str) -> Issued:
        """A server certificate, and a new key for it.

        Args:
            names: host names and addresses that it is for; the first is its common name.

        Raises:
            InvalidInput: there are no names, or one is neither.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509.oid import ExtendedKeyUsageOID

        alternatives = [_alternative(name) for name in dict.fromkeys(names)]
        if not alternatives:
            raise InvalidInput("a certificate needs a name", problems=[Problem("names", "at least one host name or address is needed")])
        ca_pem, ca_key_pem = self._found()
        issuer = x509.load_pem_x509_certificate(ca_pem.encode())
        signer = load_pem_private_key(ca_key_pem, None)
        assert isinstance(signer, rsa.RSAPrivateKey)  # we made it
        key = rsa.generate_private_key(65537, self._rules.key_bits)
        now = self._clock.now()
        ends = min(now + datetime.timedelta(days=self._rules.valid_days), issuer.not_valid_after_utc)
        builder = (
            _begun(names[0], issuer.subject, key, now, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_usage(digital_signature=True, key_encipherment=True), critical=True)
            .add_extension(_known_by(issuer), critical=False)
        )
        made = _signed(builder, signer)
        return Issued(_pem(made), _key_pem(key).decode(), made.not_valid_after_utc, tuple(dict.fromkeys(names)), f"{made.serial_number:x}")

    def is_due(self, issued: Issued) -> bool:
        """Whether it ends so soon that it is to be issued anew."""
        return issued.not_after - self._clock.now() < datetime.timedelta(days=self._rules.renew_days)

    def _found(self) -> tuple[str, bytes]:
        """(certificate, private key), both PEM."""
        with self._store.read() as tx:
            row = tx.get(AuthorityRow, _ROOT)
        if row is None:
            certificate, key = self._made()
            with self._store.write() as tx:
                in_turn(tx, _TURN)
                row = tx.get(AuthorityRow, _ROOT)
                if row is None:  # nobody was faster
                    sealed = self._sealer.seal(key, _CONTEXT)
                    row = AuthorityRow(id=_ROOT, certificate_pem=certificate, key_sealed=sealed, created_at=self._clock.now())
                    tx.add(row)
        return row.certificate_pem, self._sealer.open(row.key_sealed, _CONTEXT)

    def _made(self) -> tuple[str, bytes]:
        """A new authority. It takes a second or more, so it is done before the transaction that keeps it."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(65537, 2 * self._rules.key_bits)
        name, now = f"ca.{self._fleet}"[:_LONGEST_NAME], self._clock.now()
        builder = (
            _begun(name, _named(name), key, now, now + datetime.timedelta(days=self._rules.ca_valid_days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        )
        return _pem(_signed(builder, key)), _key_pem(key)


def any_sealed(store: Store) -> str:
    """The authority's sealed key, by which the site's master key is known; empty when there is no authority yet."""
    with store.read() as tx:
        row = tx.get(AuthorityRow, _ROOT)
        return row.key_sealed if row is not None else ""


def _begun(
    subject: str, issuer: x509.Name, key: RSAPrivateKey, now: datetime.datetime, ends: datetime.datetime,
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder().subject_name(_named(subject[:_LONGEST_NAME])).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - _EARLIER).not_valid_after(ends)
    )


def _signed(builder: x509.CertificateBuilder, key: RSAPrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _named(common_name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    """An address or a host name.

    Raises:
        InvalidInput: it is neither.
    """
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.split(".")
    is_name = 0 < len(name) <= 253 and all(
        label.isascii() and 0 < len(label) <= 63 and label.replace("-", "").isalnum() and label[0] != "-" != label[-1] for label in labels
    )
    if not is_name:
        raise InvalidInput(f"{name!r} is no host name and no address", problems=[Problem("names", "must be host names or addresses")])
    return x509.DNSName(name)


def _usage(**allowed: bool) -> x509.KeyUsage:
    from cryptography import x509

    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
             "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in every})


def _known_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    from cryptography import x509

    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: RSAPrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
