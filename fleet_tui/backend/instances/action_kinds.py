"""The kinds of setup actions (spec 4.6): one table, from which the daemon validates and every form is drawn.

Actions run at every start-up and replay, so each is repeatable: the agent looks before it acts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fleet_tui.backend.instances.fields import Field
from fleet_tui.backend.text import SECRET_NAME

STAGES = ("before_install", "after_install", "after_startup")
DATABASES = ("postgresql", "mysql", "mariadb", "mssql", "oracle", "db2", "snowflake", "other")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:~-]{0,127}(=[A-Za-z0-9+._:~-]{1,128})?\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_PROPERTY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}\Z")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(\[[A-Za-z0-9._,-]{1,100}\])?((==|>=|<=|~=|!=|<|>)[A-Za-z0-9.*+!_-]{1,50},?){0,4}\Z")
_DRIVER_URL = re.compile(r"(https://[A-Za-z0-9.:\[\]-]{1,253}|s3://[a-z0-9.-]{3,63}|file://)/[\x21-\x7e]{1,2000}\Z")


@dataclass(frozen=True, slots=True)
class ActionKind:
    """One kind: its form, and when it runs."""

    name: str
    title: str
    help: str
    """What it does, one sentence."""
    stage: str | None
    """Stage it always runs in; ``None`` where the template says."""
    parameters: tuple[Field, ...]
    is_whole: bool = False
    """Whether it changes the machine as a whole, so that it is refused on instances that share theirs (docs/decisions/0005)."""

    @property
    def by_name(self) -> Mapping[str, Field]:
        return {field.name: field for field in self.parameters}


def _field(name: str, title: str, kind: str, default: Any, rule: str = "", **more: Any) -> Field:
    return Field(name, title, "Parameters", kind, "R", default, rule, **more)


def _each(pattern: re.Pattern[str], words: str) -> Callable[[Any], str]:
    """Complains of the first word, or name, that is not of that form."""
    return lambda values: next((f"{value[:60]!r} is not {words}" for value in values if not pattern.match(value)), "")


def _one(pattern: re.Pattern[str], words: str) -> Callable[[str], str]:
    return lambda value: "" if not value or pattern.match(value) else f"{value[:60]!r} is not {words}"


def _tasks_complaint(text: str) -> str:
    from fleet_tui.backend.instances.marked import NotYaml
    from fleet_tui.backend.instances.tasks import read_tasks

    try:
        read_tasks(text)
    except NotYaml as problem:
        return str(problem)
    return ""


def _public_key(value: str) -> str:
    from fleet_tui.backend.instances.template_fields import keys_complaint, public_keys

    if complaint := keys_complaint(value):
        return "one SSH public key is needed" if complaint.startswith("line") else complaint
    return "" if len(public_keys(value)) == 1 else "one SSH public key is needed"


def _pem(value: str) -> str:
    if "PRIVATE KEY-----" in value:
        return "there is a private key in it; give the certificates alone"
    return "" if "-----BEGIN CERTIFICATE-----" in value else "no PEM certificate (-----BEGIN CERTIFICATE-----) is in it"


def _private_key(value: str) -> str:
    if value.strip().startswith(("ssh-", "ecdsa-", "sk-")):
        return "that is a public key; give the private one"
    return "" if "PRIVATE KEY-----" in value else "no private key (-----BEGIN … PRIVATE KEY-----) is in it"


def _url(value: str) -> str:
    if re.match(r"[a-z0-9+]+://[^/]*@", value):
        return "credentials do not belong in a URL; give them in their own fields"
    return "" if _DRIVER_URL.match(value) else "an https://, s3:// or file:/// URL of a file is needed"


def _inside(values: list[str]) -> str:
    wrong = [value for value in values if value.startswith("/") or ".." in value.split("/")]
    return f"{wrong[0][:60]!r} leads outside the archive" if wrong else ""


_TABLE: tuple[ActionKind, ...] = (
    ActionKind("install_packages", "Install packages", "installs packages of the operating system that are not there yet", "before_install", (
        _field("packages", "Packages", "list", (), "names of packages, `name=version` for a certain one", is_needed=True,
               check=_each(_PACKAGE, "the name of a package")),
    ), is_whole=True),
    ActionKind("run_tasks", "Run tasks", "runs a list of tasks: by ansible-playbook where the machine has it, else by the agent itself", None, (
        _field("tasks", "Tasks", "multiline", "", "YAML, at most 256 KiB", is_needed=True, check=_tasks_complaint,
               help="each with `run`, or a module of Ansible"),
    )),
    ActionKind("add_authorized_key", "Authorise a key", "lets the owner of an SSH key in", "before_install", (
        _field("key", "Public key", "text", "", is_needed=True, check=_public_key),
    )),
    ActionKind("add_ssh_key", "Add an SSH key", "gives the machine a private key, for what it fetches over SSH", "before_install", (
        _field("private_key", "Private key", "secret", "", "kept sealed, never shown", is_needed=True, check=_private_key),
        _field("file", "File", "text", "id_fleet", "name of the file in ~/.ssh", is_needed=True, check=_one(_FILE, "the name of a file")),
    ), is_whole=True),
    ActionKind("add_ca_to_truststore", "Trust a CA", "has the whole machine trust certificates of a CA", "before_install", (
        _field("certificates", "Certificates", "multiline", "", "PEM", is_needed=True, check=_pem),
    ), is_whole=True),
    ActionKind("add_env_variables", "Environment", "sets environment variables of the application and of later actions", "before_install", (
        _field("variables", "Variables", "pairs", {}, "name=value", is_needed=True, check=_each(_VARIABLE, "a name of a variable"),
               help="values whose name says that they are secret are kept sealed"),
    )),
    ActionKind("add_properties", "Properties", "writes the application's properties file", "before_install", (
        _field("properties", "Properties", "pairs", {}, "name=value", is_needed=True, check=_each(_PROPERTY, "a name of a property"),
               help="values whose name says that they are secret are kept sealed"),
    )),
    ActionKind("setup_proxy", "Proxy", "sends the application's calls through an HTTP proxy", "before_install", (
        _field("host", "Host", "text", "", is_needed=True, check=_one(_HOST, "a host name or address")),
        _field("port", "Port", "int", 3128, "1 to 65535", minimum=1, maximum=65535),
        _field("exceptions", "Not for", "list", (), "host names, domains or networks"),
    )),
    ActionKind("install_db_driver", "Database driver", "fetches a driver of a database into the application's folder of drivers", "before_install", (
        _field("database", "Database", "choice", "postgresql", choices=DATABASES),
        _field("url", "From", "text", "", "https, s3 or file URL", is_needed=True, check=_url),
        _field("paths", "Out of it", "list", (), "paths in the archive", check=_inside, help="empty: the file itself is the driver"),
        _field("sha256", "SHA-256", "text", "", help="of the fetched file",
               check=_one(re.compile(r"[0-9a-fA-F]{64}\Z"), "a SHA-256 (64 hex digits)")),
        _field("headers", "Headers", "pairs", {}, "name=value, kept sealed", check=_each(_HEADER, "a name of a header")),
        _field("username", "User", "text", ""),
        _field("password", "Password", "secret", "", "kept sealed, never shown"),
    )),
    ActionKind("advanced_security", "Security headers", "has the application send headers that guard browsers", "before_install", (
        _field("basic_headers", "Basic headers", "bool", True),
        _field("hsts", "HSTS", "bool", False, help="browsers will insist on HTTPS; hard to take back"),
    )),
    ActionKind("secure_cookies", "Secure cookies", "has the application mark its cookies as for HTTPS alone", "before_install", (
        _field("enabled", "Secure", "bool", True),
    )),
    ActionKind("application_port", "Port", "fixes the port of the application", "before_install", (
        _field("port", "Port", "int", 8080, "1024 to 65535", minimum=1024, maximum=65535),
    )),
    ActionKind("graphics_export", "Export of graphics", "installs a browser and fonts for exports of pages as pictures", "before_install", (
        _field("browser", "Browser", "choice", "chromium", choices=("chromium", "firefox")),
        _field("fonts", "More fonts", "list", (), "names of packages", check=_each(_PACKAGE, "the name of a package")),
    ), is_whole=True),
    ActionKind("memory_settings", "Memory", "tells the application how much memory it may use", "before_install", (
        _field("application_mb", "Application", "int", 2048, "256 to 1048576", minimum=256, maximum=1048576, unit="MiB"),
        _field("worker_mb", "Each worker", "int", 0, "0 to 1048576; 0: the application's choice", minimum=0, maximum=1048576, unit="MiB"),
    )),
    ActionKind("code_env_preset", "Code environment", "makes a Python environment for code of the application's users", "after_install", (
        _field("name", "Name", "text", "", is_needed=True, check=_one(_FILE, "a name (letters, digits, '_', '.', '-')")),
        _field("python", "Python", "text", "python3", "program", check=_one(re.compile(r"python3(\.\d{1,2})?\Z"), "python3 or python3.11")),
        _field("packages", "Packages", "list", (), "as pip takes them", check=_each(_REQUIREMENT, "a package as pip takes it, such as pandas==2.2")),
    )),
)
KINDS: Mapping[str, ActionKind] = {kind.name: kind for kind in _TABLE}


def secret_places(kind: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Where secrets stand in parameters: whole fields, headers, and variables and properties whose name says so."""
    for field in KINDS[kind].parameters if kind in KINDS else ():
        value = parameters.get(field.name)
        if field.kind == "secret" and value:
            yield (field.name,)
        elif field.kind == "pairs" and isinstance(value, Mapping):
            yield from ((field.name, name) for name in value if field.name == "headers" or SECRET_NAME.search(name))
