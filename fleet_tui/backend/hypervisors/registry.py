"""The way to hypervisors of every kind: each driver is loaded when the first host of its kind is connected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.hypervisors import Hypervisor, Hypervisors
from fleet_tui.backend.remote import Login, Reach
from fleet_tui.backend.remote.late import LateReach

if TYPE_CHECKING:
    from fleet_tui.backend.remote.ssh import SshReach

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


def real() -> tuple[Hypervisors, Reach]:
    """The ways to real hypervisors and shells; their SDKs are loaded when the first host is reached."""
    reach = LateReach(_ssh)
    return Registry({"kvm": lambda: _libvirt(reach.loaded())}), reach


def _ssh() -> SshReach:
    from fleet_tui.backend.remote.ssh import SshReach

    return SshReach()


def _libvirt(reach: SshReach) -> Hypervisors:
    from fleet_tui.backend.hypervisors.libvirt import Libvirt

    return Libvirt(reach)
