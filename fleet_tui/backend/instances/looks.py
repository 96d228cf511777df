"""What running instances really serve: each is looked at now and then with a TLS handshake, and compared with what is on record (SSL-5)."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates import handshake
from fleet_tui.backend.certificates.handshake import Look
from fleet_tui.backend.certificates.rows import CertificateRow
from fleet_tui.backend.errors import NotFound, WrongState
from fleet_tui.backend.instances.certified import certificate_of
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.instances.steps import changed
from fleet_tui.backend.store import Store
from fleet_tui.backend.store.turn import Turn

log = logging.getLogger("fleetd.certificates")

SWEEP_S = 5.0
_LOOKERS = 8
_AT_ONCE = 64
_TURN = 0x63657274  # "cert"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance is looked at."""

    instance_id: str
    addresses: tuple[str, ...]
    """Where people are sent comes first; the others count when that does not answer this daemon, which may stand on another side of it."""
    port: int
    name: str


class Looks:
    """Looks by itself, in one daemon of a site, once it is started.

    Args:
        look: the handshake; :func:`handshake.look` unless a simulation has its own.
        also: done at every turn: the renewals.
    """

    def __init__(self, store: Store, drivers: Drivers, look: Look = handshake.look, also: Callable[[], None] = lambda: None) -> None:
        self._store, self._drivers, self._look, self._also = store, drivers, look, also
        self._turn = Turn(store, _TURN)
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(_LOOKERS, thread_name_prefix="certificate-look")
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._turn.close()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.wait(SWEEP_S):
            try:
                if self._turn.held():
                    self._also()
                    self.sweep()
            except Exception:
                if self._stopped.is_set():
                    return
                log.exception("looking at certificates failed; it is tried again in %.0f s", SWEEP_S)

    def sweep(self) -> int:
        """Look at those that have not been looked at for long; how many that were."""
        due = self._drivers.clock.now() - timedelta(seconds=self._drivers.certificates.look_s)
        with self._store.read() as tx:
            query = (
                select(InstanceRow).join(CertificateRow, CertificateRow.ref == "instance:" + InstanceRow.id)
                .where(InstanceRow.state == InstanceState.RUNNING.value, CertificateRow.pem != "")
                .where(CertificateRow.served_at.is_(None) | (CertificateRow.served_at < due))
                # What place_of asks for, or those without a place would be the longest not looked at, for ever, and keep the rest from it.
                .join(NetworkRow, InstanceRow.network_id == NetworkRow.id).where(NetworkRow.https_strategy != "none")
                .where((InstanceRow.public_ip != "") | (InstanceRow.private_ip != ""), InstanceRow.port.is_not(None))
                .order_by(CertificateRow.served_at).limit(_AT_ONCE)
            )  # fmt: skip
            places = [place for row in tx.scalars(query) if (place := place_of(tx, row)) is not None]
        list(self._pool.map(self.look_at, places))
        return len(places)

    def look_now(self, target_ref: str) -> None:
        """Look at one instance at once.

        Raises:
            WrongState: nothing of it serves HTTPS now.
        """
        with self._store.read() as tx:
            row = tx.get(InstanceRow, target_ref.removeprefix("instance:"))
            if row is None:
                raise NotFound("the instance is gone")
            place, state, label = place_of(tx, row), row.state, row.label
        if place is None:
            raise WrongState(f"{label} serves nothing over HTTPS now", hint="it is looked at while it runs", state=state)
        self.look_at(place)

    def look_at(self, place: Place) -> str:
        """One look, noted; the fingerprint that is served, empty when nothing is."""
        from fleet_tui.backend.certificates import material

        pem = problem = fingerprint = ""
        try:
            leaf = self._seen(place)
            fingerprint = material.describe_der(leaf).fingerprint
            pem = _pem(leaf)
        except OSError as error:
            problem = handshake.words_of(error)
        except ValueError:
            problem = "what it serves is no certificate that could be read"
        with self._store.write() as tx:
            self._note(tx, place, pem, fingerprint, problem)
        return fingerprint

    def _seen(self, place: Place) -> bytes:
        """Raises OSError: what went wrong at the first address, when none answers."""
        first: OSError | None = None
        for address in place.addresses:
            try:
                return self._look(address, place.port, place.name)
            except OSError as error:
                first = first or error
        raise first or OSError("it has no address")

    def _note(self, tx: Session, place: Place, pem: str, fingerprint: str, problem: str) -> None:
        instance = tx.get(InstanceRow, place.instance_id)
        if instance is None:
            return
        row = certificate_of(tx, f"instance:{place.instance_id}")
        was = row.mismatch
        row.served_at, row.served_pem, row.served_problem = self._drivers.clock.now(), pem, problem
        on_record = instance.certificate_fingerprint
        row.mismatch = bool(fingerprint and on_record and fingerprint != on_record)
        if row.mismatch != was:
            words = "serves another certificate than is on record" if row.mismatch else "serves its certificate again"
            changed(tx, instance, f"{instance.label} {words}", "warn" if row.mismatch else "info")


def place_of(tx: Session, row: InstanceRow) -> Place | None:
    """Where to look; ``None`` where nothing serves HTTPS."""
    strategy = tx.scalar(select(NetworkRow.https_strategy).where(NetworkRow.id == row.network_id))
    addresses = tuple(dict.fromkeys(filter(None, (row.public_ip, row.private_ip))))
    if strategy in (None, "none") or row.state != InstanceState.RUNNING.value or not addresses or row.port is None:
        return None
    names: Sequence[str] = row.settings.get("domains") or ()
    return Place(row.id, addresses, row.port, names[0] if strategy == "letsencrypt" and names else row.host_name or "")


def _pem(der: bytes) -> str:
    text = base64.b64encode(der).decode()
    return "\n".join(("-----BEGIN CERTIFICATE-----", *(text[n : n + 64] for n in range(0, len(text), 64)), "-----END CERTIFICATE-----", ""))
