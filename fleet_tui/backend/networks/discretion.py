"""IDs kept out of texts that everybody may read."""

from __future__ import annotations

import re

from fleet_tui.backend.errors import FleetError

MASK = "••••"
"""As the audit masks secrets."""


def without_ids(text: str, *numbers: int | None) -> str:
    """The text with those IDs masked, wherever a number of exactly that value stands in it: ``eth1.500``, ``breth1-500``, ``id 500``."""
    for number in numbers:
        if number is not None:
            text = re.sub(rf"(?<![0-9])0*{number}(?![0-9])", MASK, text)
    return text


def discreet(problem: FleetError, *numbers: int | None) -> FleetError:
    """The error itself, with those IDs masked in its words and in the facts that it carries."""
    problem.message, problem.hint = without_ids(problem.message, *numbers), without_ids(problem.hint, *numbers)
    problem.args = (problem.message,)
    problem.details = {name: without_ids(value, *numbers) if isinstance(value, str) else value for name, value in problem.details.items()}
    return problem
