"""Where a person has been: ``[`` goes back, ``]`` forward, ``-`` swaps with the view before."""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 50


@dataclass(frozen=True, slots=True)
class Place:
    """One view: the mode it was seen in, what kind of screen, and of what."""

    mode: str
    kind: str
    ref: str = ""


class Trail:
    """A browser's history of places."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._at = -1

    @property
    def here(self) -> Place | None:
        return self._places[self._at] if self._places else None

    def visit(self, place: Place) -> None:
        """Note a new place; what lay ahead is forgotten. Seeing the same place again is no visit."""
        if place == self.here:
            return
        self._places = [*self._places[: self._at + 1], place][-KEPT:]
        self._at = len(self._places) - 1

    def step(self, by: int) -> Place | None:
        """Go back (-1) or forward (1); 0 swaps with the place before. None where there is none."""
        if by == 0:
            if self._at < 1:
                return None
            self._places[self._at - 1], self._places[self._at] = self._places[self._at], self._places[self._at - 1]
            return self.here
        if not 0 <= self._at + by < len(self._places):
            return None
        self._at += by
        return self.here
