"""``fleet``: the console, and the same verbs as one-shot commands.

Results go to stdout, everything said to a person to stderr. Exit codes are those of the error contract (0 well, 1 a bug, 2 wrong
command line, 3 to 16 by error), and besides: 130 interrupted, 3 from ``daemon status`` when no daemon runs, 1 when a waited operation was
cancelled or the audit chain is broken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from fleet_tui.backend.errors import FleetError
from fleet_tui.cli.context import Context
from fleet_tui.cli.parser import build


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, do, and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    given = build(words).parse_args(words)
    context = Context(given)
    try:
        code: int = given.run(context)
        sys.stdout.flush()
        return code
    except FleetError as refusal:
        from fleet_tui.cli.printing import complain

        complain(refusal, as_json=context.wants_json)
        return refusal.exit_code
    except KeyboardInterrupt:
        print(f"\nfleet: interrupted{context.farewell}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has left. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    finally:
        context.close()
