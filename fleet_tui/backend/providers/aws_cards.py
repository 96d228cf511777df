"""The network card of a machine in AWS, with everything that hangs on it: its security group, its public address, its names.

The card (an elastic network interface) is made before the machine and removed after it. So a machine has its addresses, and they are in its
certificate and its names, before it starts for the first time; and they stay while it is stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleet_tui.backend.errors import Busy, InUse, NotFound, WrongState
from fleet_tui.backend.providers import MachineSpec
from fleet_tui.backend.providers.aws_region import MACHINE, OPERATION, Region, client_token, specification, told

_CARD_S, _GROUP_S = 180.0, 300.0
ALLOCATION = "fleet:allocation"
"""On a card: the public address that it is to have, when that is one a person reserved."""
_SAME_RULE = "InvalidPermission.Duplicate"
_ANYWHERE = [{"CidrIp": "0.0.0.0/0"}]

Say = Callable[[str], None]


class Cards:
    """Network interfaces, security groups and elastic addresses of one region."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._ec2 = region.ec2

    # --- where -------------------------------------------------------------------------------------------------------

    def subnet(self, spec: MachineSpec, zone: str = "") -> dict[str, Any]:
        """The subnet for a machine: of its network, in the zone where its data disk stands when there is one.

        Raises:
            NotFound: the network's subnet is gone, or there is no default one.
            WrongState: the data disk stands in a zone where the network has none.
        """
        place = spec.placement
        names = [name for name in (place.subnet_id, place.second_subnet_id) if name]
        if names:
            found = self._ec2.call("describe_subnets", SubnetIds=names)["Subnets"]
            found = sorted(found, key=lambda one: names.index(one["SubnetId"]))
        else:
            by = [{"Name": "vpc-id", "Values": [place.vpc_id]}] if place.vpc_id else [{"Name": "default-for-az", "Values": ["true"]}]
            found = sorted(self._ec2.pages("describe_subnets", "Subnets", Filters=by), key=lambda one: (one["AvailabilityZone"], one["SubnetId"]))
        if not found:
            raise NotFound(f"there is no subnet to use in {self._region.name}", hint="give the virtual network a subnet")
        fitting = [one for one in found if not zone or one["AvailabilityZone"] == zone]
        if not fitting:
            zones = ", ".join(one["AvailabilityZone"] for one in found)
            raise WrongState(
                f"the data disk {spec.disk_id} stands in {zone}, the virtual network has subnets in {zones}",
                hint="the subnets of a virtual network are fixed while instances are linked to it; what is on the disk can be copied in the cloud",
                state="elsewhere",
            )
        subnet: dict[str, Any] = fitting[0]
        return subnet

    # --- cards -------------------------------------------------------------------------------------------------------

    def make(self, spec: MachineSpec, subnet: Mapping[str, Any], facts: Mapping[str, str], say: Say) -> dict[str, Any]:
        """The card, with what the machine is to be on its tags; the same token makes one only."""
        allocation = self.reserved(spec.public_ip_allocation)["AllocationId"] if spec.public_ip_allocation else ""
        groups = list(spec.placement.security_groups) or [self._group(spec, subnet["VpcId"], say)]
        tags = self._region.tags(
            label=spec.label, own=spec.tags, machine=spec.id, instance=spec.instance_id, operation=spec.token, allocation=allocation, **facts,
        )
        made = self._ec2.call(
            "create_network_interface", SubnetId=subnet["SubnetId"], Groups=groups, Description=f"fleet {spec.label} {spec.id}"[:255],
            ClientToken=client_token(self._region.terms.site, spec.id, spec.token), TagSpecifications=[specification("network-interface", tags)],
        )["NetworkInterface"]
        name = made["NetworkInterfaceId"]
        say(f"made network interface {name}, {made['PrivateIpAddress']} in {subnet['AvailabilityZone']}")
        return self._region.until(lambda: self._ready(name), f"network interface {name} is ready", _CARD_S)

    def again(self, name: str) -> dict[str, Any]:
        found: Sequence[dict[str, Any]] = self._ec2.call("describe_network_interfaces", NetworkInterfaceIds=[name])["NetworkInterfaces"]
        return found[0]

    def _ready(self, name: str) -> dict[str, Any] | None:
        card = self.again(name)
        return card if card["Status"] in ("available", "in-use") else None

    def remove(self, card: Mapping[str, Any]) -> None:
        """Once nothing uses it any more."""
        name = str(card["NetworkInterfaceId"])

        def gone() -> bool:
            try:
                self._ec2.call("delete_network_interface", NetworkInterfaceId=name)
            except NotFound:
                return True
            except (Busy, WrongState):
                return False
            return True

        self._region.until(gone, f"network interface {name} is given back", _CARD_S)

    # --- groups ------------------------------------------------------------------------------------------------------

    def _group(self, spec: MachineSpec, vpc_id: str, say: Say) -> str:
        """A security group for this machine alone: its ports open to whom the network lets in, everything open to where it lets out."""
        name = self._group_name(spec.id)
        group = self._find_group(spec.id)
        if group is None:
            tags = self._region.tags(label=spec.label, own=spec.tags, machine=spec.id, instance=spec.instance_id, operation=spec.token)
            # Its name is its client token: one that was made by a call whose answer got lost is found by its tags.
            self._once("InvalidGroup.Duplicate", lambda: self._ec2.call(
                "create_security_group", GroupName=name, Description=f"fleet {spec.id}", VpcId=vpc_id,
                TagSpecifications=[specification("security-group", tags)],
            ))
            group = self._region.until(lambda: self._find_group(spec.id), f"security group {name} is there", _GROUP_S)
            say(f"made security group {group['GroupId']}")
        self._open(group, spec, vpc_id)
        return str(group["GroupId"])

    def _open(self, group: Mapping[str, Any], spec: MachineSpec, vpc_id: str) -> None:
        access = spec.placement.internet_access
        inside = [{"CidrIp": self._cidr(vpc_id)}]
        ports = {(rule.get("FromPort"), rule.get("ToPort")) for rule in group.get("IpPermissions", ())}
        wanted = [
            {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": _ANYWHERE if access == "yes" else inside}
            for port in dict.fromkeys(spec.ports) if (port, port) not in ports
        ]
        if wanted:
            self._once(_SAME_RULE, lambda: self._ec2.call("authorize_security_group_ingress", GroupId=group["GroupId"], IpPermissions=wanted))
        if access == "no":
            ranges = [r for rule in group.get("IpPermissionsEgress", ()) for r in rule.get("IpRanges", ())]
            self._once(_SAME_RULE, lambda: self._ec2.call(
                "authorize_security_group_egress", GroupId=group["GroupId"], IpPermissions=[{"IpProtocol": "-1", "IpRanges": inside}]
            ))
            if any(found.get("CidrIp") == "0.0.0.0/0" for found in ranges):
                rule = {"IpProtocol": "-1", "IpRanges": _ANYWHERE}
                self._ec2.call("revoke_security_group_egress", GroupId=group["GroupId"], IpPermissions=[rule])

    @staticmethod
    def _once(already: str, act: Callable[[], Any]) -> None:
        """What is there already is there."""
        try:
            act()
        except WrongState as error:
            if error.details.get("aws") != already:
                raise

    def _cidr(self, vpc_id: str) -> str:
        return str(self._ec2.call("describe_vpcs", VpcIds=[vpc_id])["Vpcs"][0]["CidrBlock"])

    def _group_name(self, machine_id: str) -> str:
        return f"fleet-{self._region.terms.site}-{machine_id}"[:255]

    def _find_group(self, machine_id: str) -> dict[str, Any] | None:
        return next(iter(self._region.find("describe_security_groups", "SecurityGroups", machine=machine_id)), None)

    def remove_groups(self, machine_id: str) -> None:
        for group in self._region.find("describe_security_groups", "SecurityGroups", machine=machine_id):
            name = group["GroupId"]
            self._region.until(lambda: self._dropped(name), f"security group {name} is free", _GROUP_S)  # noqa: B023

    def _dropped(self, name: str) -> bool:
        try:
            self._ec2.call("delete_security_group", GroupId=name)
        except NotFound:
            return True
        except (Busy, WrongState, InUse):
            return False
        return True

    # --- public addresses --------------------------------------------------------------------------------------------

    def give_address(self, card: dict[str, Any], spec: MachineSpec, say: Say) -> dict[str, Any]:
        """The public address the machine is to have, if any: the one a person reserved, or one that comes and goes with it.

        Raises:
            Busy: the reserved one is somebody else's.
        """
        name = str(card["NetworkInterfaceId"])
        if spec.public_ip_allocation:
            address = self.reserved(spec.public_ip_allocation)
            holder = address.get("NetworkInterfaceId") or address.get("InstanceId")
            if holder and holder != name:
                words = f"public address {address['PublicIp']} belongs to {holder}"
                raise Busy(words, hint="choose another one, or give it back there", holders=[holder])
        elif spec.placement.assign_public_ip:
            address = self._own_address(spec, say)
        else:
            return card
        if address.get("NetworkInterfaceId") != name:
            self._ec2.call("associate_address", AllocationId=address["AllocationId"], NetworkInterfaceId=name, AllowReassociation=False)
            say(f"public address {address['PublicIp']}")
        return self._region.until(lambda: self._addressed(name, address["PublicIp"]), f"{address['PublicIp']} is at {name}", _CARD_S)

    def reserved(self, wanted: str) -> dict[str, Any]:
        """The address of that allocation id, or the address itself.

        Raises:
            NotFound: the account has no such address in this region.
        """
        by: dict[str, Any] = {"AllocationIds": [wanted]} if wanted.startswith("eipalloc-") else {"PublicIps": [wanted]}
        found = self._ec2.call("describe_addresses", **by)["Addresses"]
        if not found:
            raise NotFound(f"there is no reserved address {wanted} in {self._region.name}", hint="reserve one there, or choose another one")
        address: dict[str, Any] = found[0]
        return address

    def _own_address(self, spec: MachineSpec, say: Say) -> dict[str, Any]:
        """AWS takes no client token here, so more than one may have been made by a call whose answer was lost: the rest is given back."""
        if not (found := self._addresses(spec.id)):
            tags = self._region.tags(label=spec.label, own=spec.tags, machine=spec.id, instance=spec.instance_id, operation=spec.token)
            self._ec2.call("allocate_address", Domain="vpc", TagSpecifications=[specification("elastic-ip", tags)])
            found = self._region.until(lambda: self._addresses(spec.id), "its public address is there", _CARD_S)
        first, *extra = sorted(found, key=lambda one: (not one.get("NetworkInterfaceId"), one["AllocationId"]))
        for one in extra:
            self._ec2.call("release_address", AllocationId=one["AllocationId"])
        return first

    def _addressed(self, name: str, address: str) -> dict[str, Any] | None:
        card = self.again(name)
        return card if card.get("Association", {}).get("PublicIp") == address else None

    def _addresses(self, machine_id: str) -> list[dict[str, Any]]:
        by = [{"Name": "tag:fleet:site", "Values": [self._region.terms.site]}, {"Name": f"tag:{MACHINE}", "Values": [machine_id]}]
        found: list[dict[str, Any]] = self._ec2.call("describe_addresses", Filters=by)["Addresses"]
        return found

    def take_addresses(self, machine_id: str, card: Mapping[str, Any] | None, say: Say) -> None:
        """Give back what was made for the machine; one that a person reserved is only taken off."""
        reserved = told(card).get(ALLOCATION, "") if card else ""
        if card and reserved and (held := card.get("Association", {})).get("AllocationId") == reserved:
            self._off(held)
        for address in self._addresses(machine_id):
            self._off(address)
            try:
                self._ec2.call("release_address", AllocationId=address["AllocationId"])
                say(f"gave public address {address['PublicIp']} back")
            except NotFound:
                continue

    def _off(self, address: Mapping[str, Any]) -> None:
        if address.get("AssociationId"):
            try:
                self._ec2.call("disassociate_address", AssociationId=address["AssociationId"])
            except NotFound:
                return


def made_by(card: Mapping[str, Any], token: str) -> bool:
    """Whether the card was made for that client token."""
    return told(card).get(OPERATION) == token
