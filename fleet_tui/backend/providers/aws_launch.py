"""How an EC2 instance is begun: from what image, of what type, with what rights, and what of the cloud it may see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_tui.backend.errors import FleetError, InvalidInput, NotFound, Problem
from fleet_tui.backend.providers import MachineSpec
from fleet_tui.backend.providers.aws_region import Region, client_token, specification, told

_ALIAS = "resolve:ssm:"
_MARKS = ("fleet:machine", "fleet:instance", "fleet:operation", "fleet:site")
LAUNCH, PROFILE = "fleet:launch", "fleet:profile"
"""On a card: image, root device, its GiB, type, hops to the metadata service, name of the key pair if any; what the machine may do."""
_VALUE = 255
"""Characters that the value of a tag has room for."""


class Launch:
    """Instances of one region."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._ec2 = region.ec2

    def facts(self, spec: MachineSpec) -> dict[str, str]:
        """What the machine is to be, as its card remembers it until it is begun."""
        image, root = self._image(spec.image or self._region.terms.machine_image)
        kind = spec.machine_type or self._region.terms.machine_type
        # Version 2 of the metadata service always; one hop, so that nothing the machine hosts can ask it, unless that is wanted.
        launch = f"{image} {root} {spec.root_disk_gb} {kind} {1 if spec.restrict_metadata else 2} {spec.key_pair}".rstrip()
        if len(launch) > _VALUE:
            problem = Problem("ssh_key_pair", f"is {len(launch) - _VALUE} characters too long")
            raise InvalidInput(f"key pair {spec.key_pair[:60]}… has too long a name", problems=[problem], hint="have one with a shorter name")
        return {"launch": launch, "profile": spec.profile}

    def rehearse(self, facts: Mapping[str, str], subnet: str) -> None:
        """Ask AWS whether it would begin such an instance, without its doing so.

        Raises:
            PermissionDenied: names the permission that is missing.
            InvalidInput: it knows no such type, image or profile.
            NotFound: it knows no such key pair.
        """
        tags = {f"fleet:{name}": value for name, value in facts.items()}
        try:
            self._ec2.call("run_instances", **self._like(tags, {"SubnetId": subnet}), DryRun=True)
        except FleetError as error:
            if error.details.get("aws") != "DryRunOperation":
                raise

    def run(self, card: Mapping[str, Any], token: str, orders: str) -> str:
        """Begin the instance of a card; the same token begins one only."""
        tags = told(card)
        marks = [{"Key": key, "Value": value} for key, value in tags.items() if not key.startswith("fleet:") or key in _MARKS]
        interface = {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": card["NetworkInterfaceId"]}]}
        begun = self._ec2.call(
            "run_instances", **self._like(tags, interface), UserData=orders,
            ClientToken=client_token(self._region.terms.site, tags["fleet:machine"], token),
            TagSpecifications=[specification("instance", marks), specification("volume", marks)],
        )
        return str(begun["Instances"][0]["InstanceId"])

    def start(self, name: str, orders: str) -> str:
        """Start a stopped instance with new orders."""
        self._ec2.call("modify_instance_attribute", InstanceId=name, UserData={"Value": orders.encode()})
        self._ec2.call("start_instances", InstanceIds=[name])
        return name

    def _like(self, tags: Mapping[str, str], network: Mapping[str, Any]) -> dict[str, Any]:
        image, device, size, kind, hops, *pair = tags[LAUNCH].split(maxsplit=5)
        root = {"VolumeSize": int(size), "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
        profile = {"IamInstanceProfile": _profile(tags[PROFILE])} if tags.get(PROFILE) else {}
        return {
            "ImageId": image, "InstanceType": kind, "MinCount": 1, "MaxCount": 1, **network, **profile, **({"KeyName": pair[0]} if pair else {}),
            "BlockDeviceMappings": [{"DeviceName": device, "Ebs": root}],
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": int(hops)},
            "InstanceInitiatedShutdownBehavior": "stop",
        }

    def _image(self, wanted: str) -> tuple[str, str]:
        """(image, name of its root device)."""
        if wanted.startswith(_ALIAS):
            name = wanted[len(_ALIAS):]
            wanted = str(self._region.terms.session.client("ssm", self._region.name).call("get_parameter", Name=name)["Parameter"]["Value"])
        found = self._ec2.call("describe_images", ImageIds=[wanted])["Images"]
        if not found:
            raise NotFound(f"there is no machine image {wanted} in {self._region.name}", hint="choose one: `fleet cloud setup --machine-image`")
        if found[0].get("State", "available") != "available":
            problem = Problem("machine_image", f"is {found[0]['State']}")
            raise InvalidInput(f"machine image {wanted} is {found[0]['State']}", problems=[problem], hint="choose another one")
        return wanted, str(found[0].get("RootDeviceName") or "/dev/xvda")


def _profile(arn: str) -> dict[str, str]:
    return {"Arn": arn} if arn.startswith("arn:") else {"Name": arn}
