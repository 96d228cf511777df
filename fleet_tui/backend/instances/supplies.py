"""What a machine is given over its own channel: the private key its document names, and certificates ordered for its domains.

The control plane speaks ACME; each call of an agent is one bounded step of it, and may be repeated at any point (decision 20).
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates import AskMaterial, AskOrder, Material, OrderStanding, keys
from fleet_tui.backend.certificates.rows import AcmeAccountRow
from fleet_tui.backend.errors import AuthFailed, Busy, InvalidInput, NotFound, TimedOut, Unreachable, WrongState
from fleet_tui.backend.instances.certified import certificate_of
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.network_fields import CLOUD_PROVIDER
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import Store

if TYPE_CHECKING:
    from fleet_tui.backend.certificates.acme import Directory

log = logging.getLogger("fleetd.certificates")

_AT_ONCE = 4
"""Orders spoken about, or keys opened by a cloud, at once: a slow directory or key service does not hold all calls of the door."""


@dataclass(frozen=True, slots=True)
class _Errand:
    """What one call is about."""

    ref: str
    network_id: str
    mail: str
    directory: str
    request: str
    """Id of the request for a certificate."""
    order_url: str
    """Of the order for this very request, if one was begun."""


class Supplies:
    """Answers agents. Blocks for the time that the directory takes, or the service with the key that keys are sealed under.

    Args:
        vault: opens keys that people entered.
    """

    def __init__(self, store: Store, drivers: Drivers, vault: Sealer) -> None:
        self._store, self._drivers, self._vault = store, drivers, vault
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._openings = threading.BoundedSemaphore(_AT_ONCE)

    def material(self, request: AskMaterial) -> Material:
        """The key that a person entered for this machine's instance.

        Raises:
            AuthFailed: not this machine.
            NotFound: there is no such key any more.
            Busy: others are being opened by the cloud, which may take minutes when it is ill; agents ask again.
        """
        with self._store.read() as tx:
            agent, document = self._drivers.agents.authenticated(tx, request.machine, request.key)
            wanted = str((document.get("certificate") or {}).get("key_id") or "")
            if not wanted or request.key_id != wanted:
                raise AuthFailed("that key is not the one this machine was told of", hint="reprovision the instance")
            sealed, is_in_cloud, ref = keys.sealed_of(tx, agent.ref, wanted), self._is_in_cloud(tx, agent.ref), agent.ref
        if not sealed:
            raise NotFound("the private key is not on record any more", hint="enter certificate and key again, then reprovision")
        if is_in_cloud and keys.opens_in_cloud(sealed):
            return Material(sealed=sealed)
        if not keys.is_under_clouds_key(sealed):
            return Material(self._vault.open(sealed, keys.context_of(ref, wanted)).decode())
        if not self._openings.acquire(blocking=False):
            raise Busy("the keys of other machines are being opened", hint="it is asked again by itself")
        try:
            return Material(self._vault.open(sealed, keys.context_of(ref, wanted)).decode())
        finally:
            self._openings.release()

    @staticmethod
    def _is_in_cloud(tx: Session, ref: str) -> bool:
        instance = tx.get(InstanceRow, ref.removeprefix("instance:"))
        return instance is not None and tx.get_one(NetworkRow, instance.network_id).provider == CLOUD_PROVIDER

    def order(self, request: AskOrder) -> OrderStanding:
        """One step of an order.

        Raises:
            AuthFailed: not this machine.
            InvalidInput: the request is for other domains than the instance has.
        """
        errand = self._errand(request)
        if isinstance(errand, OrderStanding):
            return errand
        from fleet_tui.backend.certificates import acme

        if not self._slots.acquire(blocking=False):
            return OrderStanding("wait", problem="other certificates are being ordered", pause_s=2.0)
        try:
            return self._step(request, errand)
        except acme.RateLimited as limit:
            with self._store.write() as tx:
                certificate_of(tx, errand.ref).retry_at = limit.retry_at
            return OrderStanding("refused", problem=f"{limit.message}; {limit.hint}")
        except (Unreachable, TimedOut) as problem:
            return OrderStanding("wait", problem=problem.message, pause_s=5.0)
        except AuthFailed as problem:
            return OrderStanding("refused", problem=problem.message)
        finally:
            self._slots.release()

    def _errand(self, request: AskOrder) -> _Errand | OrderStanding:
        with self._store.write() as tx:
            agent, document = self._drivers.agents.authenticated(tx, request.machine, request.key)
            from fleet_tui.backend.certificates import acme

            section = document.get("certificate") or {}
            domains, name = acme.domains_of(request.csr_pem)
            if sorted(domains) != sorted({str(domain).lower() for domain in section.get("domains") or ()}):
                raise InvalidInput("the request is not for the domains of this instance", hint="reprovision it")
            instance = tx.get(InstanceRow, agent.ref.removeprefix("instance:"))
            if instance is None:
                raise NotFound("the instance is gone")
            network = tx.get_one(NetworkRow, instance.network_id)
            row = certificate_of(tx, agent.ref)
            if row.retry_at is not None and row.retry_at > self._drivers.clock.now():
                return OrderStanding("refused", problem=f"the directory wants no requests before {row.retry_at:%Y-%m-%d %H:%M} UTC")
            order_url = row.order_url if row.order_for == name else ""
            return _Errand(agent.ref, network.id, network.contact_mail, str(section.get("directory") or ""), name, order_url)

    def _step(self, request: AskOrder, errand: _Errand) -> OrderStanding:
        from fleet_tui.backend.certificates import acme

        key, uri, mail = self._account(errand, request.account_key_pem)
        rules = self._drivers.certificates
        directory = acme.Directory(errand.directory, key, uri, rules.acme_ca)
        try:
            if not uri:
                self._register(errand, directory)
            elif mail != errand.mail and not request.ready:
                self._tell_contact(errand, directory)
            if request.ready and errand.order_url:
                order = directory.advance(request.csr_pem, errand.order_url)
            else:
                order = directory.begin(request.csr_pem, errand.order_url)
        except acme.UnknownAccount:
            self._note_account(errand, "")  # the directory has forgotten it: the next call makes it known again
            return OrderStanding("wait", account_key_pem=key, problem="the directory does not know the account any more", pause_s=0.5)
        with self._store.write() as tx:
            row = certificate_of(tx, errand.ref)
            row.order_url, row.order_for = ("", "") if order.state == "refused" else (order.url, errand.request)
            if order.state == "issued":
                row.untrusted, row.retry_at = rules.is_untrusted(errand.directory), None
        return OrderStanding(order.state, order.proofs, key, order.certificate_pem, order.problem, 0.5)

    def _register(self, errand: _Errand, directory: Directory) -> None:
        """A key that the directory will not have makes room for one of our own: the first machine may have brought it, for the whole network."""
        from fleet_tui.backend.certificates import acme

        try:
            self._note_account(errand, directory.register(errand.mail))
        except acme.KeyRefused:
            with self._store.write() as tx:
                row = tx.get(AcmeAccountRow, (errand.network_id, errand.directory))
                if row is not None and not row.uri:
                    row.key_sealed = self._drivers.sealer.seal(acme.new_key().encode(), _account_context(errand))
            raise

    def _tell_contact(self, errand: _Errand, directory: Directory) -> None:
        """The network's contact is another one now. A directory that does not take it is told again with the next order, which goes on."""
        from fleet_tui.backend.certificates import acme

        if errand.mail:
            try:
                directory.tell_contact(errand.mail)
            except acme.UnknownAccount:
                raise
            except AuthFailed as problem:
                log.warning("%s: the contact %s was not taken: %s", errand.directory, errand.mail, problem.message)
                return
        with self._store.write() as tx:
            row = tx.get(AcmeAccountRow, (errand.network_id, errand.directory))
            if row is not None:
                row.mail = errand.mail

    def _account(self, errand: _Errand, offered: str) -> tuple[str, str, str]:
        """(key, what the directory calls it, the contact it knows) of the network's account: the one on record, else the one a data disk kept,
        else a new one.
        """
        from fleet_tui.backend.certificates import acme

        context = _account_context(errand)
        for _ in range(2):
            try:
                with self._store.write() as tx:
                    row = tx.get(AcmeAccountRow, (errand.network_id, errand.directory))
                    if row is None:
                        key = offered if offered and acme.is_key(offered) else acme.new_key()
                        tx.add(AcmeAccountRow(
                            network_id=errand.network_id, directory=errand.directory, key_sealed=self._drivers.sealer.seal(key.encode(), context),
                            uri="", mail=errand.mail, created_at=self._drivers.clock.now(),
                        ))  # fmt: skip
                        tx.flush()
                        return key, "", ""
                    return self._drivers.sealer.open(row.key_sealed, context).decode(), row.uri, row.mail
            except IntegrityError:
                continue  # another machine of the network was first
        raise WrongState("the account with the directory could not be made", hint="retry the start-up")

    def _note_account(self, errand: _Errand, uri: str) -> None:
        with self._store.write() as tx:
            row = tx.get(AcmeAccountRow, (errand.network_id, errand.directory))
            if row is not None:
                row.uri, row.mail = uri, errand.mail


def _account_context(errand: _Errand) -> str:
    return f"acme-account:{errand.network_id}:{errand.directory}"
