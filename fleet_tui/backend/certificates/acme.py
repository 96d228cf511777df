"""Certificates from an ACME directory (RFC 8555): the only importer of the ``acme`` library.

Every step may be repeated: an order is found again by its URL, a challenge that was answered is not answered again, and an account is
found by its key. The key that is certified is never here; only the request for it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import requests
from acme import challenges, client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from josepy.errors import DeserializationError
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from fleet_tui.backend.errors import AuthFailed, FleetError, InvalidInput, TimedOut, Unreachable
from fleet_tui.backend.text import clean

ANSWER_S = 20
"""Longest wait for one answer of the directory."""
FOLLOW_S = 12.0
"""How long one call follows an order."""
_LOOK_S = 0.5
_OF_THE_KEY = frozenset({"badPublicKey", "badSignatureAlgorithm", "malformed", "unauthorized"})
"""What directories say of an account that cannot be made, however often it is tried (RFC 8555 6.7, 7.3.6)."""


class RateLimited(FleetError):
    """The directory wants no more requests of us until ``retry_at``."""

    code, exit_code = "busy", 7

    def __init__(self, message: str, retry_at: datetime) -> None:
        super().__init__(message, hint=f"it is tried again after {retry_at:%Y-%m-%d %H:%M} UTC")
        self.retry_at = retry_at


class UnknownAccount(AuthFailed):
    """The directory does not know the account."""


class KeyRefused(AuthFailed):
    """The directory will have no account with that key."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it stands."""

    url: str
    state: str
    """``challenge``, ``wait``, ``issued`` or ``refused``."""
    proofs: tuple[tuple[str, str], ...] = ()
    """(token, key authorization) of each challenge that is to be answered over HTTP."""
    certificate_pem: str = ""
    problem: str = ""


def new_key() -> str:
    """A key for an account, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def is_key(pem: str) -> bool:
    """Whether it is one that :func:`new_key` could have made."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
        return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    except (ValueError, TypeError):
        return False


def domains_of(csr_pem: str) -> tuple[list[str], str]:
    """The names a request asks for, and an id of the request.

    Raises:
        InvalidInput: it is none, or was not signed with its own key.
    """
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode("ascii", "replace"))
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if not csr.is_signature_valid:
            raise ValueError("signature")
    except (ValueError, x509.ExtensionNotFound) as problem:
        raise InvalidInput("the request for a certificate cannot be read", hint="retry the start-up") from problem
    digest = hashes.Hash(hashes.SHA256())
    digest.update(csr.public_bytes(serialization.Encoding.DER))
    common = [str(name.value).lower() for name in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != len(found := names.get_values_for_type(x509.DNSName)):
        raise InvalidInput("the request for a certificate names more than domains", hint="retry the start-up")
    if not set(common) <= {name.lower() for name in found}:  # it would be ordered as one name more
        raise InvalidInput(
            f"the request for a certificate is in the name {clean(common[0], 80)}, which is none of its domains",
            hint="reprovision, for a machine whose agent asks rightly",
        )
    return found, digest.finalize().hex()


class Directory:
    """One directory, spoken to as one account.

    Args:
        url: of the directory.
        key_pem: the account's.
        uri: what the directory calls it; empty until :meth:`register`.
        ca_file: whom to trust for the directory itself; the system's when empty.
    """

    def __init__(self, url: str, key_pem: str, uri: str = "", ca_file: str = "") -> None:
        key = JWKEC(key=serialization.load_pem_private_key(key_pem.encode(), None))
        self._net = _Network(key, alg=ES256, verify_ssl=ca_file or True, user_agent="fleet", timeout=ANSWER_S)  # type: ignore[arg-type]
        self._key = key
        self._url = url
        self._uri = uri
        self._client: client.ClientV2 | None = None

    def register(self, mail: str) -> str:
        """Have the account, new or found by its key, with that contact; gives what the directory calls it.

        Raises:
            KeyRefused: it is no key for an account, or that of one that was closed.
            FleetError: kinds of :meth:`_told`.
        """
        with self._told():
            acme = self._speak()
            try:
                made = acme.new_account(messages.NewRegistration.from_data(email=mail or None, terms_of_service_agreed=True))
                self._uri = str(made.uri)
            except messages.Error as problem:
                if problem.code not in _OF_THE_KEY:
                    raise
                why = clean(str(problem.detail or problem.typ), 400)
                raise KeyRefused(f"the directory {self._url} wants no account with the key it was shown: {why}", hint="retry") from problem
            except errors.ConflictError as known:
                self._uri = known.location
                if mail:
                    self._tell_contact(acme, mail)
            self._net.account = messages.RegistrationResource(body=messages.Registration(), uri=self._uri)
        return self._uri

    def tell_contact(self, mail: str) -> None:
        """Have the account with another contact (RFC 8555 7.3.2).

        Raises:
            FleetError: kinds of :meth:`_told`; ``AuthFailed`` also when the directory takes no such address.
        """
        with self._told():
            self._tell_contact(self._speak(), mail)

    def _tell_contact(self, acme: client.ClientV2, mail: str) -> None:
        account = messages.RegistrationResource(body=messages.Registration(), uri=self._uri)
        acme.update_registration(account, messages.Registration.from_data(email=mail))

    def begin(self, csr_pem: str, order_url: str = "") -> Order:
        """A new order, or the one that was begun, with what is to be proved."""
        with self._told():
            acme = self._speak()
            order = self._find(acme, order_url, csr_pem) if order_url else None
            if order is None:
                order = acme.new_order(csr_pem.encode())
            return self._standing(acme, order)

    def advance(self, csr_pem: str, order_url: str) -> Order:
        """Say that the proofs can be read, and follow the order for a while."""
        with self._told():
            acme = self._speak()
            deadline = time.monotonic() + FOLLOW_S
            while True:
                order = self._find(acme, order_url, csr_pem)
                if order is None:
                    return Order(order_url, "refused", problem="the order is gone; the next attempt makes a new one")
                now = self._step(acme, order)
                if now.state != "wait" or time.monotonic() >= deadline:
                    return now
                time.sleep(_LOOK_S)

    def _step(self, acme: client.ClientV2, order: messages.OrderResource) -> Order:
        status = order.body.status
        if status == messages.STATUS_VALID and order.body.certificate:
            return Order(order.uri, "issued", certificate_pem=self._net.get_as_account(order.body.certificate, acme))
        if status == messages.STATUS_INVALID:
            return Order(order.uri, "refused", problem=self._why(acme, order))
        if status == messages.STATUS_READY:
            acme.begin_finalization(order)
        elif status == messages.STATUS_PENDING:
            for authorization in order.authorizations:
                if authorization.body.status == messages.STATUS_PENDING:
                    self._answer(acme, authorization)
        return Order(order.uri, "wait")

    def _answer(self, acme: client.ClientV2, authorization: messages.AuthorizationResource) -> None:
        challenge = _http(authorization)
        if challenge is not None and challenge.status == messages.STATUS_PENDING:
            acme.answer_challenge(challenge, challenge.chall.response(self._key))

    def _standing(self, acme: client.ClientV2, order: messages.OrderResource) -> Order:
        if order.body.status == messages.STATUS_INVALID:
            return Order(order.uri, "refused", problem=self._why(acme, order))
        open_ = [one for one in order.authorizations if one.body.status == messages.STATUS_PENDING]
        found = [challenge for one in open_ if (challenge := _http(one)) is not None]
        if len(found) < len(open_):
            return Order(order.uri, "refused", problem="the directory offers no challenge over HTTP for these domains")
        return Order(order.uri, "challenge", tuple((one.chall.encode("token"), one.chall.validation(self._key)) for one in found))

    def _find(self, acme: client.ClientV2, url: str, csr_pem: str) -> messages.OrderResource | None:
        """The order as the directory has it now; ``None`` when it has forgotten it."""
        try:
            body = messages.Order.from_json(self._net.json_as_account(url, acme))
        except messages.Error as problem:
            if problem.code == "malformed" or self._net.status == 404:
                return None
            raise
        except errors.ClientError:
            if self._net.status == 404:
                return None
            raise
        authorizations = [
            messages.AuthorizationResource(body=messages.Authorization.from_json(self._net.json_as_account(one, acme)), uri=one)
            for one in body.authorizations
        ]
        return messages.OrderResource(body=body, uri=url, authorizations=authorizations, csr_pem=csr_pem.encode())

    @staticmethod
    def _why(acme: client.ClientV2, order: messages.OrderResource) -> str:
        reasons = [
            f"{one.body.identifier.value}: {clean(str(challenge.error.detail or challenge.error.typ), 300)}"
            for one in order.authorizations for challenge in one.body.challenges if challenge.error is not None
        ]  # fmt: skip
        if not reasons and order.body.error is not None:
            reasons = [clean(str(order.body.error.detail or order.body.error.typ), 300)]
        return "; ".join(reasons) or "the directory gave no reason"

    def _speak(self) -> client.ClientV2:
        if self._client is None:
            directory = client.ClientV2.get_directory(self._url, self._net)
            self._client = client.ClientV2(directory, self._net)
            if self._uri:
                self._net.account = messages.RegistrationResource(body=messages.Registration(), uri=self._uri)
        return self._client

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong, in our words.

        Raises:
            RateLimited: with the moment it wants to be asked again.
            Unreachable: nobody answers, or not as a directory does.
            TimedOut: it took too long.
            AuthFailed: it refuses us or our request.
        """
        try:
            yield
        except messages.Error as problem:
            detail = clean(str(problem.detail or problem.typ), 400)
            if problem.code == "rateLimited" or self._net.status == 429:
                raise RateLimited(f"the directory has had too many requests of us: {detail}", self._net.retry_at()) from problem
            kind = UnknownAccount if problem.code == "accountDoesNotExist" else AuthFailed
            raise kind(f"the directory {self._url} refused: {detail}", hint="mend what it says, then retry") from problem
        except requests.Timeout as problem:
            raise TimedOut(f"the directory {self._url} did not answer within {ANSWER_S} s", hint="retry later") from problem
        except (requests.RequestException, errors.Error, DeserializationError) as problem:
            if self._net.status in (429, 503):
                raise RateLimited("the directory has had too many requests of us", self._net.retry_at()) from problem
            raise Unreachable(
                f"the directory {self._url} cannot be used: {clean(str(problem) or type(problem).__name__, 300)}",
                hint="look at the way there from this daemon, then retry",
            ) from problem


class _Network(client.ClientNetwork):
    """Remembers how the directory answered last, which its exceptions do not tell."""

    status = 0
    _retry_after = ""

    def _send_request(self, method: str, url: str, *args: object, **kwargs: object) -> requests.Response:
        response = super()._send_request(method, url, *args, **kwargs)
        self.status, self._retry_after = response.status_code, response.headers.get("Retry-After", "")
        return response

    def retry_at(self) -> datetime:
        """When it wants to be asked again; in an hour when it does not say."""
        now = datetime.now(timezone.utc)
        try:
            if self._retry_after.isdigit():
                return now + timedelta(seconds=min(int(self._retry_after), 30 * 86400))
            moment = parsedate_to_datetime(self._retry_after)
            return max(now, moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
        except (ValueError, TypeError):
            return now + timedelta(hours=1)

    def json_as_account(self, url: str, acme: client.ClientV2) -> dict[str, object]:
        found: dict[str, object] = self._fetch(url, acme).json()
        return found

    def get_as_account(self, url: str, acme: client.ClientV2) -> str:
        return str(self._fetch(url, acme).text)

    def _fetch(self, url: str, acme: client.ClientV2) -> requests.Response:
        """POST-as-GET (RFC 8555 6.3)."""
        return self.post(url, None, new_nonce_url=acme.directory["newNonce"])


def _http(authorization: messages.AuthorizationResource) -> messages.ChallengeBody | None:
    return next((one for one in authorization.body.challenges if isinstance(one.chall, challenges.HTTP01)), None)
