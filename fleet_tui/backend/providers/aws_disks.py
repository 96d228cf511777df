"""Data disks in AWS: EBS volumes that outlive their machines, and their snapshots.

A disk is the volume that carries its name in ``fleet:disk``; of several the one with the highest ``fleet:generation``. A disk that is set back
to a snapshot becomes a new volume: made as ``fleet:next`` first, it turns into the disk by one call that tags it, and the old one goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fleet_tui.backend.cloud.session import RESTING
from fleet_tui.backend.errors import Busy, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.providers import DiskInfo, DiskSpec, SnapshotInfo
from fleet_tui.backend.providers.aws_region import (
    DISK,
    GENERATION,
    MACHINE,
    NEXT,
    Region,
    client_token,
    specification,
    told,
)

DEVICE = "/dev/sdf"
GIB = 1024**3
_VOLUME_S, _ATTACH_S = 300.0, 300.0
_SNAPSHOT_S = 6 * 3600.0
"""A large disk takes hours to copy; it is consistent from the first moment."""
_USUAL = "gp3"

Say = Callable[[str], None]


class Disks:
    """Volumes and snapshots of one region."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._ec2 = region.ec2

    @property
    def region(self) -> Region:
        return self._region

    # --- disks -----------------------------------------------------------------------------------------------------

    def find(self, disk_id: str) -> dict[str, Any] | None:
        """The volume that is the disk now."""
        return max(self._region.volumes(disk=disk_id), key=_generation, default=None)

    def all(self) -> tuple[DiskInfo, ...]:
        """Of each disk the volume that it is now; what a restore left of it goes with that."""
        volumes = sorted((volume for volume in self._region.volumes() if DISK in told(volume)), key=_generation)
        return tuple(self.info(volume) for _, volume in sorted({told(volume)[DISK]: volume for volume in volumes}.items()))

    def all_snapshots(self) -> tuple[SnapshotInfo, ...]:
        every = self._region.find("describe_snapshots", "Snapshots")
        found = (one for one in every if one["State"] != "error" and {"fleet:snapshot", DISK} <= told(one).keys())
        return tuple(self._snapshot_info(one) for _, one in sorted({told(one)["fleet:snapshot"]: one for one in found}.items()))

    def of_machine(self, machine_id: str) -> list[dict[str, Any]]:
        """Data disks that go with a machine; its OS disk carries the machine's name too, and is none."""
        return [volume for volume in self._region.volumes(machine=machine_id) if DISK in told(volume)]

    def make(self, disk_id: str, size_gb: int, token: str, zone: str, spec: DiskSpec, say: Say) -> dict[str, Any]:
        tags = self._region.tags(
            label=spec.label, own=spec.tags, disk=disk_id, generation="1", instance=spec.instance_id, operation=token
        )
        made = self._ec2.call(
            "create_volume", AvailabilityZone=zone, Size=size_gb, VolumeType=spec.kind or _USUAL, **_iops(spec.iops), **self._sealed(spec),
            ClientToken=client_token(self._region.terms.site, disk_id, token), TagSpecifications=[specification("volume", tags)],
        )
        volume = self._settled(made["VolumeId"], "available")
        say(f"made data disk {disk_id}, {size_gb} GB, {made['VolumeId']} in {zone}")
        return volume

    def grow(self, volume: dict[str, Any], size_gb: int, say: Say) -> dict[str, Any]:
        if size_gb <= volume["Size"]:
            return volume
        name = volume["VolumeId"]
        try:
            self._ec2.call("modify_volume", VolumeId=name, Size=size_gb)
        except Busy as refused:
            # It may have been us who began it, a moment before we died or the answer got lost.
            if refused.details["aws"] not in RESTING or not self._grows(name, size_gb):
                raise
        say(f"data disk {told(volume)[DISK]} grows from {volume['Size']} to {size_gb} GB")
        return self._region.until(lambda: self._grown(name, size_gb), f"volume {name} of {size_gb} GB", _VOLUME_S)

    def _grows(self, name: str, size_gb: int) -> bool:
        """Whether a change that was begun already makes it that large."""
        try:
            found = self._ec2.call("describe_volumes_modifications", VolumeIds=[name])["VolumesModifications"]
        except NotFound:
            return False
        return any(one["ModificationState"] != "failed" and one.get("TargetSize", 0) >= size_gb for one in found)

    def _grown(self, name: str, size_gb: int) -> dict[str, Any] | None:
        volume = self._volume(name)
        return volume if volume["Size"] >= size_gb else None

    def delete(self, disk_id: str) -> None:
        """Every volume that is or was to be the disk."""
        for volume in (*self._region.volumes(disk=disk_id), *self._region.volumes(next=disk_id)):
            self._drop(volume["VolumeId"])

    def holder(self, volume: dict[str, Any]) -> str | None:
        """The machine that has the disk. One that is switched off may have it by our word only (a tag), and only while it exists."""
        for attachment in volume.get("Attachments", ()):
            if attachment.get("State") in ("attaching", "attached", "busy", "detaching"):
                return told(volume).get(MACHINE) or str(attachment["InstanceId"])
        machine = told(volume).get(MACHINE)
        return machine if machine and self._region.interface(machine) is not None else None

    def attach(self, volume: dict[str, Any], instance_id: str) -> None:
        """Repeatable. Afterwards it is there for the machine to use, and stays when the machine goes."""
        name = volume["VolumeId"]
        self._region.until(lambda: self._free_or_ours(name, instance_id), f"volume {name} is free", _ATTACH_S)
        if not _attachment(self._volume(name), instance_id):
            try:
                self._ec2.call("attach_volume", VolumeId=name, InstanceId=instance_id, Device=DEVICE)
            except Busy:
                # Of two that attach it at once one is refused; it may have been us, a moment before we died.
                if not _attachment(self._volume(name), instance_id):
                    raise
        found = self._region.until(lambda: _attachment(self._volume(name), instance_id, "attached"), f"volume {name} is attached", _ATTACH_S)
        if found.get("DeleteOnTermination"):
            self.protect(instance_id, found["Device"])

    def protect(self, instance_id: str, device: str) -> None:
        """Have AWS keep a volume when the machine is terminated."""
        mapping = {"DeviceName": device, "Ebs": {"DeleteOnTermination": False}}
        self._ec2.call("modify_instance_attribute", InstanceId=instance_id, BlockDeviceMappings=[mapping])

    def detach(self, volume: dict[str, Any]) -> None:
        """Repeatable; the volume is free afterwards, and belongs to no machine."""
        name = volume["VolumeId"]
        for attachment in self._volume(name).get("Attachments", ()):
            if attachment.get("State") not in ("detaching", "detached"):
                # Naming the machine too: nothing else may lose its disk.
                self._ec2.call("detach_volume", VolumeId=name, InstanceId=attachment["InstanceId"])
        self._settled(name, "available")
        self._region.untag(name, MACHINE)

    def info(self, volume: dict[str, Any]) -> DiskInfo:
        return DiskInfo(told(volume)[DISK], volume["Size"], None, volume["VolumeId"], self.holder(volume))

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def find_snapshots(self, snapshot_id: str) -> list[dict[str, Any]]:
        """The one of that name, first; others of it came of a crash."""
        found = self._region.find("describe_snapshots", "Snapshots", snapshot=snapshot_id)
        return sorted((one for one in found if one["State"] != "error"), key=lambda one: (str(one["StartTime"]), one["SnapshotId"]))

    def snapshot(self, volume: dict[str, Any], snapshot_id: str, say: Say) -> SnapshotInfo:
        """Begun is enough: what is written afterwards is not in it."""
        found = self.find_snapshots(snapshot_id)
        for extra in found[1:]:
            self._ec2.call("delete_snapshot", SnapshotId=extra["SnapshotId"])
        if found:
            return self._snapshot_info(found[0])
        disk_id, had = told(volume)[DISK], told(volume)
        tags = self._region.tags(
            label=had.get("Name", ""), own=had, snapshot=snapshot_id, disk=disk_id, instance=had.get("fleet:instance", "")
        )
        made = self._ec2.call(
            "create_snapshot", VolumeId=volume["VolumeId"], Description=f"{disk_id} {snapshot_id}",
            TagSpecifications=[specification("snapshot", tags)],
        )
        say(f"snapshot {snapshot_id} of data disk {disk_id} begun, {made['SnapshotId']}")
        return self._snapshot_info(made, snapshot_id, disk_id)

    def delete_snapshot(self, snapshot_id: str) -> None:
        for one in self.find_snapshots(snapshot_id):
            try:
                self._ec2.call("delete_snapshot", SnapshotId=one["SnapshotId"])
            except NotFound:
                continue

    def restore(self, volume: dict[str, Any], snapshot_id: str, say: Say, token: str) -> None:
        """The disk becomes a new volume with the snapshot's content; until that is there it stays the old one."""
        disk_id = told(volume)[DISK]
        found = next(iter(self.find_snapshots(snapshot_id)), None)
        if found is None:
            raise NotFound(f"there is no snapshot {snapshot_id}", hint="list the instance's snapshots")
        if told(found).get(DISK) != disk_id:
            problem = Problem("snapshot", f"belongs to data disk {told(found).get(DISK)}")
            raise InvalidInput(f"snapshot {snapshot_id} is not one of data disk {disk_id}", problems=[problem])
        if holder := self.holder(volume):
            raise Busy(f"data disk {disk_id} is attached to machine {holder}", hint="deprovision the instance first", holders=[holder])
        if NEXT in told(volume):  # of a restore that was killed once this was the disk, before its tag of a copy went
            self._region.untag(volume["VolumeId"], NEXT)
        self._sweep(volume)
        fresh = self._copy(volume, found, snapshot_id, token)
        tags = {DISK: disk_id, GENERATION: str(_generation(volume) + 1)}
        self._ec2.call("create_tags", Resources=[fresh], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
        self._region.untag(fresh, NEXT)
        self._drop(volume["VolumeId"])
        say(f"data disk {disk_id} is as snapshot {snapshot_id} has it, volume {fresh}")

    def _copy(self, volume: dict[str, Any], snapshot: dict[str, Any], snapshot_id: str, token: str) -> str:
        """A new volume beside the old one, of its kind, with the snapshot's content."""
        name, disk_id, had = snapshot["SnapshotId"], told(volume)[DISK], told(volume)
        self._region.until(lambda: self._is_whole(name), f"snapshot {name} is whole", _SNAPSHOT_S, cancellable=True)
        own = {key: value for key, value in had.items() if key != "Name"}
        tags = self._region.tags(label=had.get("Name", ""), own=own, next=disk_id, instance=had.get("fleet:instance", ""))
        key = {"KmsKeyId": volume["KmsKeyId"]} if volume.get("KmsKeyId") else {}
        made = self._ec2.call(
            "create_volume", AvailabilityZone=volume["AvailabilityZone"], SnapshotId=name, Size=volume["Size"], VolumeType=volume["VolumeType"],
            **(_iops(volume.get("Iops")) if volume["VolumeType"] in ("io1", "io2", "gp3") else {}), Encrypted=bool(volume.get("Encrypted")), **key,
            ClientToken=client_token(self._region.terms.site, volume["VolumeId"], snapshot_id, token),
            TagSpecifications=[specification("volume", tags)],
        )
        self._settled(made["VolumeId"], "available")
        for other in self._region.volumes(next=disk_id):  # of a restore that was given up
            if other["VolumeId"] not in (made["VolumeId"], volume["VolumeId"]):  # a list may be older than a tag
                self._drop(other["VolumeId"])
        return str(made["VolumeId"])

    def _sweep(self, volume: dict[str, Any]) -> None:
        """What a restore that was killed left: older volumes of the disk. A copy it had begun is found again by its client token."""
        for old in self._region.volumes(disk=told(volume)[DISK]):
            if old["VolumeId"] != volume["VolumeId"]:
                self._drop(old["VolumeId"])

    def _is_whole(self, name: str) -> bool:
        state = next(iter(self._ec2.call("describe_snapshots", SnapshotIds=[name])["Snapshots"]))["State"]
        if state == "error":
            raise WrongState(f"snapshot {name} failed in the cloud", hint="choose another one", state=state)
        return bool(state == "completed")

    # --- inside --------------------------------------------------------------------------------------------------------

    def _snapshot_info(self, snapshot: dict[str, Any], snapshot_id: str = "", disk_id: str = "") -> SnapshotInfo:
        tags, size = told(snapshot), snapshot["VolumeSize"] * GIB
        return SnapshotInfo(snapshot_id or tags["fleet:snapshot"], disk_id or tags[DISK], size, snapshot["SnapshotId"], self._region.name)

    def _volume(self, name: str) -> dict[str, Any]:
        found: Sequence[dict[str, Any]] = self._ec2.call("describe_volumes", VolumeIds=[name])["Volumes"]
        return found[0]

    def _settled(self, name: str, state: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            volume = self._volume(name)
            if volume["State"] == "error":
                raise WrongState(f"volume {name} failed in the cloud", hint="usually its key cannot be used; look at it there", state="error")
            return volume if volume["State"] == state else None

        return self._region.until(look, f"volume {name} is {state}", _VOLUME_S)

    def _free_or_ours(self, name: str, instance_id: str) -> bool:
        volume = self._volume(name)
        others = [one["InstanceId"] for one in volume.get("Attachments", ()) if one["InstanceId"] != instance_id]
        if others and volume["State"] == "in-use" and not any(one.get("State") == "detaching" for one in volume["Attachments"]):
            raise Busy(f"volume {name} is attached to {others[0]}", hint="detach it there first", holders=others)
        return volume["State"] == "available" or bool(_attachment(volume, instance_id))

    def _drop(self, name: str) -> None:
        try:
            self._ec2.call("delete_volume", VolumeId=name)
        except NotFound:
            return

    def _sealed(self, spec: DiskSpec) -> dict[str, Any]:
        key = {"tenant": self._region.terms.key, "custom": spec.encryption_key}.get(spec.encryption, "")
        if spec.encryption == "tenant" and not key:
            raise InvalidInput("the site has no key for its disks", problems=[Problem("data_disk.encryption", "set the CMK id in Cloud Setup first")])
        return {"Encrypted": spec.encryption != "none", **({"KmsKeyId": key} if key else {})}


def _generation(volume: dict[str, Any]) -> int:
    text = told(volume).get(GENERATION, "1")
    return int(text) if text.isdigit() else 1


def _iops(number: int | None) -> dict[str, int]:
    return {"Iops": number} if number else {}


def _attachment(volume: dict[str, Any], instance_id: str, *states: str) -> dict[str, Any] | None:
    wanted = states or ("attaching", "attached", "busy")
    found: Sequence[dict[str, Any]] = volume.get("Attachments", ())
    return next((one for one in found if one["InstanceId"] == instance_id and one.get("State") in wanted), None)
