"""``fleet``: the console, and the same verbs as one-shot commands.

Results go to stdout, everything said to a person to stderr. Exit codes are those of the error contract (0 well, 1 a bug, 2 wrong
command line, 3 to 16 by error), and besides: 130 interrupted, 3 from ``daemon status`` when no daemon runs, 1 when a waited operation was
cancelled or the audit chain is broken.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, do, and return the exit code."""
    gc.disable()  # a tenth of the loading would go into looking for garbage where there is none
    from fleet_tui.cli.program import run

    return run(sys.argv[1:] if arguments is None else arguments)
