"""What the methods about cloud images do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_tui.backend.api import Done
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.providers import ListCloudImages, RegisterCloudImage, RemoveCloudImage, cloud_images
from fleet_tui.backend.store import Store


class CloudImageAnswers:
    """By method name."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def table(self) -> Mapping[str, Handler]:
        """Every method this object answers."""
        return {"cloud-images.list": self._list, "cloud-images.register": self._register, "cloud-images.remove": self._remove}

    def _list(self, caller: Caller, request: ListCloudImages) -> Any:
        with self._store.read() as tx:
            return cloud_images.list_images(tx, request)

    def _register(self, caller: Caller, request: RegisterCloudImage) -> Any:
        with self._store.write() as tx:
            return cloud_images.register(tx, request, self._clock.now(), caller.user)

    def _remove(self, caller: Caller, request: RemoveCloudImage) -> Done:
        with self._store.write() as tx:
            return Done(f"{cloud_images.remove(tx, request, caller.user)} is no longer registered; its file stays")
