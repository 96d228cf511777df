"""Names of machines in AWS: address records in Route 53, one in the private zone and one in the public zone of their network.

A name that leads elsewhere is somebody's and never taken over; what was made for a machine is known by its card, which has zones and name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fleet_tui.backend.cloud.session import Client
from fleet_tui.backend.errors import FleetError, InvalidInput, NotFound, WrongState
from fleet_tui.backend.providers import MachineSpec
from fleet_tui.backend.providers.aws_region import Terms, told

TTL_S = 60
ZONES, HOST = "fleet:zones", "fleet:host"
"""On a card: private and public zone, either ``-``; first part of its names."""

Say = Callable[[str], None]


class Names:
    """Records of the account; Route 53 knows no regions."""

    def __init__(self, terms: Terms) -> None:
        self._client: Client = terms.session.client("route53")

    def facts(self, spec: MachineSpec) -> dict[str, str]:
        """What a card must remember, so that the names can be removed with it."""
        place = spec.placement
        if not spec.host_name or not (place.private_zone_id or place.public_zone_id):
            return {}
        return {"zones": f"{place.private_zone_id or '-'} {place.public_zone_id or '-'}", "host": host_label(spec.host_name)}

    def give(self, card: Mapping[str, Any], say: Say) -> None:
        """Have the names of a card lead to its addresses.

        Raises:
            WrongState: one of them leads elsewhere already.
        """
        for zone, address in _wanted(card):
            name = self._name(card, zone)
            there = self._look(zone, name)
            if there == [address]:
                continue
            if there:
                raise WrongState(
                    f"{name} leads to {', '.join(there)} already", hint="give the instance another label, or remove that record", state="taken"
                )
            self._change(zone, "CREATE", name, address)
            say(f"{name} leads to {address}")

    def take(self, card: Mapping[str, Any], say: Say) -> None:
        """Remove the names of a card that lead to it. With its zone a name is gone already.

        Raises:
            PermissionDenied: names the permission; a name that nobody remembers would lead to whoever gets the address next.
        """
        for zone, address in _wanted(card):
            try:
                name = self._name(card, zone)
                if self._look(zone, name) == [address]:
                    self._change(zone, "DELETE", name, address)
                    say(f"removed {name}")
            except NotFound:
                say(f"DNS zone {zone} is gone, and with it the name of {told(card)[HOST]}")

    def shown(self, card: Mapping[str, Any]) -> str:
        """The name people use: the public one where there is one.

        Empty where Route 53 does not tell: a machine can be seen, and removed, whatever became of its names.
        """
        zones = [zone for zone, _ in _wanted(card)]
        try:
            return self._name(card, zones[-1]).rstrip(".") if zones else ""
        except FleetError:
            return ""

    def _name(self, card: Mapping[str, Any], zone: str) -> str:
        if zone not in self._zones:
            self._zones[zone] = str(self._client.call("get_hosted_zone", Id=zone)["HostedZone"]["Name"])
        return f"{told(card)[HOST]}.{self._zones[zone]}"

    def _look(self, zone: str, name: str) -> list[str]:
        """Values of the address record of that name."""
        told = self._client.call("list_resource_record_sets", HostedZoneId=zone, StartRecordName=name, StartRecordType="A", MaxItems="1")
        for record in told["ResourceRecordSets"]:
            if record["Name"].rstrip(".").lower() == name.rstrip(".").lower() and record["Type"] == "A":
                return [value["Value"] for value in record.get("ResourceRecords", ())] or ["an alias"]
        return []

    def _change(self, zone: str, action: str, name: str, address: str) -> None:
        record = {"Name": name, "Type": "A", "TTL": TTL_S, "ResourceRecords": [{"Value": address}]}
        try:
            self._client.call(
                "change_resource_record_sets", HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]}
            )
        except InvalidInput:
            # Another attempt of ours was faster: then all is as it should be.
            if self._look(zone, name) != ([address] if action == "CREATE" else []):
                raise

    _zones: dict[str, str] = {}
    """Names of zones by their ids, which never change."""


def _wanted(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(zone, address), the private one first."""
    public = card.get("Association", {}).get("PublicIp", "")
    zones = told(card).get(ZONES, "- -").split()
    return [(zone, address) for zone, address in zip(zones, (card["PrivateIpAddress"], public), strict=True) if zone != "-" and address]


def host_label(label: str) -> str:
    """A label as the first part of a host name: small letters, digits and dashes, at most 63."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:63].rstrip("-") or "instance"
