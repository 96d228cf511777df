"""fleet-tui: a full-screen console for the people who run a fleet."""

__version__ = "0.1.0"
