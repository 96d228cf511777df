"""YAML that a person wrote, with where everything stands in it, so that whatever is wrong can be told with line and column.

Taken is what JSON can say too: no aliases (a small text could stand for a huge one), no tags, no dates, no key twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Path = tuple[str | int, ...]


class NotYaml(ValueError):
    """The text is not acceptable; says where, when that can be said."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"{place(line, column)}: {message}" if line else message)


@dataclass(frozen=True, slots=True)
class Marked:
    """A value, and for each part of it (by its path) line and column, both from 1."""

    value: Any
    places: Mapping[Path, tuple[int, int]]

    def where(self, path: Path) -> str:
        """``line 7, column 3`` of a part, or of the nearest one around it that is there."""
        while path and path not in self.places:
            path = path[:-1]
        return place(*self.places.get(path, (1, 1)))


def place(line: int, column: int) -> str:
    return f"line {line}, column {column}"


def read(text: str, limit: int, what: str = "the text") -> Marked:
    """The value in ``text``.

    Args:
        limit: bytes allowed.

    Raises:
        NotYaml: too large, not YAML, or something in it that is not taken.
    """
    import yaml

    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limit:
        raise NotYaml(f"{what} has {size:,} bytes; {limit // 1024} KiB are allowed")
    try:
        loader = _loader()(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise NotYaml(f"not YAML: {error.problem or error.context or 'unreadable'}", *found) from None
    except NotYaml:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise NotYaml(f"not YAML: {str(error).partition(chr(10))[0][:200]}") from None
    except RecursionError:
        raise NotYaml(f"{what} is nested too deep") from None
    places: dict[Path, tuple[int, int]] = {}
    if node is None:
        return Marked(None, places)
    try:
        return Marked(_value(node, (), places), places)
    except RecursionError:
        raise NotYaml(f"{what} is nested too deep") from None


@cache
def _loader() -> Any:
    """PyYAML's safe one, which refuses aliases where they stand."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise NotYaml("an alias (*name) is not taken; write it out", mark.line + 1, mark.column + 1)
            return super().compose_node(parent, index)

    return Loader


def _value(node: Any, path: Path, places: dict[Path, tuple[int, int]]) -> Any:
    """What a node says."""
    import yaml

    line, column = places[path] = node.start_mark.line + 1, node.start_mark.column + 1
    if isinstance(node, yaml.SequenceNode):
        _plain(node, "seq", line, column)
        return [_value(child, (*path, index), places) for index, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        _plain(node, "map", line, column)
        found: dict[str, Any] = {}
        for key_node, child in node.value:
            at = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                raise NotYaml("a key must be a word", *at)
            key = str(key_node.value)
            if key in found:
                raise NotYaml(f"{key[:60]!r} is there twice", *at)
            found[key] = _value(child, (*path, key), places)
            places[(*path, key)] = at
        return found
    return _scalar(node, line, column)


def _plain(node: Any, kind: str, line: int, column: int) -> None:
    if node.tag != f"tag:yaml.org,2002:{kind}":
        raise NotYaml(f"the tag {node.tag[:60]!r} is not taken", line, column)


def _scalar(node: Any, line: int, column: int) -> Any:
    import yaml

    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind in ("str", "timestamp", "value", "merge"):
        return str(node.value)
    if kind not in ("int", "float", "bool", "null"):
        raise NotYaml(f"the tag {node.tag[:60]!r} is not taken", line, column)
    constructor = yaml.constructor.SafeConstructor()
    try:
        value = constructor.construct_object(node)
    except (ValueError, yaml.YAMLError):
        raise NotYaml(f"{str(node.value)[:40]!r} is no {kind}", line, column) from None
    return str(node.value) if isinstance(value, float) and not math.isfinite(value) else value
