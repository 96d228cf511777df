"""What can be set on an instance: the one table (spec 4.2, 5.2).

The daemon validates with it, the console draws its form from it, the command line reads ``--set`` by it. A field's
change class says when a saved change takes effect: ``P`` only before the first provisioning, ``R`` at the next
reprovision, ``L`` at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_tui.backend.errors import Problem
from fleet_tui.backend.text import clean

APPLIES: Mapping[str, str] = {
    "L": "now",
    "R": "at reprovision",
    "P": "fixed since first provision",
}
"""Change class in a person's words."""


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: how it is shown, when it applies, what it accepts."""

    name: str
    title: str
    group: str
    kind: str
    """``text``, ``int``, ``bool``, ``choice``, ``list`` (of words), ``multiline``, ``secret``, which is taken as it is typed and never shown,
    or ``pairs``: values by name, typed as lines ``name=value``."""
    change_class: str
    default: Any
    rule: str = ""
    """What is accepted, in words; shown when it is not."""
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] | None = None
    """Fixed choices; ``()`` for those that the site knows (templates, networks, images)."""
    unit: str = ""
    help: str = ""
    check: Callable[[Any], str] | None = None
    """Further rule: gives the complaint, or an empty string."""
    strategies: tuple[str, ...] = ()
    """HTTPS strategies of the virtual network under which the field means anything; empty for all."""
    storages: tuple[str, ...] = ()
    """Key storages under which it means anything, among those; empty for all."""
    raw: bool = False
    """Taken exactly as it is given, because the daemon looks at its bytes; what is kept is what it made of them."""
    is_needed: bool = False
    """Whether it must not be empty."""
    providers: tuple[str, ...] = ()
    """Providers of the virtual network under which the field means anything; empty for all."""
    is_made: bool = False
    """Of class ``R``: whether a machine is made with it and keeps it, so that not even another boot of that machine brings a change."""

    @property
    def initial(self) -> Any:
        """The default, as a value that may be kept and changed."""
        return list(self.default) if self.kind == "list" else self.default


KEY_STORAGES = ("inline_encrypted", "secret_manager", "vault_bundle")
"""Where the private key of a certificate given by hand lives (spec 5.2)."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,62}\Z")
_ID = re.compile(r"i-[0-9a-z]{8}\Z", re.IGNORECASE)
_ANY_ID = re.compile(r"[itn]-[0-9a-z]{8}\Z")
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)\Z")
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}\Z|[0-9A-Fa-f:]*:[0-9A-Fa-f:]+\Z")


def _label(value: str) -> str:
    return "that is what ids of instances look like; use another label" if _ID.match(value) else label_complaint(value)


def label_complaint(value: str) -> str:
    """What is wrong with a label of anything; empty when nothing is."""
    if _ANY_ID.match(value):
        return "that is what ids look like; use another label"
    if _LABEL.match(value) and value == value.strip():
        return ""
    return "use 1 to 63 letters, digits, '-', '_' or space, beginning with a letter or digit"


def host_name_complaint(value: str) -> str:
    """Why ``value`` is no host name (RFC 1123: labels of 1..63, total <= 253); empty if it is one."""
    if "://" in value or "/" in value:
        return f"{value!r} is a URL; give the host name alone"
    if ":" in value:
        return f"{value!r} carries a port; give the host name alone"
    if len(value) > 253 or not all(_HOST_LABEL.match(part) for part in value.split(".")):
        return f"{value!r} is not a host name (letters, digits and '-', parts of 1 to 63, 253 in all)"
    return ""


def _sans(values: list[str]) -> str:
    import ipaddress

    for value in values:
        if _ADDRESS.match(value):
            try:
                ipaddress.ip_address(value)
            except ValueError:
                return f"{value!r} is not an IP address"
        elif complaint := host_name_complaint(value):
            return complaint
    return ""


def domain_complaint(value: str) -> str:
    """Why ``value`` is no domain that a certificate authority on the internet would certify; empty if it is one."""
    if "*" in value:
        return f"{value!r} is a wildcard, which needs another way of proof than the one there is; name each host"
    if _ADDRESS.match(value):
        return f"{value!r} is an address; a domain is needed"
    if complaint := host_name_complaint(value):
        return complaint
    return "" if "." in value.strip(".") else f"{value!r} is no full domain name; give it with its domain, such as web.example.org"


def _domains(values: list[str]) -> str:
    if len(values) > 100:
        return f"{len(values)} domains; a certificate has at most 100"
    return next((complaint for value in values if (complaint := domain_complaint(value))), "")


def _secret_id(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9/_+=.@:-]{1,2048}", value) or not value:
        return ""
    return f"{clean(value, 60)!r} is neither the name nor the ARN of a secret"


def _tags(values: list[str]) -> str:
    bad = [v for v in values if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:=/-]{0,62}", v)]
    return f"{bad[0]!r}: a tag is 1 to 63 letters, digits or _.:=/-" if bad else ""


def machine_type_complaint(value: str) -> str:
    """Why it is no machine type in a cloud's words, nor an offering's name; empty if it is one, or nothing."""
    return "" if not value or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value) else f"{value!r} is no machine type such as t3.medium"


def _cloud_tags(values: list[str]) -> str:
    if len(values) > 40:
        return f"{len(values)} tags; a cloud's resource has room for 40 of yours"
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            return f"{value[:60]!r} is not of the form key=value"
        if len(key) > 128 or len(text) > 256:
            return f"{key[:60]!r}: a key has at most 128 characters, a value 256"
        if key.lower().startswith(("aws:", "fleet:")):
            return f"{key[:60]!r}: names that begin with aws: or fleet: are taken"
    return ""


FIELDS: tuple[Field, ...] = (
    Field("label", "Label", "General", "text", "L", "", "1 to 63 letters, digits, '-', '_', space; unique", check=_label),
    Field("kind", "Kind", "General", "choice", "P", "design", choices=("design", "execution", "deployer")),
    Field("template", "Template", "General", "choice", "R", "hello", choices=()),
    Field("virtual_network", "Virtual network", "General", "choice", "P", "local", choices=()),
    Field("image", "Image", "General", "choice", "R", "", "a registered image, or empty for the newest", choices=(),
          help="empty: the newest of the template's application"),
    Field("allow_downgrade", "Allow downgrade", "General", "bool", "R", False, help="accept an image older than the data"),
    Field("machine_type", "Machine type", "Machine", "text", "R", "", "such as t3.medium", maximum=63, check=machine_type_complaint,
          help="empty: the template's, else the site's; on own hosts an offering", providers=("aws", "own_hosts"), is_made=True),
    Field("root_disk.size_gb", "Size of OS disk", "Machine", "int", "R", 50, "20 to 1024", 20, 1024, unit="GiB", providers=("aws", "own_hosts"),
          is_made=True),
    Field("cloud_tags", "Cloud tags", "Machine", "list", "R", (), "at most 40 of key=value", check=_cloud_tags, providers=("aws",),
          is_made=True),
    Field("data_disk.type", "Type of data disk", "Data disk", "choice", "P", "", choices=("", "gp3", "gp2", "io1", "io2", "st1", "sc1"),
          help="empty: gp3", providers=("aws",)),
    Field("data_disk.iops", "IOPS", "Data disk", "int", "L", 0, "0 to 256000; 0 leaves it to the type", 0, 256000, providers=("aws",)),
    Field("data_disk.encryption", "Encryption", "Data disk", "choice", "P", "default_key", choices=("none", "default_key", "tenant", "custom"),
          help="tenant: the key of Cloud Setup", providers=("aws",)),
    Field("data_disk.encryption_key", "Its key", "Data disk", "text", "P", "", "id, ARN or alias of a key, with custom only", maximum=2048,
          providers=("aws",)),
    Field("data_disk.size_gb", "Size of data disk", "Data disk", "int", "L", 50, "10 to 65536, grow only", 10, 65536, unit="GiB"),
    Field("data_disk.size_max_gb", "At most", "Data disk", "int", "L", 50, "not less than the size", 10, 65536, unit="GiB"),
    Field("ssl.sans", "Extra host names", "HTTPS", "list", "R", (), "host names or IP addresses", check=_sans,
          help="added to the certificate", strategies=("self_signed",)),
    Field("ssl.key_storage", "Key storage", "HTTPS", "choice", "R", "inline_encrypted", choices=KEY_STORAGES, strategies=("per_instance",),
          help="where the private key lives: entered here, in a secret, or in a secret together with its certificates"),
    Field("ssl.certificate_pem", "Certificate", "HTTPS", "multiline", "R", "", "PEM: the server's own certificate first, then its chain",
          strategies=("per_instance",), storages=("inline_encrypted", "secret_manager"), raw=True),
    Field("ssl.private_key_pem", "Private key", "HTTPS", "secret", "R", "", "PEM, without a passphrase; never shown again",
          strategies=("per_instance",), storages=("inline_encrypted",)),
    Field("ssl.secret_id", "Secret", "HTTPS", "text", "R", "", "name or ARN of a secret", check=_secret_id, strategies=("per_instance",),
          storages=("secret_manager", "vault_bundle"), help="the key in PEM, or with the certificates: a bundle in PEM or PKCS#12"),
    Field("ssl.password_secret_id", "Password's secret", "HTTPS", "text", "R", "", "name or ARN of a secret", check=_secret_id,
          strategies=("per_instance",), storages=("vault_bundle",), help="for a PKCS#12 bundle that has a password"),
    Field("ssl.region", "Region of the secret", "HTTPS", "text", "R", "", "ignored: the secret is read in the instance's own region", maximum=40,
          check=lambda value: "" if re.fullmatch(r"[A-Za-z0-9-]*", value) else f"{clean(value, 60)!r} is no region",
          strategies=("per_instance",), storages=("secret_manager", "vault_bundle"), help="deprecated"),
    Field("domains", "Domains", "HTTPS", "list", "R", (), "full domain names, no wildcards, no addresses", check=_domains,
          strategies=("letsencrypt",), help="each must lead to the public address"),
    Field("public_ip_allocation", "Public address", "Network", "text", "R", "", "id of a reserved address, or the address itself", maximum=100,
          check=lambda value: "" if re.fullmatch(r"[A-Za-z0-9.:_/-]*", value) else f"{clean(value, 60)!r} is no id of an address", is_made=True),
    Field("auto_snapshot.enabled", "Automatic snapshots", "Snapshots", "bool", "L", False),
    Field("auto_snapshot.period_h", "Every", "Snapshots", "int", "L", 24, "1 to 720", 1, 720, unit="hours"),
    Field("auto_snapshot.keep", "Keep", "Snapshots", "int", "L", 7, "0 to 1000; 0 keeps all", 0, 1000),
    Field("deletion_protection", "Deletion protection", "Protection", "bool", "L", False),
    Field("fleet_tags", "Tags", "Notes", "list", "L", (), "words without spaces", check=_tags),
    Field("notes", "Notes", "Notes", "multiline", "L", "", "at most 4000 characters", maximum=4000),
)

BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}


def defaults() -> dict[str, Any]:
    """Values a new instance starts with."""
    return {field.name: field.initial for field in FIELDS}


_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def parse(field: Field, value: Any) -> tuple[Any, str]:
    """A value as typed (string) or as sent (JSON), turned into the field's own type.

    Returns:
        (value, complaint): the complaint is empty when the value is acceptable by itself; rules that need other
        fields or the site's registers are checked by the daemon.
    """
    parsed, complaint = _typed(field, value)
    if complaint:
        return parsed, complaint
    if field.is_needed and parsed in ("", [], {}):
        return parsed, f"is needed{f': {field.rule}' if field.rule else ''}"
    if field.kind == "int":
        if (field.minimum is not None and parsed < field.minimum) or (field.maximum is not None and parsed > field.maximum):
            return parsed, f"{parsed} is outside {field.rule or f'{field.minimum} to {field.maximum}'}"
    elif field.kind in ("text", "multiline") and field.maximum is not None and len(parsed) > field.maximum:
        return parsed, f"{len(parsed)} characters; {field.rule}"
    elif field.kind == "choice" and field.choices and parsed not in field.choices:
        return parsed, f"{parsed!r} is not one of {', '.join(field.choices)}"
    return parsed, field.check(parsed) if field.check and (parsed or field.kind == "text") else ""


def is_meant(field: Field, strategy: str, storage: str) -> bool:
    """Whether a field means anything under that HTTPS strategy of the network and that key storage."""
    return (not field.strategies or strategy in field.strategies) and (not field.storages or storage in field.storages)


def _typed(field: Field, value: Any) -> tuple[Any, str]:
    if field.kind == "int":
        try:
            return (value, "a whole number is needed") if isinstance(value, bool | float) else (int(str(value).strip()), "")
        except ValueError:
            return value, f"{str(value)[:40]!r} is not a whole number; {field.rule}"
    if field.kind == "bool":
        word = str(value).strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE, ""
        return value, f"{str(value)[:40]!r} is neither yes nor no"
    if field.kind == "list":
        if isinstance(value, str):
            return [word for word in re.split(r"[,\s]+", value) if word], ""
        if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
            return list(value), ""
        return value, "a list of words is needed"
    if field.kind == "pairs":
        return _pairs(value)
    if not isinstance(value, str):
        return value, "text is needed"
    if field.kind == "secret" or field.raw:
        return value, ""
    if field.kind == "multiline":
        return "\n".join(clean(line, len(line)) for line in value.replace("\r\n", "\n").split("\n")), ""
    return value.strip(), ""


def _pairs(value: Any) -> tuple[Any, str]:
    """Values by name, each one line of text."""
    if isinstance(value, str):
        found: dict[str, str] = {}
        for number, line in enumerate(value.splitlines(), 1):
            name, equals, said = line.partition("=")
            if not line.strip():
                continue
            if not equals or not name.strip():
                return value, f"line {number} is not name=value"
            if name.strip() in found:
                return value, f"line {number}: {name.strip()} is there twice"
            found[name.strip()] = said.strip()
        value = found
    if not isinstance(value, Mapping):
        return value, "names with values are needed"
    for name, said in value.items():
        if isinstance(said, dict | list) or said is None or any(char in str(said) for char in "\n\r\0"):
            return value, f"the value of {clean(str(name), 60)} is not one line of text"
    return {str(name): "true" if said is True else "false" if said is False else str(said) for name, said in value.items()}, ""


def problems_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Every value parsed, and everything wrong with any of them by itself, at once."""
    parsed, problems = parsed_values(values, BY_NAME)
    size, most = parsed.get("data_disk.size_gb"), parsed.get("data_disk.size_max_gb")
    if isinstance(size, int) and isinstance(most, int) and most < size:
        problems.append(Problem("data_disk.size_max_gb", f"{most} is less than the size of the disk ({size})"))
    if "data_disk.encryption" in parsed and (parsed["data_disk.encryption"] == "custom") != bool(parsed.get("data_disk.encryption_key")):
        problems.append(Problem("data_disk.encryption_key", "is needed with custom, and only with it"))
    return parsed, problems


def parsed_values(values: Mapping[str, Any], by_name: Mapping[str, Field]) -> tuple[dict[str, Any], list[Problem]]:
    """Values of a table of fields, each parsed by its own field; a name that the table does not have is a problem too."""
    parsed: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.items():
        field = by_name.get(name)
        if field is None:
            problems.append(Problem(clean(name, 60), f"there is no field {clean(name, 60)!r}"))
            continue
        parsed[name], complaint = parse(field, value)
        if complaint:
            problems.append(Problem(name, complaint))
    return parsed, problems


def field_words(what: str, problems: Sequence[Problem], by_name: Mapping[str, Field]) -> str:
    """``what``, then the first problem by its field's title, and how many more there are."""
    first = problems[0]
    title = by_name[first.field].title if first.field in by_name else first.field
    return f"{what}: {title}: {first.message}{f' (and {len(problems) - 1} more)' if len(problems) > 1 else ''}"
