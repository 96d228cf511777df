"""Sets of IDs as people write them, ``600-799,820``, and as we keep them: sorted spans that neither overlap nor touch.

Arithmetic on spans, never on single IDs: a VXLAN network has sixteen million.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.networks import RangeDiff
from fleet_tui.backend.networks.states import LIMITS, Isolation
from fleet_tui.backend.text import clean

Span = tuple[int, int]
"""First and last ID, both in it."""
Spans = tuple[Span, ...]

_TOKEN = re.compile(r"\s*([0-9]{1,12})\s*(?:-\s*([0-9]{1,12})\s*)?", re.ASCII)
_SHOWN = 40
"""Characters of a token that are repeated in a refusal."""
_NAMED = 50
"""Bad tokens that are named one by one."""


def parse(text: str, isolation: Isolation, field: str = "ranges") -> Spans:
    """The spans of a comma list of ``a-b`` or ``a``. Spaces around numbers do not matter, nor do order, overlap or repetition; an empty
    text is the empty set.

    Raises:
        InvalidInput: naming each token that is wrong and the interval that IDs of this isolation come from (spec 10.2).
    """
    if not text.strip():
        return ()
    good, bad = [], []
    for token in text.split(","):
        span, wrong = _span(token, isolation)
        if wrong:
            bad.append(wrong)
        elif span is not None:
            good.append(span)
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise InvalidInput(
            f"the ranges cannot be read: {bad[0]}{more}", problems=[Problem(field, wrong) for wrong in bad[:_NAMED]],
            hint=f"a comma list such as 600-799,820; {allowed(isolation)}",
        )
    return merged(good)


def _span(token: str, isolation: Isolation) -> tuple[Span | None, str]:
    """A token's span, or what is wrong with it."""
    shown = repr(clean(token.strip(), _SHOWN))
    if not token.strip():
        return None, f"there is nothing between two commas; {allowed(isolation)}"
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None, f"{shown} is neither an ID nor two with a dash between them; {allowed(isolation)}"
    first = int(found[1])
    last = int(found[2] or found[1])
    low, high = LIMITS[isolation]
    if not (low <= first <= high and low <= last <= high):
        return None, f"{shown} is out of bounds; {allowed(isolation)}"
    if last < first:
        return None, f"{shown} ends before it begins; {allowed(isolation)}"
    return (first, last), ""


def allowed(isolation: Isolation) -> str:
    low, high = LIMITS[isolation]
    return f"{isolation.value} IDs go from {low} to {high}"


def merged(spans: Iterable[Span]) -> Spans:
    """The same IDs, sorted, with what overlaps or touches made one."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def common(some: Sequence[Span], others: Sequence[Span]) -> Spans:
    """IDs in both. Each must be sorted and free of overlaps."""
    found, i, j = [], 0, 0
    while i < len(some) and j < len(others):
        first, last = max(some[i][0], others[j][0]), min(some[i][1], others[j][1])
        if first <= last:
            found.append((first, last))
        if some[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return merged(found)


def without(some: Sequence[Span], cut: Sequence[Span]) -> Spans:
    """IDs of the first that are not in the second. Each must be sorted and free of overlaps."""
    return tuple(_remains(merged(some), merged(cut)))


def _remains(some: Spans, cut: Spans) -> Iterator[Span]:
    j = 0
    for first, last in some:
        while j < len(cut) and cut[j][1] < first:
            j += 1
        k = j
        while k < len(cut) and cut[k][0] <= last:
            if cut[k][0] > first:
                yield first, cut[k][0] - 1
            first = max(first, cut[k][1] + 1)
            k += 1
        if first <= last:
            yield first, last


def size(spans: Iterable[Span]) -> int:
    return sum(last - first + 1 for first, last in spans)


def holds(spans: Sequence[Span], number: int) -> bool:
    return around(spans, number) is not None


def around(spans: Sequence[Span], number: int) -> Span | None:
    """The span that a number is in. They must be sorted and free of overlaps."""
    at = bisect_right(spans, (number, number)) - 1
    for span in spans[max(at, 0) : at + 2]:
        if span[0] <= number <= span[1]:
            return span
    return None


def text_of(spans: Iterable[Span]) -> str:
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def changed(before: Spans, text: Spans, how: str) -> Spans:
    """What ``before`` becomes by ``set``, ``add`` or ``remove`` of ``text``.

    Raises:
        InvalidInput: ``how`` is none of them.
    """
    if how == "set":
        return text
    if how == "add":
        return merged((*before, *text))
    if how == "remove":
        return without(before, text)
    raise InvalidInput(f"ranges cannot be changed by {clean(how, _SHOWN)!r}", problems=[Problem("how", "must be set, add or remove")])


def diff(before: Spans, after: Spans) -> RangeDiff:
    """What an edit does, for whoever is about to save it (VLN-1)."""
    added, removed = without(after, before), without(before, after)
    return RangeDiff(
        before=text_of(before), after=text_of(after), added=text_of(added), removed=text_of(removed), added_count=size(added),
        removed_count=size(removed), is_unchanged=before == after,
    )
