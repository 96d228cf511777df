"""Whether what a virtual network names is there in AWS, and fits together (spec 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleet_tui.backend.errors import InvalidInput, NotFound, WrongState
from fleet_tui.backend.providers import Amiss, Placement
from fleet_tui.backend.providers.aws_region import Region

_MISSING = (NotFound, InvalidInput, WrongState)


def survey(region: Region, placement: Placement) -> Sequence[Amiss]:
    """Everything amiss at once; looks only."""
    return tuple(_network(region, placement))


def _network(region: Region, placement: Placement) -> Iterator[Amiss]:
    ec2 = region.ec2
    vpc = placement.vpc_id
    if vpc and not _there(lambda: ec2.call("describe_vpcs", VpcIds=[vpc])["Vpcs"]):
        yield Amiss("vpc_id", f"there is no VPC {vpc} in {region.name}")
    subnets: dict[str, dict[str, Any]] = {}
    for name, wanted in (("subnet_id", placement.subnet_id), ("second_subnet_id", placement.second_subnet_id)):
        if not wanted:
            continue
        found = _there(lambda: ec2.call("describe_subnets", SubnetIds=[wanted])["Subnets"])  # noqa: B023
        if not found:
            yield Amiss(name, f"there is no subnet {wanted} in {region.name}")
            continue
        subnets[name] = found[0]
        if vpc and found[0]["VpcId"] != vpc:
            yield Amiss(name, f"subnet {wanted} is in {found[0]['VpcId']}, not in {vpc}")
        if int(found[0].get("AvailableIpAddressCount", 1)) == 0:
            yield Amiss(name, f"subnet {wanted} has no free address", is_error=False)
    if len(subnets) == 2:
        first, second = subnets["subnet_id"], subnets["second_subnet_id"]
        if first["VpcId"] != second["VpcId"]:
            yield Amiss("second_subnet_id", f"the two subnets are in different VPCs, {first['VpcId']} and {second['VpcId']}")
        if first["AvailabilityZone"] == second["AvailabilityZone"]:
            yield Amiss("second_subnet_id", f"both subnets are in {first['AvailabilityZone']}; the second one is for another zone")
    home = vpc or next((one["VpcId"] for one in subnets.values()), "")
    there: list[dict[str, Any]] = []
    for group in placement.security_groups:
        groups = _there(lambda: ec2.call("describe_security_groups", GroupIds=[group])["SecurityGroups"])  # noqa: B023
        if not groups:
            yield Amiss("security_groups", f"there is no security group {group} in {region.name}")
        elif home and groups[0].get("VpcId") != home:
            yield Amiss("security_groups", f"security group {group} is in {groups[0].get('VpcId')}, not in {home}")
        there += groups
    for port in placement.public_ports if len(there) == len(placement.security_groups) > 0 else ():
        if not any(_lets_in(rule, port) for group in there for rule in group.get("IpPermissions", ())):
            closed = f"{', '.join(placement.security_groups)} {'do' if len(there) > 1 else 'does'} not open TCP port {port} to the internet"
            yield Amiss("security_groups", f"{closed}, where a certificate is proved: add a rule for 0.0.0.0/0", is_error=False)
    yield from _zones(region, placement)


def _lets_in(rule: Mapping[str, Any], port: int) -> bool:
    """Whether a rule of a security group opens a TCP port to everybody. Rules for all protocols name no ports."""
    opens = rule.get("IpProtocol") == "-1" or (rule.get("IpProtocol") == "tcp" and rule.get("FromPort", 0) <= port <= rule.get("ToPort", 65535))
    return opens and any(one.get("CidrIp") == "0.0.0.0/0" for one in rule.get("IpRanges", ()))


def _zones(region: Region, placement: Placement) -> Iterator[Amiss]:
    for name, zone, is_private in (("private_zone_id", placement.private_zone_id, True), ("public_zone_id", placement.public_zone_id, False)):
        if not zone:
            continue
        found = _there(lambda: [region.terms.session.client("route53").call("get_hosted_zone", Id=zone)["HostedZone"]])  # noqa: B023
        if not found:
            yield Amiss(name, f"there is no DNS zone {zone}")
        elif bool(found[0].get("Config", {}).get("PrivateZone")) != is_private:
            yield Amiss(name, f"DNS zone {zone} is {'public' if is_private else 'private'}")


def _there(look: Any) -> list[dict[str, Any]]:
    """What is found; nothing when AWS says that there is none, which it says in several ways.

    Raises:
        FleetError: it was not allowed to look, or could not.
    """
    try:
        found: list[dict[str, Any]] = look()
    except _MISSING:
        return []
    return found
