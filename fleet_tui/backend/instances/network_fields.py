"""What can be set on a virtual network: one table, as :mod:`fields` is for instances (spec 6, 5.2).

Change class ``P`` is the place itself, which is fixed while instances are linked; ``R`` reaches linked instances at their next reprovision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fleet_tui.backend.errors import Problem
from fleet_tui.backend.instances.fields import Field, label_complaint, parsed_values

OWN_HOSTS = "own_hosts"
"""Provider of instances that are VMs on the fleet's own hosts."""
OWN_ACCOUNT = "own-hosts"
"""Its account."""
CLOUD_PROVIDER = "aws"
"""The one whose machines have a secret manager, a role, and a key service that seals for them."""
SHARED_MACHINES = frozenset({"local"})
"""Providers whose instances share one machine, which no setup action may change as a whole (docs/decisions/0005)."""
CLOUD, OWN = "Cloud", "Own hosts"
STRATEGIES = ("none", "self_signed", "per_instance", "letsencrypt")
PROOF_PORT = 80
"""Where an ACME directory looks for the proof that a domain leads to the instance (RFC 8555, 8.3)."""
_HTTPS = STRATEGIES[1:]
_LETS_ENCRYPT = ("letsencrypt",)

_PART = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_PART}(?:\.{_PART})+\Z")
_URL = re.compile(r"https://[A-Za-z0-9.:\[\]-]{1,253}(/[\x21-\x7e]{0,500})?\Z")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}\Z")


def _like(pattern: str, words: str) -> Callable[[Any], str]:
    """Complains of text that is not empty and not of that form."""
    form = re.compile(rf"(?:{pattern})\Z")
    return lambda value: "" if not value or form.match(value) else f"{value!r} is not {words}"


_DNS_ZONE = _like(r"Z[A-Z0-9]{1,31}", "an id of a DNS zone such as Z0123456789ABC")


def _groups(values: list[str]) -> str:
    if values == ["auto"]:
        return ""
    if wrong := [word for word in values if not re.fullmatch(r"sg-[0-9a-f]{8,17}", word)]:
        return f"{wrong[0]!r} is no id of a security group; give `auto`, or 1 to 5 ids such as sg-0a1b2c3d"
    return f"{len(values)} security groups; at most 5 are allowed" if len(set(values)) > 5 else ""


def _directory_url(value: str) -> str:
    if value in ("production", "staging") or _URL.match(value):
        return ""
    return f"{value!r} is neither production, staging nor the https URL of an ACME directory"


def _mail(value: str) -> str:
    return "" if not value or (_MAIL.match(value) and ".." not in value) else f"{value!r} is not a mail address"


FIELDS: tuple[Field, ...] = (
    Field("label", "Label", "General", "text", "L", "", "1 to 63 letters, digits, '-', '_', space; unique", check=label_complaint),
    Field("provider", "Runs on", "General", "choice", "P", "local", choices=(), help="what runs its instances"),
    Field("account", "Account", "General", "text", "P", "", help="cloud account; empty for the default one",
          check=lambda value: "" if not value or _ACCOUNT.match(value) else f"{value!r} is no name of an account"),
    Field("region", "Region", CLOUD, "text", "P", "", help="empty: the control plane's own",
          check=_like(r"[a-z]{2,4}(-[a-z]+){1,3}-\d{1,2}", "a region such as eu-west-1")),
    Field("vpc_id", "VPC", CLOUD, "text", "P", "", help="empty: the control plane's own",
          check=_like(r"vpc-[0-9a-f]{8,17}", "an id such as vpc-0a1b2c3d")),
    Field("subnet_id", "Subnet", CLOUD, "text", "P", "", help="empty: the control plane's own",
          check=_like(r"subnet-[0-9a-f]{8,17}", "an id such as subnet-0a1b2c3d")),
    Field("second_subnet_id", "Second subnet", CLOUD, "text", "P", "", help="in another zone of the same VPC",
          check=_like(r"subnet-[0-9a-f]{8,17}", "an id such as subnet-0a1b2c3d")),
    Field("security_groups", "Security groups", CLOUD, "list", "R", ("auto",), "auto, or 1 to 5 ids", check=_groups, is_made=True),
    Field("zone", "Zone", OWN, "choice", "P", "", choices=(), help="zone whose hosts run the VMs"),
    Field("guest_network", "Guest network", OWN, "choice", "P", "", choices=(), help="guest network of that zone the VMs are on"),
    Field("internet_access", "Internet access", "Network", "choice", "R", "yes", choices=("yes", "no", "egress_only"), is_made=True),
    Field("assign_public_ip", "Public IP", "Network", "bool", "R", True, help="give instances a public address", is_made=True),
    Field("dns_strategy", "DNS", "DNS", "choice", "R", "none", choices=("none", "cloud_dns"), is_made=True),
    Field("private_zone_id", "Private zone", "DNS", "text", "R", "", check=_DNS_ZONE, help="DNS zone for private addresses", is_made=True),
    Field("public_zone_id", "Public zone", "DNS", "text", "R", "", check=_DNS_ZONE, help="DNS zone for public addresses", is_made=True),
    Field("https_strategy", "HTTPS", "HTTPS", "choice", "R", "none", choices=STRATEGIES, is_made=True),
    Field("http_mode", "Plain HTTP", "HTTPS", "choice", "R", "disabled", choices=("redirect", "disabled"), strategies=_HTTPS, is_made=True,
          help="what port 80 does; redirect unless said otherwise with letsencrypt"),
    Field("contact_mail", "Contact mail", "HTTPS", "text", "R", "", check=_mail, strategies=_LETS_ENCRYPT, help="where Let's Encrypt writes to"),
    Field("acme_directory", "ACME directory", "HTTPS", "text", "R", "production", "production, staging, or an https URL", check=_directory_url,
          strategies=_LETS_ENCRYPT),
    Field("fleet_directory.mode", "Deployer", "Fleet directory", "choice", "R", "none", choices=("none", "central", "each_design"),
          help="who deploys: one for all, each design instance for itself, or nobody"),
    Field("fleet_directory.event_server", "Event server", "Fleet directory", "text", "R", "", help="label of the instance that takes events",
          check=lambda value: label_complaint(value) if value else ""),
)

BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}
PLACE = tuple(field.name for field in FIELDS if field.change_class == "P")
"""Fields that say where it is: fixed while instances are linked."""


def defaults() -> dict[str, Any]:
    """Values a new virtual network starts with."""
    return {field.name: field.initial for field in FIELDS}


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with what follows from others where it was not said: the account of own hosts, and the HTTP mode of Let's Encrypt."""
    said = dict(values)
    if said.get("provider") == OWN_HOSTS:
        said.setdefault("account", OWN_ACCOUNT)
    if said.get("https_strategy") == "letsencrypt":
        said.setdefault("http_mode", "redirect")
    if said.get("internet_access") == "no":
        said.setdefault("assign_public_ip", False)
    return {**defaults(), **said}


def unreached(strategy: str, internet_access: str) -> str:
    """Why nobody will come by to give a certificate, though nothing is refused; empty when there is no such reason."""
    if strategy != "letsencrypt" or internet_access != "egress_only":
        return ""
    return f"egress_only lets nobody in, but Let's Encrypt looks at port {PROOF_PORT} of an instance from outside: set it to yes"


def problems_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Every value parsed, and everything wrong with any of them that can be seen without looking at the site or the cloud."""
    parsed, problems = parsed_values(values, BY_NAME)
    wrong = {problem.field for problem in problems}
    problems += [problem for problem in _together(parsed) if problem.field not in wrong]
    return parsed, problems


def _together(values: Mapping[str, Any]) -> list[Problem]:
    """Rules between fields."""
    problems: list[Problem] = []

    def complain(name: str, text: str) -> None:
        problems.append(Problem(name, text))

    provider, strategy = values.get("provider"), values.get("https_strategy")
    is_cloud = provider not in ("local", OWN_HOSTS)
    for field in FIELDS:
        foreign = (field.group == CLOUD and not is_cloud) or (field.group == OWN and provider != OWN_HOSTS)
        if foreign and values.get(field.name) not in (None, field.initial):
            complain(field.name, f"means nothing on {provider}; leave it empty")
    if provider == OWN_HOSTS:
        if values.get("account") != OWN_ACCOUNT:
            complain("account", f"is {OWN_ACCOUNT} where instances run on own hosts")
        for name in ("zone", "guest_network"):
            if not values.get(name):
                complain(name, "is needed where instances run on own hosts")
    elif values.get("account") == OWN_ACCOUNT:
        complain("account", f"is for instances on own hosts; those of {provider} have a cloud account")
    if is_cloud:
        if values.get("vpc_id") and not values.get("subnet_id"):
            complain("subnet_id", "is needed when the VPC is given")
        if values.get("second_subnet_id"):
            if not values.get("subnet_id"):
                complain("second_subnet_id", "the first subnet is needed before a second one")
            elif values["second_subnet_id"] == values["subnet_id"]:
                complain("second_subnet_id", "is the first one; another, in another zone of the same VPC, is needed")
        if not values.get("security_groups"):
            complain("security_groups", "give `auto`, or 1 to 5 ids")
    if values.get("internet_access") == "no" and values.get("assign_public_ip"):
        complain("assign_public_ip", "is impossible without internet access")
    if values.get("dns_strategy") == "cloud_dns":
        if provider in ("local", OWN_HOSTS):
            complain("dns_strategy", f"cloud DNS is not to be had on {provider}")
        elif not values.get("private_zone_id") and not values.get("public_zone_id"):
            complain("public_zone_id", "a private or a public DNS zone is needed for cloud DNS")
    else:
        for name in ("private_zone_id", "public_zone_id"):
            if values.get(name):
                complain(name, "means nothing without cloud DNS")
    if strategy == "letsencrypt":
        if not values.get("contact_mail"):
            complain("contact_mail", "is needed for Let's Encrypt")
        if values.get("internet_access") == "no":
            complain("https_strategy", "letsencrypt needs internet access")
        if not values.get("assign_public_ip"):
            complain("assign_public_ip", "letsencrypt needs instances with public IPs")
    return problems
