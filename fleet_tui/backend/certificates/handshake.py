"""What somebody who connects is shown: one TLS handshake, bounded, that trusts nothing and only looks (SSL-5)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from fleet_tui.backend.text import clean

Look = Callable[[str, int, str], bytes]
"""(address, port, host name asked for) -> the leaf in DER form. Blocks for at most some seconds; raises OSError."""

ANSWER_S = 4.0
"""Longest wait for the connection, and again for the whole handshake, however slowly it trickles."""


def look(address: str, port: int, name: str) -> bytes:
    """The certificate that is served at an address, whoever signed it.

    Raises:
        OSError: nobody answers, or not with TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, port), timeout=ANSWER_S) as plain:
        plain.settimeout(ANSWER_S)
        with context.wrap_socket(plain, server_hostname=name or None) as link:
            leaf = link.getpeercert(binary_form=True)
    if not leaf:
        raise ssl.SSLError("it showed no certificate")
    return leaf


def words_of(problem: OSError) -> str:
    """Why nothing was seen, in a phrase."""
    if isinstance(problem, TimeoutError):
        return f"no answer within {ANSWER_S:g} s"
    if isinstance(problem, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(problem, ssl.SSLError):
        return f"no TLS: {clean(problem.reason or str(problem), 120)}"
    return clean(problem.strerror or str(problem), 120)
