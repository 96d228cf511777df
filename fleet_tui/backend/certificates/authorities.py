"""Whether certificates that a person gives can be trusted as those of authorities: the truststore of a machine takes no others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from fleet_tui.backend.certificates.material import certificates_in
from fleet_tui.backend.certificates.pem import Findings
from fleet_tui.backend.text import clean


def authorities_complaint(pem: str, now: datetime) -> str:
    """What is wrong with PEM certificates that are to be trusted as CAs, naming the first that is; empty when nothing is."""
    found = Findings()
    certificates: Sequence[x509.Certificate] = certificates_in(pem, "certificates", found)
    if found.refusals:
        return found.refusals[0].message
    for number, one in enumerate(certificates, 1):
        which = f"certificate {number} ({clean(one.subject.rfc4514_string(), 200)})"
        if one.not_valid_after_utc <= now:
            return f"{which} expired on {one.not_valid_after_utc:%Y-%m-%d}"
        try:
            is_authority = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_authority = one.issuer == one.subject
        if not is_authority:
            return f"{which} is not of a CA; give the CA that issued it"
    return ""
