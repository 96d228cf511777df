"""``python -m fleet_tui`` is ``fleet``."""

from __future__ import annotations

import sys

from fleet_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
