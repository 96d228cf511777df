"""``fleet keys`` and ``fleet completion``: what can be typed, in the console and in the shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleet_tui.cli.context import Context

_NAMED = ("instance", "template", "vnet", "vm", "zone", "pod", "cluster", "offering", "physnet", "network", "network-offering")
_LISTS: Mapping[str, str] = {
    **{group: f"{group} list" for group in (*_NAMED, "op", "host", "user")},
    "snapshot": "instance list", "vlan": "physnet list",
}
"""Which list gives the names that a group's commands want. It never starts a daemon for that."""
_NEW = tuple(f"{group} create" for group in _NAMED)
"""Commands whose name is one that nothing has yet."""


@dataclass(frozen=True, slots=True)
class _Command:
    """What can follow one command: subcommands or fixed words, flags, names from a list of ``_LISTS``, a file."""

    words: tuple[str, ...]
    flags: tuple[str, ...]
    names: str = ""
    file: bool = False


_Commands = Mapping[str, _Command]
"""By the words that lead to each."""


def keys(context: Context) -> int:
    """The sheet of every screen's keys, with a person's own bindings."""
    from fleet_tui.actions import sheet

    rows = sheet(keymap=context.settings.keys)
    if context.wants_json:
        context.out.json([dict(zip(("screen", "keys", "title", "help", "id"), row, strict=True)) for row in rows])
        return 0
    last = ""
    for screen, shown, title, tooltip, _ in rows:
        if screen != last:
            context.out.line(f"{'' if not last else chr(10)}{screen}")
            last = screen
        context.out.line(f"  {context.out.cell(shown):<12} {title:<24} {tooltip}".rstrip())
    return 0


def completion(context: Context) -> int:
    """A script for the shell, made from the parser itself. Load it with ``source <(fleet completion bash)``."""
    from fleet_tui.cli.parser import build

    writers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    context.out.line("\n".join(writers[context.given.shell](dict(_walk("", build())))))
    return 0


def _walk(path: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, _Command]]:
    """The whole tree, each command by the words that lead to it."""
    flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
    positional = [action for action in parser._actions if not action.option_strings]
    children: dict[str, argparse.ArgumentParser] = {}
    for action in positional:
        if isinstance(action, argparse._SubParsersAction):
            children.update(action.choices)
    choices = [str(choice) for action in positional if not children for choice in action.choices or ()]
    wanted = {action.dest for action in positional}
    group = path.partition(" ")[0]
    names = group if group in _LISTS and wanted & {"name", "id"} and path not in _NEW else ""
    yield path, _Command((*children, *choices), tuple(flags), names, "file" in wanted)
    for name, child in children.items():
        yield from _walk(f"{path} {name}".strip(), child)


def _core(commands: _Commands) -> list[str]:
    """For bash and zsh: functions that set ``fleet_words``, ``fleet_flags`` and ``fleet_names`` for the words typed so far, their arguments.

    No name here is one that a shell keeps for itself (``path`` and ``words`` are zsh's).
    """
    cases = [
        f'    "{path}") fleet_words="{" ".join(one.words)}"; fleet_flags="{" ".join(one.flags)}"; fleet_names="{one.names}" ;;'
        for path, one in commands.items()
    ]
    return [
        '_fleet_find() { case "$1" in',
        *cases,
        '    *) fleet_words=""; return 1 ;;',
        "  esac; }",
        "_fleet_walk() {",
        '  local at="" word',
        '  _fleet_find ""',
        '  for word in "$@"; do case " $fleet_words " in',
        '    *" $word "*) _fleet_find "${at:+$at }$word" && at="${at:+$at }$word" ;;',
        "  esac; done",
        "}",
        '_fleet_list() { case "$1" in',
        *(f"    {group}) fleet --no-start --output text {listing} ;;" for group, listing in _LISTS.items()),
        "  esac 2>/dev/null | cut -f1; }",
    ]


def _bash(commands: _Commands) -> list[str]:
    return [
        *_core(commands),
        "_fleet() {",
        '  local fleet_words fleet_flags fleet_names found word quoted current="${COMP_WORDS[COMP_CWORD]}"',
        '  _fleet_walk "${COMP_WORDS[@]:1:COMP_CWORD-1}"',
        '  case "$current" in',
        "    -*) found=$(printf '%s\\n' $fleet_flags) ;;",
        "    *) found=$(printf '%s\\n' $fleet_words; _fleet_list \"$fleet_names\") ;;",
        "  esac",
        "  COMPREPLY=()",
        "  while IFS= read -r word; do",
        '    [ -n "$word" ] || continue',
        '    printf -v quoted %q "$word"',
        '    if [[ $word == "$current"* || $quoted == "$current"* ]]; then COMPREPLY+=("$quoted"); fi',
        '  done <<< "$found"',
        "}",
        "complete -o default -F _fleet fleet",
    ]


def _zsh(commands: _Commands) -> list[str]:
    return [
        "#compdef fleet",
        *_core(commands),
        "_fleet() {",
        "  emulate -L zsh",
        "  local fleet_words fleet_flags fleet_names",
        '  _fleet_walk "${(@)words[2,CURRENT-1]}"',
        '  case "${words[CURRENT]}" in',
        '    -*) compadd -- "${=fleet_flags}" ;;',
        '    *) if [[ -n "$fleet_words" ]]; then compadd -- "${=fleet_words}"',
        '       elif [[ -n "$fleet_names" ]]; then compadd -- "${(f)$(_fleet_list "$fleet_names")}"',
        "       else _files; fi ;;",
        "  esac",
        "}",
        "# Loaded by name from fpath it is to act at once; sourced it is to be known.",
        'if [[ "${funcstack[1]}" == "_fleet" ]]; then _fleet "$@"; else compdef _fleet fleet; fi',
    ]


def _fish(commands: _Commands) -> list[str]:
    lines = [
        f"set -g __fleet_commands {' '.join(repr(path) for path in commands if path)}",
        "function __fleet_at",
        "  set -l at",
        "  set -l typed (commandline -opc)",
        "  for word in $typed[2..-1]",
        '    set -l further (string trim -- "$at $word")',
        "    contains -- $further $__fleet_commands; and set at $further",
        "  end",
        '  test "$at" = "$argv"',
        "end",
        "complete -c fleet -f",
    ]
    for path, one in commands.items():
        here = f"complete -c fleet -n '__fleet_at {path}'"
        if one.words:
            lines.append(f"{here} -a '{' '.join(one.words)}'")
        if one.names:
            lines.append(f"{here} -a '(fleet --no-start --output text {_LISTS[one.names]} 2>/dev/null | cut -f1)'")
        if one.file:
            lines.append(f"{here} -F")
        lines += [f"{here} -l {flag[2:]}" for flag in one.flags]
    return lines
