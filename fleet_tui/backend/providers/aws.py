"""AWS as a place for instances.

A machine is a network card with its tags from the moment it is made; the EC2 instance comes with its first boot, which is also the moment its
one-time token is given out, and is stopped and started under the same card. Everything is found by its tags and made with a client token
where AWS takes one, so that each verb can be repeated after any crash; what is left of a machine is removed by its tags when it goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fleet_tui.backend.cloud.keys import AwsSecrets
from fleet_tui.backend.errors import Busy, FleetError, InvalidInput, NoCapacity, NotFound, PermissionDenied, Problem, TimedOut, WrongState
from fleet_tui.backend.providers import (
    ANY_DISK,
    Amiss,
    BootConfiguration,
    DiskInfo,
    DiskSpec,
    MachineInfo,
    MachineSpec,
    MachineState,
    Placement,
    SnapshotInfo,
)
from fleet_tui.backend.providers.aws_cards import Cards, made_by
from fleet_tui.backend.providers.aws_disks import Disks
from fleet_tui.backend.providers.aws_launch import Launch
from fleet_tui.backend.providers.aws_names import Names
from fleet_tui.backend.providers.aws_region import DISK, MACHINE, Region, Terms, told
from fleet_tui.backend.providers.aws_survey import survey
from fleet_tui.backend.providers.user_data import user_data
from fleet_tui.backend.telemetry import AgentLine

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,100}\Z")
_SOON_S, _BOOT_S, _STOP_S, _GONE_S = 30.0, 600.0, 180.0, 600.0
_STATES: Mapping[str, MachineState] = {
    "pending": MachineState.ON, "running": MachineState.ON, "stopping": MachineState.BROKEN, "stopped": MachineState.OFF,
}

Say = Callable[[str], None]
T = TypeVar("T")


class AwsProvider:
    """The provider protocol on EC2, EBS and Route 53.

    Args:
        terms: the account as it is set up now; raises :class:`NotFound` when there is none.
        pace: factor on every pause between two looks.
    """

    name = "aws"
    is_elsewhere = True
    look_s = 10.0
    copies_over_time = False

    def __init__(self, terms: Callable[[], Terms], pace: float = 1.0) -> None:
        self._terms, self._pace = terms, pace
        self._ailing: set[str] = set()
        """Regions that did not answer when they were asked last; they are asked after the others."""

    # --- disks -----------------------------------------------------------------------------------------------------

    def ensure_disk(self, disk_id: str, size_gb: int, token: str, say: Say, spec: DiskSpec = ANY_DISK) -> DiskInfo:
        found = self._disk(disk_id)
        if found is None:
            region = self._region(spec.placement.region)
            place = MachineSpec("", spec.instance_id, spec.label, token, placement=spec.placement, disk_id=disk_id)
            zone = Cards(region).subnet(place)["AvailabilityZone"]
            disks = Disks(region)
            return disks.info(disks.make(disk_id, size_gb, token, zone, spec, say))
        disks, volume = found
        if holder := disks.holder(volume):
            raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="deprovision that first")
        volume = disks.grow(volume, size_gb, say)
        say(f"found data disk {disk_id}, {volume['Size']} GB, {volume['VolumeId']}")
        return disks.info(volume)

    def grow_disk(self, disk_id: str, size_gb: int, say: Say) -> DiskInfo:
        disks, volume = self._known_disk(disk_id)
        return disks.info(disks.grow(volume, size_gb, say))

    def find_disk(self, disk_id: str) -> DiskInfo | None:
        found = self._disk(disk_id)
        return found[0].info(found[1]) if found else None

    def delete_disk(self, disk_id: str) -> None:
        found = self._disk(disk_id)
        if found is not None:
            disks, volume = found
            if holder := disks.holder(volume):
                raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="deprovision the instance first")
            disks.delete(disk_id)
        else:  # copies of it that a restore began
            self._everywhere(lambda region: Disks(region).delete(disk_id))

    def attach_disk(self, machine_id: str, disk_id: str) -> None:
        region, card = self._known_machine(machine_id)
        disks, volume = self._known_disk(disk_id)
        holder = disks.holder(volume)
        if holder not in (None, machine_id):
            raise Busy(f"data disk {disk_id} is attached to machine {holder}", holders=[holder], hint="detach it there first")
        if volume["AvailabilityZone"] != card["AvailabilityZone"]:
            raise WrongState(
                f"data disk {disk_id} stands in {volume['AvailabilityZone']}, machine {machine_id} in {card['AvailabilityZone']}",
                hint="the subnets of a virtual network are fixed while instances are linked to it; what is on the disk can be copied in the cloud",
                state="elsewhere",
            )
        others = [told(one)[DISK] for one in disks.of_machine(machine_id) if told(one)[DISK] != disk_id]
        if others:
            raise Busy(f"machine {machine_id} has data disk {others[0]} attached", holders=others, hint="detach that first")
        if told(volume).get(MACHINE) != machine_id:
            region.tag(volume["VolumeId"], machine=machine_id)
            region.until(lambda: disks.of_machine(machine_id), f"volume {volume['VolumeId']} carries its tag", _SOON_S)
        instance = region.instance(machine_id)
        if instance is not None:
            disks.attach(volume, instance["InstanceId"])

    def detach_disk(self, machine_id: str, disk_id: str) -> None:
        found = self._disk(_checked(disk_id))
        if found is None or found[0].holder(found[1]) != _checked(machine_id):
            return
        disks, volume = found
        instance = disks.region.instance(machine_id)
        if instance is not None and instance["State"]["Name"] in ("pending", "running"):
            holders = [instance["InstanceId"]]
            raise WrongState(f"the data disk is in use by {holders[0]}", hint="stop the machine first", holders=holders)
        disks.detach(volume)

    def snapshot_disk(self, disk_id: str, snapshot_id: str, say: Say) -> SnapshotInfo:
        disks, volume = self._known_disk(disk_id)
        return disks.snapshot(volume, _checked(snapshot_id), say)

    def restore_disk(self, disk_id: str, snapshot_id: str, say: Say, token: str = "") -> None:
        disks, volume = self._known_disk(disk_id)
        disks.restore(volume, _checked(snapshot_id), say, token)

    def delete_snapshot(self, snapshot_id: str, region: str = "") -> None:
        """In its region, which no virtual network may name any more."""
        _checked(snapshot_id)
        if region:
            Disks(self._region(region)).delete_snapshot(snapshot_id)
        else:
            self._everywhere(lambda place: Disks(place).delete_snapshot(snapshot_id))

    # --- machines ----------------------------------------------------------------------------------------------------

    def create_machine(self, spec: MachineSpec, say: Say) -> MachineInfo:
        _checked(spec.id)
        there = self._region(spec.placement.region)  # and nowhere else: its network keeps its region while an instance has it
        card = there.interface(spec.id)
        found = None if card is None else (there, card)
        if found is not None and not made_by(found[1], spec.token):
            raise WrongState(
                f"machine {spec.id} exists already and was made by something else", hint="terminate it first", state="present"
            )
        region, card = found or self._make_card(spec, say)
        card = Cards(region).give_address(card, spec, say)
        Names(region.terms).give(card, say)
        return self._info(region, card, region.instance(spec.id))

    def _make_card(self, spec: MachineSpec, say: Say) -> tuple[Region, dict[str, Any]]:
        """The card, after it was asked whether a machine could be started with it: what is not allowed is known before anything is made."""
        region = self._region(spec.placement.region)
        disk = self._disk(spec.disk_id) if spec.disk_id else None
        cards, launch = Cards(region), Launch(region)
        subnet = cards.subnet(spec, disk[1]["AvailabilityZone"] if disk else "")
        facts = launch.facts(spec)
        launch.rehearse(facts, subnet["SubnetId"])
        return region, cards.make(spec, subnet, {**facts, **Names(region.terms).facts(spec)}, say)

    def find_machine(self, machine_id: str) -> MachineInfo:
        found = self._machine(_checked(machine_id))
        if found is None:
            return MachineInfo(machine_id, MachineState.ABSENT)
        region, card = found
        return self._info(region, card, region.instance(machine_id))

    def boot(self, machine_id: str, configuration: BootConfiguration, bundle: str, say: Say) -> None:
        region, card = self._known_machine(machine_id)
        if bundle and not Path(bundle).is_file():
            raise NotFound(f"the application bundle {bundle} is gone", hint="register the image again")
        disks = Disks(region).of_machine(machine_id)
        orders = user_data(configuration, disks[0]["VolumeId"] if disks else "")
        launch = Launch(region)
        instance = region.instance(machine_id)
        if instance is not None and instance["State"]["Name"] == "stopping":
            instance = self._settled(region, instance["InstanceId"], "stopped", _STOP_S)
        if instance is None:
            name = launch.run(card, configuration.token, orders)
            say(f"made {name} for machine {machine_id}")
        elif instance["State"]["Name"] == "stopped":
            name = launch.start(instance["InstanceId"], orders)
        else:
            name = instance["InstanceId"]
            say(f"machine {machine_id} runs already, {name}")
        self._settled(region, name, "running", _BOOT_S)
        for volume in disks:
            Disks(region).attach(volume, name)
        say(f"booted machine {machine_id}, {name}")

    def shut_down(self, machine_id: str, grace_s: float, say: Say) -> None:
        region = self._standing(_checked(machine_id))
        instance = region.instance(machine_id) if region is not None else None
        if region is None or instance is None or instance["State"]["Name"] == "stopped":
            return
        name = instance["InstanceId"]
        if instance["State"]["Name"] == "pending":
            self._settled(region, name, "running", _BOOT_S)
        region.ec2.call("stop_instances", InstanceIds=[name])
        try:
            self._settled(region, name, "stopped", max(grace_s, _STOP_S))
        except TimedOut:
            say(f"{name} did not stop within {max(grace_s, _STOP_S):.0f} s and is forced")
            region.ec2.call("stop_instances", InstanceIds=[name], Force=True)
            self._settled(region, name, "stopped", _GONE_S)

    def terminate(self, machine_id: str, say: Say) -> None:
        if (region := self._standing(_checked(machine_id))) is not None:
            self._terminate(region, machine_id, say)
        else:  # what one of which the card is gone left, or what came before the card
            self._everywhere(lambda region: self._terminate(region, machine_id, say))

    def _terminate(self, region: Region, machine_id: str, say: Say) -> None:
        """Everything that carries the machine's tag, in the order in which one needs the other."""
        cards, disks, card = Cards(region), Disks(region), region.interface(machine_id)
        for instance in region.instances(machine=machine_id):
            name = instance["InstanceId"]
            for attached in instance.get("BlockDeviceMappings", ()):
                if attached["DeviceName"] != instance.get("RootDeviceName") and attached.get("Ebs", {}).get("DeleteOnTermination"):
                    disks.protect(name, attached["DeviceName"])
            region.ec2.call("terminate_instances", InstanceIds=[name])
            region.until(lambda: self._is_gone(region, name), f"{name} is terminated", _GONE_S)  # noqa: B023
        for volume in disks.of_machine(machine_id):
            disks.detach(volume)
        if card is not None:
            Names(region.terms).take(card, say)
        cards.take_addresses(machine_id, card, say)
        for left in region.interfaces(machine=machine_id):
            cards.remove(left)
        cards.remove_groups(machine_id)
        if card is not None:
            say(f"removed machine {machine_id} and its OS disk")

    def unsent_lines(self, machine_id: str) -> Iterator[tuple[str, Sequence[AgentLine]]]:
        """None: its OS disk cannot be looked into from here."""
        return iter(())

    def machines(self) -> Sequence[MachineInfo]:
        found = []
        for region in self._regions():
            instances = {told(one).get(MACHINE): one for one in region.instances()}
            found += [self._info(region, card, instances.get(told(card)[MACHINE])) for card in region.interfaces() if MACHINE in told(card)]
        return tuple(sorted(found, key=lambda machine: machine.id))

    def disks(self) -> Sequence[DiskInfo]:
        return tuple(disk for region in self._regions() for disk in Disks(region).all())

    def snapshots(self) -> Sequence[SnapshotInfo]:
        return tuple(snapshot for region in self._regions() for snapshot in Disks(region).all_snapshots())

    def measure_host(self) -> Mapping[str, Any]:
        return {}

    def survey(self, placement: Placement) -> Sequence[Amiss]:
        return survey(self._region(placement.region), placement)

    def reserved_address(self, allocation: str, region: str) -> str:
        return str(Cards(self._region(region)).reserved(allocation)["PublicIp"])

    def secret_problem(self, secret_id: str, region: str) -> str:
        return AwsSecrets(self._terms().session).problem(secret_id, region)

    # --- inside --------------------------------------------------------------------------------------------------------

    def _regions(self) -> Iterator[Region]:
        terms = self._terms()
        names = dict.fromkeys(terms.regions or (terms.session.access.region,))
        return (Region(terms, name, self._pace) for name in sorted(names, key=lambda name: name in self._ailing))

    def _first(self, look: Callable[[Region], T | None]) -> T | None:
        """What the first region has that has it. One that does not answer matters only when no other does: it may be there."""
        away: FleetError | None = None
        for region in self._regions():
            try:
                found = look(region)
            except FleetError as error:
                self._ailing.add(region.name)
                away = away or error
                continue
            self._ailing.discard(region.name)
            if found is not None:
                return found
        if away is not None:
            raise away
        return None

    def _everywhere(self, act: Callable[[Region], None]) -> None:
        """In each region, also behind one that does not answer; which is told at the end."""
        self._first(act)

    def _standing(self, machine_id: str) -> Region | None:
        """The region in which something of a machine is: its card, or an instance whose card is gone."""
        return self._first(lambda region: region if region.interface(machine_id) or region.instance(machine_id) else None)

    def _region(self, name: str) -> Region:
        terms = self._terms()
        return Region(terms, name or terms.session.access.region, self._pace)

    def _disk(self, disk_id: str) -> tuple[Disks, dict[str, Any]] | None:
        _checked(disk_id)

        def look(region: Region) -> tuple[Disks, dict[str, Any]] | None:
            disks = Disks(region)
            volume = disks.find(disk_id)
            return None if volume is None else (disks, volume)

        return self._first(look)

    def _known_disk(self, disk_id: str) -> tuple[Disks, dict[str, Any]]:
        found = self._disk(disk_id)
        if found is None:
            raise NotFound(f"there is no data disk {disk_id}", hint="provision the instance")
        return found

    def _machine(self, machine_id: str) -> tuple[Region, dict[str, Any]] | None:
        def look(region: Region) -> tuple[Region, dict[str, Any]] | None:
            card = region.interface(machine_id)
            return None if card is None else (region, card)

        return self._first(look)

    def _known_machine(self, machine_id: str) -> tuple[Region, dict[str, Any]]:
        found = self._machine(_checked(machine_id))
        if found is None:
            raise NotFound(f"there is no machine {machine_id}", hint="reprovision the instance: its data disk is kept")
        return found

    def _info(self, region: Region, card: dict[str, Any], instance: dict[str, Any] | None) -> MachineInfo:
        state = MachineState.OFF if instance is None else _STATES[instance["State"]["Name"]]
        return MachineInfo(
            told(card)[MACHINE], state, private_ip=card["PrivateIpAddress"], public_ip=card.get("Association", {}).get("PublicIp", ""),
            host_name=Names(region.terms).shown(card), path=instance["InstanceId"] if instance else card["NetworkInterfaceId"],
            host=card["AvailabilityZone"],
        )

    def _settled(self, region: Region, name: str, state: str, limit_s: float) -> dict[str, Any]:
        """The instance once it is in that state.

        Raises:
            NoCapacity: AWS gave up on it; says why.
        """
        def look() -> dict[str, Any] | None:
            instance = _described(region, name)
            if instance is not None and instance["State"]["Name"] in ("terminated", "shutting-down"):
                raise _ended(instance)
            return instance if instance is not None and instance["State"]["Name"] == state else None

        return region.until(look, f"{name} is {state}", limit_s)

    def _is_gone(self, region: Region, name: str) -> bool:
        try:
            instance = _described(region, name)
        except NotFound:
            return True
        return instance is None or instance["State"]["Name"] == "terminated"


def _described(region: Region, name: str) -> dict[str, Any] | None:
    found = region.ec2.call("describe_instances", InstanceIds=[name])["Reservations"]
    return next((one for reservation in found for one in reservation["Instances"]), None)


def _ended(instance: Mapping[str, Any]) -> FleetError:
    """Why AWS ended an instance before it ran."""
    reason = instance.get("StateReason", {})
    words = f"AWS ended {instance['InstanceId']}: {reason.get('Message') or reason.get('Code') or 'no reason given'}"
    if "Insufficient" in str(reason.get("Code")) or "Limit" in str(reason.get("Code")):
        return NoCapacity(words, hint="choose another machine type or zone, or have the limit raised")
    if "KMS" in str(reason) or "kms" in str(reason):
        return PermissionDenied(words, hint="let the site's role use the key of the disk", permission="kms:CreateGrant")
    return WrongState(words, hint="look at it in the cloud, then retry the start-up", state="terminated")


def _checked(name: str) -> str:
    """The id itself, if it can be one."""
    if not _ID.match(name):
        raise InvalidInput(f"{name!r} cannot be an id here", problems=[Problem("id", "letters, digits, dash, underscore")])
    return name
