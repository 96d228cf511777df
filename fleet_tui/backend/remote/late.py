"""A way to other machines that is loaded when the first one is reached: a site without hosts need not wait for SSH at its start."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from fleet_tui.backend.remote import HostKey, Login, Reach, Shell

R = TypeVar("R", bound=Reach)


class LateReach(Generic[R]):
    """Implements :class:`Reach` over one that ``load`` makes."""

    def __init__(self, load: Callable[[], R]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._loaded: R | None = None

    def loaded(self) -> R:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def host_key(self, address: str, port: int = 22, *, timeout_s: float = 15.0) -> HostKey:
        return self.loaded().host_key(address, port, timeout_s=timeout_s)

    def open(self, login: Login, *, timeout_s: float = 15.0) -> Shell:
        return self.loaded().open(login, timeout_s=timeout_s)
