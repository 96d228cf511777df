"""What a person may set about the console and the command line, frozen: defaults < file < environment < flags.

| key | environment | flag | means |
| --- | --- | --- | --- |
| `site` | `FLEET_SITE` | `--site` | socket, or home directory, of the daemon to use; never started by us |
| `read_only` | `FLEET_READ_ONLY` | `--read-only` | a session that can change nothing |
| `theme` | `FLEET_THEME` | `--theme` | name of a theme; empty lets the terminal decide |
| `ascii` | `FLEET_ASCII` | `--ascii` | only ASCII glyphs; by itself in a locale that is not UTF-8 |
| `refresh` | `FLEET_REFRESH` | | seconds between refreshes of what no event announces, 1 to 300 |
| `[keys]` | | | action id = "key,key" |
"""

from __future__ import annotations

import difflib
import locale
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_tui.backend.directories import Directories, find
from fleet_tui.backend.errors import InvalidInput, Problem, UsageError

FILE = "fleet.toml"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the interface is told from outside."""

    directories: Directories = field(default_factory=find)
    site: str = ""
    read_only: bool = False
    theme: str = ""
    ascii: bool = False
    refresh_s: float = 5.0
    keys: Mapping[str, str] = field(default_factory=dict)
    """Action id -> keys, comma separated, as in the file."""
    start_daemon: bool = True
    """Whether a daemon may be started when none answers."""
    isolated: bool = False
    """``FLEET_HOME`` is set: this home only, never the machine's own daemon."""


def load(
    environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None, directories: Directories | None = None
) -> Settings:
    """Settings from all four sources. ``flags`` holds only those that were given.

    Raises :class:`InvalidInput` for an unknown key (naming the nearest known one) or an unusable value, with its source;
    :class:`UsageError` when no home directory is known.
    """
    env = os.environ if environ is None else environ
    try:
        home = directories or find(env)
    except RuntimeError as problem:
        raise UsageError(f"this user's home directory is not known: {problem}", hint="set HOME, or FLEET_HOME to a directory") from problem
    values = {**_from_file(home.config / FILE), **_from_environment(env), **_checked(flags or {}, "the command line")}
    if "ascii" not in values:
        values["ascii"] = locale.getencoding().lower().replace("-", "") != "utf8"
    values["refresh_s"] = values.pop("refresh", 5.0)
    return Settings(directories=home, isolated=bool(env.get("FLEET_HOME")), **values)


def styles_directory() -> Path:
    """Where the stylesheets are: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "styles"
    return inside if inside.is_dir() else package.parent / "styles"


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidInput(f"{path} cannot be read: {problem}") from problem
    import tomllib

    try:
        return _checked(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as problem:
        raise InvalidInput(f"{path} is not TOML: {problem}") from problem


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    found = {name: env[variable] for name in _KINDS if name != "keys" and (variable := f"FLEET_{name.upper()}") in env}
    return _checked(found, "the environment")


def _checked(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _KINDS:
            near = difflib.get_close_matches(name, tuple(_KINDS), 1, 0.4)
            meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(_KINDS))}"
            raise InvalidInput(f"{source}: there is no setting {name!r}; {meant}", problems=[Problem(name, "no such setting")])
        try:
            checked[name] = _KINDS[name](value)
        except ValueError as problem:
            raise InvalidInput(f"{source}: {name} = {value!r}: {problem}", problems=[Problem(name, str(problem))]) from problem
    return checked


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text is needed")
    return value.strip()


def _yes_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError("yes or no is needed")
    return word in _TRUE


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 1.0 <= seconds <= 300.0:
        raise ValueError("1 to 300 seconds are possible")
    return seconds


def _bindings(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError('a table of action = "key" is needed')
    return {str(action): ",".join(_text(key) for key in (keys if isinstance(keys, list) else [keys])) for action, keys in value.items()}


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    "site": _text, "read_only": _yes_no, "theme": _text, "ascii": _yes_no, "refresh": _seconds, "keys": _bindings,
}
