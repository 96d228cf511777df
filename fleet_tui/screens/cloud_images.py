"""Cloud images: the operating systems that machines on our own hosts start from."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_tui.actions import Action
from fleet_tui.backend.operations import Submitted
from fleet_tui.backend.providers import ListCloudImages
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.resource import ResourceScreen


class CloudImagesScreen(ResourceScreen):
    KIND = "cloud_images"
    EMPTY = "no cloud image yet · n registers one"
    SORT = "name"
    BINDINGS = bindings("cloud_images")

    def crumbs(self) -> list[str]:
        return ["cloud images"]

    def load(self) -> None:
        self.fetch(ListCloudImages(), self.put, "images")

    def changed(self, changed: FleetChanged) -> None:
        if any(ref.startswith("cloud-image:") for ref in changed.refs):
            self.load()

    def submitted(self, action: Action, replies: Sequence[Submitted]) -> None:
        self.load()
