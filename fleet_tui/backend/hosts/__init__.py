"""Zones, pods, clusters and hosts: where things stand. This issue holds one of each; the rest comes with maintenance."""

from __future__ import annotations

from datetime import datetime

from fleet_tui.backend.records import dataclass


@dataclass(frozen=True, slots=True)
class HostRecord:
    """One physical machine, with its measured figures."""

    id: str
    name: str
    location: str
    """``zone/pod/cluster``."""
    hypervisor: str
    address: str
    resource_state: str
    connection_state: str
    cores: int
    memory_bytes: int
    memory_used_bytes: int
    disk_bytes: int
    disk_used_bytes: int
    load: float
    """One-minute load average divided by cores, 1.0 = busy."""
    instances: int
    measured_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListHosts:
    limit: int = 5000


@dataclass(frozen=True, slots=True)
class ShowHost:
    name: str
