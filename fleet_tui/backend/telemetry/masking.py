"""Secrets out of text before it is stored (spec ENG-8). What is known to be secret is replaced wherever it stands."""

from __future__ import annotations

import re
import threading

MASK = "\u2022\u2022\u2022\u2022"

# Both begin only where a word does, and have one way to read it: a line of a guest's own making costs no more than its length.
_NAMED = re.compile(
    r"(?i)(?<![a-z0-9_-])([_-]*(?:[a-z0-9]+[_-]+)*(?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key))"
    r"(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
)
_IN_URL = re.compile(r"((?<![a-z0-9+.-])[a-z0-9+.-]+://[^\s:/@]+:)[^\s@/]+(@)")
_MOST_OWNERS = 2000
"""Whose secrets are known at once; another daemon may have seen the end of some."""
_HINT = re.compile(r"(?i)pass|secret|token|key|://")


class Masker:
    """Replaces known secret values, and whatever stands after a name that says it is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._learnt: frozenset[str] = frozenset()
        self._of: dict[str, tuple[str, ...]] = {}
        self._values: frozenset[str] = frozenset()

    def learn(self, *values: str) -> None:
        """Values shorter than six characters are not learnt: they would mask innocent text."""
        with self._lock:
            self._learnt |= {value for value in values if len(value) >= 6}
            self._gather()

    def learn_of(self, owner: str, *values: str) -> None:
        """Secrets that one owner has now; those it had before are forgotten. Every line is searched for every value, so what is used up must go."""
        with self._lock:
            self._of.pop(owner, None)
            if values:
                self._of[owner] = values
            if len(self._of) > _MOST_OWNERS:
                del self._of[next(iter(self._of))]
            self._gather()

    def _gather(self) -> None:
        self._values = self._learnt.union(*self._of.values())

    def mask(self, text: str) -> str:
        for value in self._values:
            if value in text:
                text = text.replace(value, MASK)
        if _HINT.search(text):
            text = _NAMED.sub(lambda m: f"{m[1]}{m[2]}{MASK}", text)
            text = _IN_URL.sub(lambda m: f"{m[1]}{MASK}{m[2]}", text)
        return text
