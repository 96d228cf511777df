"""Instances as the daemon would send them, made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from fleet_tui.backend.instances import AgentStatus, DataDisk, InstanceRecord
from fleet_tui.backend.instances.states import Health, InstanceState

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
GIB = 1024**3


def instance(n: int) -> InstanceRecord:
    """The ``n``-th of a fleet; some have failed, some are stopped."""
    state = InstanceState.FAILED if n % 97 == 7 else InstanceState.STOPPED if n % 53 == 9 else InstanceState.RUNNING
    address = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
    return InstanceRecord(
        id=f"i-{n:08d}", label=f"web-{n:05d}", kind=("design", "execution", "automation")[n % 3], state=state,
        failed_stage="startup:start" if state is InstanceState.FAILED else None, failure="", health=Health.OK, health_detail="",
        url=f"https://{address}:8080/", private_ip=address, public_ip=None, host_name=f"web-{n:05d}.internal", host=f"kvm-{n % 24:02d}",
        data_disk=DataDisk(100, 200, n * 37 % 100 * GIB, f"/disks/d-{n:08d}"), pending_changes=(), template="web", network="local",
        https_strategy="none", image="hello-app 1.0.0", machine=f"vm-{n:08d}", certificate_not_after=None, certificate_fingerprint=None,
        agent=AgentStatus(last_seen=NOW - timedelta(seconds=n % 30)), operation_id=None, operation="", fleet_tags=("shop",), version=1,
        created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def fuller(row: InstanceRecord) -> InstanceRecord:
    """The same with another percent of its data disk used."""
    disk = row.data_disk
    return replace(row, data_disk=replace(disk, used_bytes=((disk.used_bytes or 0) + GIB) % (100 * GIB)))
