"""One run of ``fleet``: parse, do, and give the exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from fleet_tui.backend.errors import FleetError
from fleet_tui.cli.console import open_console, open_pane
from fleet_tui.cli.context import Context, Foretold
from fleet_tui.cli.parser import build


def run(words: Sequence[str]) -> int:
    """Do what the command line ``words`` ask for."""
    given = build(words).parse_args(words)
    context = Context(given)
    if given.run not in (open_console, open_pane):  # those load more, and collect garbage again once they are seen
        gc.enable()
    try:
        code: int = given.run(context)
        sys.stdout.flush()
        return code
    except Foretold:
        sys.stdout.flush()
        return 0
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
    except Exception as bug:
        from fleet_tui import crash
        from fleet_tui.backend import directories

        print(f"fleet: {crash.words(bug, crash.report(bug, directories.find().crashes))}", file=sys.stderr)
        return 1
    finally:
        context.close()
