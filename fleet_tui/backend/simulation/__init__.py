"""A site that is not there: a believable fleet made from a seed, and the life that goes on in it.

``populate`` fills an empty store; ``Life`` keeps things happening afterwards. Both stand just below the daemon, because
they know every slice.
"""

from __future__ import annotations

from fleet_tui.backend.simulation.life import Life
from fleet_tui.backend.simulation.population import populate

__all__ = ["Life", "populate"]
