"""Instances of the fleet."""

from __future__ import annotations

from collections.abc import Callable

from fleet_tui.backend.instances import ListInstances
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.paged import PagedScreen


class InstancesScreen(PagedScreen):
    KIND = "instances"
    NOUN, ROWS = "instance", "instances"
    EMPTY = "no instances yet · n makes one"
    SORT = "label"
    BINDINGS = bindings("instances")

    def crumbs(self) -> list[str]:
        return [self.counted("instances")]

    def asking(self) -> Callable[..., ListInstances]:
        return ListInstances
