"""The program that works on a machine of the fleet: standard library only, Python 3.8 or later, packed as one ``.pyz``.

It takes its one-time token from the OS folder, says hello at the door, and then works by itself: it runs the start-up
sequence it was told, keeps the application alive, spools every line until the door has acknowledged it, and survives
the control plane's death. Nothing of the product is imported here, so that the package can be carried away alone.
"""

from __future__ import annotations

AGENT_VERSION = "1.0.0"
"""Said at hello; grows when what the agent does changes."""
