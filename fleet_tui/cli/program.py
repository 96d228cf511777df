"""One run of ``fleet``: parse, do, and give the exit code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from fleet_tui.backend.errors import FleetError
from fleet_tui.cli.console import open_console, open_pane
from fleet_tui.cli.context import Context, Foretold
from fleet_tui.cli.parser import build
from fleet_tui.cli.streams import drop_output, open_missing, tell, written


def run(words: Sequence[str]) -> int:
    """Do what the command line ``words`` ask for."""
    open_missing()
    given = build(words).parse_args(words)
    context = Context(given)
    if given.run not in (open_console, open_pane):  # those load more, and collect garbage again once they are seen
        gc.enable()
    try:
        code = _do(given.run, context)
        with written():
            sys.stdout.flush()
        return code
    except FleetError as refusal:
        from fleet_tui.cli.printing import complain

        complain(refusal, as_json=context.wants_json)
        return refusal.exit_code
    except KeyboardInterrupt:
        tell(f"\nfleet: interrupted{context.farewell}")
        return 130
    except BrokenPipeError:  # whoever read our output has left
        drop_output()
        return 141
    except Exception as bug:
        from fleet_tui import crash
        from fleet_tui.backend import directories

        report = None
        with suppress(RuntimeError):  # nobody knows where home is
            report = crash.report(bug, directories.find().crashes)
        tell(f"fleet: {crash.words(bug, report)}")
        return 1
    finally:
        context.close()


def _do(run: Callable[[Context], int], context: Context) -> int:
    try:
        return run(context)
    except Foretold:
        return 0
