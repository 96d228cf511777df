"""What a site decides about certificates, and what the daemon was told of it (``--certificates name=value,…``)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from fleet_tui.backend.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rules:
    """Defaults are those of spec 5.5 and 18."""

    production: str = "https://acme-v02.api.letsencrypt.org/directory"
    staging: str = "https://acme-staging-v02.api.letsencrypt.org/directory"
    """Its certificates are trusted by nobody, and marked so."""
    acme_ca: str = ""
    """File with the CA of a directory of one's own; the system's CAs when empty."""
    resolver: str = ""
    """``address[:port]`` of the DNS server that is asked where domains lead; the system's when empty."""
    look_s: float = 900.0
    """How often each instance is looked at from outside."""
    alert_days: int = 14
    """``cert.instance.expiry.alert.days``; at half of it the alert becomes urgent."""
    retry_s: float = 86400.0
    """Between attempts to renew, less or more a twelfth of it."""

    def directory(self, named: str) -> str:
        """URL of what a virtual network calls ``production``, ``staging``, or by its URL."""
        return {"production": self.production, "staging": self.staging}.get(named or "production", named)

    def is_untrusted(self, directory: str) -> bool:
        return directory == self.staging


RULES = tuple(field.name for field in fields(Rules))


def rules_of(text: str) -> Rules:
    """Raises UsageError: unknown name, or not a number where one is needed."""
    told: dict[str, str | float | int] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in RULES:
            raise UsageError(f"there is no rule of certificates {name!r}", hint="known: " + ", ".join(RULES))
        kind = type(getattr(Rules(), name))
        try:
            told[name] = kind(value)
        except ValueError:
            raise UsageError(f"{name} of certificates is a number, not {value!r}") from None
    return replace(Rules(), **told)  # type: ignore[arg-type]
