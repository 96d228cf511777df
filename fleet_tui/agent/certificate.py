"""The certificate the application serves with, by the strategy of the virtual network: none, self-signed, given, or Let's Encrypt's."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Sequence

from fleet_tui.agent import issuance, material
from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import write
from fleet_tui.agent.listener import Listener
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.pairs import Pair, chain_pieces, fingerprint, names_in, normalised, not_after, not_before, openssl, request_text

_DAYS = 3650
_SOON_S = 30 * 86400.0
"""One that ends so soon is made anew, for the machine may be started again only after its end."""
_PHASE = "certificate"


def settle(machine: Machine) -> bool:
    """Phase ``certificate``; false when there is nothing to do.

    Raises:
        Failure: unknown strategy, no openssl, material that cannot be had or does not belong together.
    """
    wanted = machine.section("certificate")
    strategy = str(wanted.get("strategy") or "none")
    machine.certificate = None
    if strategy == "none":
        machine.standing.set_facts(certificate_not_after=None, certificate_fingerprint=None, certificate_chain=None)
        return False
    body = _STRATEGIES.get(strategy)
    if body is None:
        raise Failure(f"this agent does not know the certificate strategy {strategy!r}; choose one of none, {', '.join(_STRATEGIES)}")
    use(machine, body(machine, wanted))
    listen(machine)
    return True


def use(machine: Machine, pair: Pair) -> None:
    """From now on the application serves with this pair."""
    machine.certificate = (pair.certificate, pair.key)
    machine.standing.set_facts(
        certificate_not_after=not_after(pair.certificate), certificate_not_before=not_before(pair.certificate),
        certificate_fingerprint=fingerprint(pair.certificate), certificate_chain=chain_pieces(pair.certificate),
    )


def listen(machine: Machine) -> None:
    """Answer plain HTTP as the network wants it: send visitors on to HTTPS, or not at all. A taken port costs the redirect, not the start-up."""
    http = machine.section("http")
    if http.get("mode") != "redirect" or not http.get("port"):
        if machine.listener is not None:
            machine.listener.redirects = False
            machine.listener.close_if_idle()
        return
    listener = machine.listener = machine.listener or Listener(machine)
    try:
        listener.redirects = True
        listener.open()
        machine.journal.say(_PHASE, f"plain HTTP on port {listener.port} sends visitors on to HTTPS")
    except OSError as error:
        listener.redirects = False
        machine.journal.say(_PHASE, f"plain HTTP is not answered: port {listener.port}: {error.strerror or error}", "warn")


def renew(machine: Machine) -> bool:
    """Have a new certificate issued; whether there is one. The old one goes on serving until the new one is in place, and after a failure.

    Raises:
        Failure: it was not issued, or this strategy has nothing to renew.
    """
    wanted = machine.section("certificate")
    if wanted.get("strategy") != "letsencrypt":
        raise Failure("only certificates of the strategy letsencrypt are renewed")
    pair = issuance.renew(machine, wanted)
    use(machine, pair)
    return True


# --- self-signed -----------------------------------------------------------------------------------------------------


def _self_signed(machine: Machine, wanted: Mapping[str, Any]) -> Pair:
    pair = Pair(machine.disk.certificates, "self-signed")
    addresses = machine.section("addresses")
    known = [addresses.get("private_ip"), addresses.get("public_ip"), addresses.get("host_name"), *(wanted.get("sans") or ())]
    sans = normalised(str(name) for name in known if name)
    common_name = str(wanted.get("common_name") or machine.name)
    pair.finish_interrupted()
    say = machine.sayer(_PHASE)
    if pair.exists():
        pair.check()
        served, ends = names_in(pair.certificate), not_after(pair.certificate)
        if ends <= time.time() + _SOON_S:
            day = time.strftime("%Y-%m-%d", time.gmtime(ends))
            say(f"the certificate of the data disk, {fingerprint(pair.certificate)}, ends on {day}: making a new one")
            _make(pair, common_name, sans)
        elif served == sans:
            say(f"reusing the certificate of the data disk, {fingerprint(pair.certificate)}")
        else:
            say(f"names changed from {', '.join(sorted(served))} to {', '.join(sorted(sans))}: making a new certificate")
            _make(pair, common_name, sans)
    else:
        say(f"making a self-signed certificate for {', '.join(sorted(sans))}, valid 10 years")
        _make(pair, common_name, sans)
    pair.key.chmod(0o600)
    return pair


def _make(pair: Pair, common_name: str, sans: frozenset[str]) -> None:
    if not sans:
        raise Failure("a self-signed certificate needs at least one address or name; add one to the instance")
    request = pair.certificate.parent / ".self-signed.conf"
    write(request, request_text(common_name, sorted(sans), "x509_extensions"))
    openssl(
        "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256", "-days", str(_DAYS),
        "-utf8", "-config", str(request), "-keyout", str(pair.fresh_key), "-out", str(pair.fresh_certificate),
    )
    request.unlink()
    pair.take_fresh()


_STRATEGIES: Mapping[str, Callable[[Machine, Mapping[str, Any]], Pair]] = {
    "self_signed": _self_signed, "per_instance": material.settle, "letsencrypt": issuance.settle,
}
STRATEGIES: Sequence[str] = tuple(_STRATEGIES)
