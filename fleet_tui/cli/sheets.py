"""``fleet keys`` and ``fleet completion``: what can be typed, in the console and in the shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from fleet_tui.cli.context import Context

_NAMES: Mapping[str, str] = {"instance": "instance list", "op": "op list", "host": "host list", "user": "user list", "snapshot": "instance list"}
"""Which list gives the names that a group's commands want. It never starts a daemon for that."""


def keys(context: Context) -> int:
    """The sheet of every screen's keys, with a person's own bindings."""
    from fleet_tui.actions import sheet

    rows = sheet(keymap=context.settings.keys)
    if context.wants_json:
        context.out.json([{"screen": screen, "keys": shown, "title": title, "help": tooltip} for screen, shown, title, tooltip in rows])
        return 0
    last = ""
    for screen, shown, title, tooltip in rows:
        if screen != last:
            context.out.line(f"{'' if not last else chr(10)}{screen}")
            last = screen
        context.out.line(f"  {context.out.cell(shown):<12} {title:<24} {tooltip}".rstrip())
    return 0


def completion(context: Context) -> int:
    """A script for the shell, made from the parser itself. Load it with ``source <(fleet completion bash)``."""
    from fleet_tui.cli.parser import build

    paths = dict(_walk("", build()))
    writers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    context.out.line("\n".join(writers[context.given.shell](paths)))
    return 0


def _walk(path: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, tuple[list[str], list[str]]]]:
    """(words so far, (subcommands, flags)) of the whole tree."""
    flags: list[str] = []
    children: Mapping[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        flags += [flag for flag in action.option_strings if flag.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            children = action.choices
    choices = [str(choice) for action in parser._actions if not action.option_strings and not children for choice in action.choices or ()]
    yield path, ([*children, *choices], flags)
    for name, child in children.items():
        yield from _walk(f"{path} {name}".strip(), child)


def _cases(paths: Mapping[str, tuple[list[str], list[str]]]) -> Iterator[str]:
    for path, (words, flags) in paths.items():
        yield f'    "{path}") words="{" ".join(words)}"; flags="{" ".join(flags)}" ;;'


def _core(paths: Mapping[str, tuple[list[str], list[str]]]) -> list[str]:
    """Shell function that sets ``words`` and ``flags`` for the words typed so far, given as arguments."""
    groups = [f"    {group}) list='{command}' ;;" for group, command in _NAMES.items()]
    return [
        "_fleet_words() {",
        '  local path="" word group="" list=""; words=""; flags=""',
        '  for word in "$@"; do case "$word" in -*) ;; *)',
        '    [ -z "$group" ] && group="$word"',
        '    case " $(_fleet_children "$path") " in *" $word "*) path="${path:+$path }$word" ;; esac ;;',
        "  esac; done",
        '  words="$(_fleet_children "$path")"; flags="$(_fleet_flags "$path")"',
        '  case "$group" in',
        *groups,
        "  esac",
        '  if [ -z "$words" ] && [ -n "$list" ]; then words="$(fleet --no-start --output text $list 2>/dev/null | cut -f1)"; fi',
        "}",
        '_fleet_lookup() { local words flags; case "$1" in',
        *_cases(paths),
        '  esac; printf "%s|%s" "$words" "$flags"; }',
        '_fleet_children() { local found; found="$(_fleet_lookup "$1")"; printf "%s" "${found%%|*}"; }',
        '_fleet_flags() { local found; found="$(_fleet_lookup "$1")"; printf "%s" "${found#*|}"; }',
    ]


def _bash(paths: Mapping[str, tuple[list[str], list[str]]]) -> list[str]:
    return [
        *_core(paths),
        "_fleet() {",
        '  local words flags current="${COMP_WORDS[COMP_CWORD]}"',
        '  _fleet_words "${COMP_WORDS[@]:1:COMP_CWORD-1}"',
        '  case "$current" in -*) words="$flags" ;; esac',
        '  local IFS=$\' \\n\'; COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "}",
        "complete -o default -F _fleet fleet",
    ]


def _zsh(paths: Mapping[str, tuple[list[str], list[str]]]) -> list[str]:
    body = [line.replace("$list 2>", "${=list} 2>") for line in _core(paths)]
    return [
        "#compdef fleet",
        *body,
        "_fleet() {",
        '  local words_before=("${(@)words[2,CURRENT-1]}") current="${words[CURRENT]}"',
        "  local words flags",
        '  _fleet_words "${words_before[@]}"',
        '  case "$current" in -*) compadd -- ${=flags} ;; *) compadd -- ${=words} ;; esac',
        "}",
        "compdef _fleet fleet",
    ]


def _fish(paths: Mapping[str, tuple[list[str], list[str]]]) -> list[str]:
    lines = [
        "function __fleet_at",
        "  set -l typed (commandline -opc)",
        '  set -l plain (string match -v -- "-*" $typed[2..-1])',
        '  test "$(string join " " $plain)" = "$argv"',
        "end",
        "complete -c fleet -f",
    ]
    for path, (words, flags) in paths.items():
        condition = f"-n '__fleet_at {path}'".replace("__fleet_at '", "__fleet_at'") if path else "-n '__fleet_at'"
        if words:
            lines.append(f"complete -c fleet {condition} -a '{' '.join(words)}'")
        lines += [f"complete -c fleet {condition} -l {flag[2:]}" for flag in flags]
        group, _, verb = path.partition(" ")
        if verb and not words and group in _NAMES:
            lines.append(f"complete -c fleet {condition} -a '(fleet --no-start --output text {_NAMES[group]} 2>/dev/null | cut -f1)'")
    return lines
