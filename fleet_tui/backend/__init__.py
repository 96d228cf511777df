"""The half of the product that does the work. It never draws; the interface never works.

A slice is a folder named by a noun. Its ``__init__`` is its face: frozen records and protocols that
need only the standard library, so the console can import them without loading a database or an SDK.
Read the layers in ``pyproject.toml`` from the bottom up: ``directories``, ``text``, ``clock`` and ``errors`` know
nothing; ``store`` keeps; ``events`` tell; ``operations`` do; the slices say what there is to be done;
``api`` is the one door; ``daemon`` is the only file that knows every name.
"""
