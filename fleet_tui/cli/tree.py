"""What the command line's tree is grown with: groups of verbs, and kinds of values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from enum import Enum
from typing import Any

from fleet_tui.cli.context import Context

Run = Callable[[Context], int]
Verb = Callable[[str, Run, str], argparse.ArgumentParser]
"""Adds a verb to a group: name, what does it, help."""


class Tree:
    """Groups and their verbs, each taking the common flags too."""

    def __init__(self, groups: Any, common: argparse.ArgumentParser) -> None:
        self._groups = groups
        self._common = common

    def leaf(self, name: str, run: Run, text: str) -> argparse.ArgumentParser:
        return self._leaf(self._groups, name, run, text)

    def group(self, name: str, text: str) -> Verb:
        """A function that adds verbs to the group ``name``."""
        parser = self._groups.add_parser(name, help=text, description=text, parents=[self._common])
        verbs = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
        return lambda verb, run, help_text: self._leaf(verbs, verb, run, help_text)

    def _leaf(self, into: Any, name: str, run: Run, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = into.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.", parents=[self._common])
        parser.set_defaults(run=run, verb=name)
        return parser


def named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME")
    return parser


_MOST = 2**31 - 1
"""What any database takes."""


def one_of(parser: argparse.ArgumentParser, flag: str, states: type[Enum]) -> None:
    """A flag that filters by state. A word that is none is refused: it would find nothing, for ever."""
    parser.add_argument(flag, default="", choices=[state.value for state in states], metavar=flag.lstrip("-").upper())


def count(word: str) -> int:
    number = int(word)
    if not 1 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"1 to {_MOST} is needed")
    return number


def natural(word: str) -> int:
    number = int(word)
    if not 0 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"0 to {_MOST} is needed")
    return number


def days(word: str) -> int:
    number = natural(word)
    if number > 36_500:
        raise argparse.ArgumentTypeError("at most a hundred years can be asked for")
    return number


def seconds(word: str) -> float:
    seconds = float(word)
    if not seconds >= 0:
        raise argparse.ArgumentTypeError("a number of seconds is needed")
    return seconds


def ratio(word: str) -> float:
    number = float(word)
    if not 0 <= number < 1000:
        raise argparse.ArgumentTypeError("a ratio such as 4 or 1.5 is needed, or 0")
    return number
