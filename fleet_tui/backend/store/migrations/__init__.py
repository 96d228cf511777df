"""Numbered forward steps of the schema. Write one with ``python -m fleet_tui.backend.store.migrations.draft``."""
