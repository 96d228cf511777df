"""Where a domain leads, as the DNS tells it: its A and AAAA records, asked of the system's resolvers or of one that the site names."""

from __future__ import annotations

import dns.exception
import dns.rdatatype
import dns.resolver

from fleet_tui.backend.errors import TimedOut

LIFETIME_S = 5.0
"""All tries of one question together."""


def addresses_of(domain: str, resolver: str = "") -> list[str]:
    """Every address of a domain, A records first; empty when it has none or is none. Blocks for at most some seconds.

    Args:
        resolver: ``address[:port]``; empty for the system's.

    Raises:
        TimedOut: no resolver answered.
    """
    asked = _resolver(resolver)
    found: list[str] = []
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        try:
            found += [record.address for record in asked.resolve(domain, kind, search=False, lifetime=LIFETIME_S)]
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            continue
        except (dns.resolver.NoNameservers, dns.resolver.NoResolverConfiguration, dns.exception.Timeout) as problem:
            if found:
                break  # it has an A record, which is what is asked for; some servers stumble over AAAA
            raise TimedOut(f"no resolver could say where {domain} leads", hint="look at this machine's DNS, or give --skip-dns-check") from problem
        except dns.exception.DNSException as problem:
            raise TimedOut(f"where {domain} leads cannot be found out: {type(problem).__name__}") from problem
    return found


def _resolver(place: str) -> dns.resolver.Resolver:
    if not place:
        return dns.resolver.Resolver()
    address, colon, port = place.rpartition(":")
    if not colon or (place.count(":") > 1 and not place.startswith("[")):
        address, port = place, "53"
    made = dns.resolver.Resolver(configure=False)
    made.nameservers, made.port = [address.strip("[]")], int(port)
    return made
