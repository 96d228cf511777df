"""A certificate from an ACME directory. The control plane speaks the protocol; here are the key, which never leaves, the request for it, and the
answers to the challenges (SSL-3).

The account's key lies on the data disk too, so that whatever becomes of the control plane's database the account is not lost.
"""

from __future__ import annotations

import hashlib
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from fleet_tui.agent.failures import DoorRefused, Failure, Stopped
from fleet_tui.agent.layout import write
from fleet_tui.agent.listener import Listener
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.pairs import Pair, fingerprint, names_in, normalised, not_after, not_before, openssl, request_text

_PHASE = "certificate"
_LIMIT_S = 300.0
"""Longest issue; directories take seconds."""
_SOON_S = 30 * 86400.0
_COMMON_NAME = 64


def settle(machine: Machine, wanted: Mapping[str, Any]) -> Pair:
    """The certificate of the data disk while it is good for the domains; else a new one. One that still holds is used when none is issued.

    Raises:
        Failure: there is none that could be used.
    """
    pair, domains, say = _pair(machine), _domains(wanted), machine.sayer(_PHASE)
    pair.finish_interrupted()
    record = _issuer_record(pair)
    directory = str(wanted.get("directory") or "")
    fits = pair.exists() and names_in(pair.certificate) == normalised(domains) and record == directory
    if fits:
        pair.check()
        left = not_after(pair.certificate) - time.time()
        if left > margin_s(pair.certificate):
            say(f"reusing the certificate of the data disk, {left / 86400:.0f} days left, {fingerprint(pair.certificate)}")
            return pair
    try:
        return _issue(machine, wanted, pair, domains)
    except Stopped:
        raise
    except Failure as error:
        if not fits or not_after(pair.certificate) <= time.time():
            raise
        machine.journal.say(_PHASE, f"{error}; going on with the certificate there is, valid until {_day(not_after(pair.certificate))}", "warn")
        return pair


def renew(machine: Machine, wanted: Mapping[str, Any]) -> Pair:
    """A new certificate for a new key.

    Raises:
        Failure: it was not issued; the present one is as it was.
    """
    return _issue(machine, wanted, _pair(machine), _domains(wanted))


def margin_s(certificate: Path) -> float:
    """How long before its end a certificate is renewed: 30 days, or a third of its life where that is shorter."""
    return min(_SOON_S, (not_after(certificate) - not_before(certificate)) / 3)


def _pair(machine: Machine) -> Pair:
    return Pair(machine.disk.certificates, "letsencrypt")


def _domains(wanted: Mapping[str, Any]) -> List[str]:
    domains = [str(name) for name in wanted.get("domains") or ()]
    if not domains:
        raise Failure("there is no domain to have a certificate for; add one to the instance")
    return domains


def _issuer_record(pair: Pair) -> str:
    place = pair.certificate.with_suffix(".directory")
    return place.read_text(encoding="utf-8") if place.exists() else ""


def _issue(machine: Machine, wanted: Mapping[str, Any], pair: Pair, domains: List[str]) -> Pair:
    key, csr = _request(pair, domains)
    directory = str(wanted.get("directory") or "")
    account = pair.certificate.with_name(f"acme-account-{hashlib.sha256(directory.encode()).hexdigest()[:8]}.key")
    listener = machine.listener = machine.listener or Listener(machine)
    try:
        issued = _order(machine, listener, csr, account, domains)
    finally:
        listener.challenges = {}
        listener.close_if_idle()
    pair.replace(issued, key.read_text(encoding="ascii"))
    write(pair.certificate.with_suffix(".directory"), directory)
    key.unlink()
    key.with_suffix(".csr").unlink()
    machine.journal.say(_PHASE, f"a certificate for {', '.join(domains)} was issued, valid until {_day(not_after(pair.certificate))}")
    return pair


def _request(pair: Pair, domains: List[str]) -> tuple[Path, str]:
    """A new key and the request for it; those of an order that was broken off are used again, so that it goes on where it was."""
    key, csr = pair.key.with_name("letsencrypt-next.key"), pair.key.with_name("letsencrypt-next.csr")
    if key.exists() and pair.key.exists() and key.read_bytes() == pair.key.read_bytes():
        key.unlink()  # its certificate is in place already; we were killed before this was tidied up
    common = _common_name(domains)
    wanted = f"{common}:{','.join(sorted(normalised(domains)))}"
    if key.exists() and csr.exists():
        text = csr.read_text(encoding="ascii")
        if text.partition("\n")[0] == f"# {wanted}":
            return key, text.partition("\n")[2]
    settings = pair.key.with_name(".letsencrypt.conf")
    write(settings, request_text(common, sorted(normalised(domains)), "req_extensions"))
    request = openssl(
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256", "-utf8", "-config", str(settings),
        "-keyout", str(key), "-subj", f"/CN={common}" if common else "/",
    )
    settings.unlink()
    key.chmod(0o600)
    write(csr, f"# {wanted}\n{request}")
    return key, request


def _common_name(domains: Sequence[str]) -> str:
    """One of the domains that fits into a common name (64 characters, X.520), or none: a directory takes it for one more name to certify."""
    return next((name for domain in domains if len(name := domain.strip().lower()) <= _COMMON_NAME), "")


def _order(machine: Machine, listener: Listener, csr: str, account: Path, domains: List[str]) -> str:
    """Ask until it is issued or refused; every call may be repeated. Gives the chain, leaf first."""
    machine.journal.say(_PHASE, f"asking for a certificate for {', '.join(domains)}")
    deadline = time.monotonic() + _LIMIT_S
    ready = False
    while True:
        machine.check()
        request: Dict[str, Any] = {"csr_pem": csr, "ready": ready, "account_key_pem": account.read_text(encoding="ascii") if account.exists() else ""}
        try:
            reply = machine.ask("agent.order", request)
        except DoorRefused as error:
            raise Failure(f"no certificate was ordered: {error.message}") from error
        given = str(reply.get("account_key_pem") or "")
        if given and given != request["account_key_pem"]:
            write(account, given)
        state = str(reply.get("state"))
        if state == "issued":
            return str(reply.get("certificate_pem") or "")
        if state == "refused":
            raise Failure(f"no certificate was issued: {reply.get('problem') or 'no reason was given'}")
        if state == "challenge":
            listener.challenges = {str(token): str(proof) for token, proof in reply.get("challenges") or ()}
            try:
                listener.open()
            except OSError as error:
                raise Failure(
                    f"the challenges cannot be answered: port {listener.port}: {error.strerror or error}; free the port, then retry the start-up"
                ) from error
            ready = True
            continue
        if time.monotonic() >= deadline:
            raise Failure(f"the certificate was not issued within {_LIMIT_S:.0f} s: {reply.get('problem') or 'the directory is still at it'}")
        machine.pause(min(10.0, max(0.2, float(reply.get("pause_s") or 1.0))))


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, timezone.utc):%Y-%m-%d}"
