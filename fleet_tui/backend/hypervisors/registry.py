"""The way to hypervisors of every kind: each driver is loaded when the first host of its kind is connected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.hypervisors import Hypervisor, Hypervisors
from fleet_tui.backend.remote import Login

Loader = Callable[[], Hypervisors]


class Registry:
    """Implements :class:`Hypervisors` over drivers by kind (``kvm``)."""

    def __init__(self, loaders: Mapping[str, Loader]) -> None:
        self._loaders = dict(loaders)
        self._drivers: dict[str, Hypervisors] = {}
        self._lock = threading.Lock()

    def open(self, kind: str, login: Login, lost: Callable[[str], None]) -> Hypervisor:
        return self._driver(kind).open(kind, login, lost)

    def _driver(self, kind: str) -> Hypervisors:
        with self._lock:
            if kind not in self._drivers:
                loader = self._loaders.get(kind)
                if loader is None:
                    known = ", ".join(sorted(self._loaders)) or "none"
                    raise InvalidInput(f"there is no driver for hypervisor {kind!r}", hint=f"drivers there are: {known}")
                self._drivers[kind] = loader()
            return self._drivers[kind]
