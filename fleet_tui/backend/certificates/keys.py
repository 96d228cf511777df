"""Private keys that people enter: sealed when saved, opened for the machine that serves with them, never shown again."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates.rows import AcmeAccountRow, CertificateKeyRow, CertificateRow
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import Store

MARK = "public-key:"
"""What stands in the settings in a key's place: the SHA-256 of its public half, which gives nothing away."""


def mark_of(key_id: str) -> str:
    return f"{MARK}{key_id}"


def key_id_of(mark: str) -> str:
    """The id in a mark; empty when it is none."""
    return mark.removeprefix(MARK) if mark.startswith(MARK) else ""


def context_of(ref: str, key_id: str) -> str:
    """What a key is sealed for."""
    return f"{ref}:certificate-key:{key_id}"


def keep(tx: Session, ref: str, key_id: str, private_key_pem: str, sealer: Sealer, clock: Clock) -> None:
    """Seal a key and store it. The same key again changes nothing."""
    if tx.get(CertificateKeyRow, (ref, key_id)) is None:
        sealed = sealer.seal(private_key_pem.encode(), context_of(ref, key_id))
        tx.add(CertificateKeyRow(ref=ref, key_id=key_id, sealed=sealed, created_at=clock.now()))


def sealed_of(tx: Session, ref: str, key_id: str) -> str:
    """The key as it is on record, to be opened outside the transaction; empty when there is none of that name."""
    row = tx.get(CertificateKeyRow, (ref, key_id))
    return "" if row is None else row.sealed


def is_under_clouds_key(sealed: str) -> bool:
    """Whether a cloud's key service must be asked to open it."""
    return sealed.startswith("k1.")


def opens_in_cloud(sealed: str) -> bool:
    """Whether a cloud's key service sealed it in one piece, so that a machine there can open it by itself."""
    return is_under_clouds_key(sealed) and sealed.count(".") == 3


def is_kept(tx: Session, ref: str, key_id: str) -> bool:
    return tx.get(CertificateKeyRow, (ref, key_id)) is not None


def forget(tx: Session, ref: str, but: Collection[str] = ()) -> None:
    """Remove the keys of an object that nothing uses any more."""
    tx.execute(delete(CertificateKeyRow).where(CertificateKeyRow.ref == ref, CertificateKeyRow.key_id.not_in(list(but) or [""])))


def forget_certificates(tx: Session, ref: str) -> None:
    """The object is gone: nothing of its certificates stays."""
    forget(tx, ref)
    tx.execute(delete(CertificateRow).where(CertificateRow.ref == ref))


def forget_accounts(tx: Session, network_id: str) -> None:
    """The virtual network is gone, and its accounts with ACME directories with it."""
    tx.execute(delete(AcmeAccountRow).where(AcmeAccountRow.network_id == network_id))


def any_sealed(store: Store) -> str:
    """Something that was sealed here, by which the site's master key is known; empty when nothing was yet."""
    with store.read() as tx:
        entered = tx.scalar(select(CertificateKeyRow.sealed).where(CertificateKeyRow.sealed.not_like("k1.%")).limit(1))
        return entered or tx.scalar(select(AcmeAccountRow.key_sealed).limit(1)) or ""
