"""An account to work in: a moto server with the proxy before it, a network, an image, a key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

from fleet_tui.backend.cloud.session import Access, Session
from fleet_tui.backend.providers.aws_region import Terms
from tests.cloud.proxy import Proxy

REGION = "eu-west-1"
KEY_ID, SECRET = "AKIATESTTESTTESTTEST", "a secret that is never shown"
ACCOUNT = "123456789012"
IMAGE = "ami-03cf127a"
"""One that moto has."""


class CloudAccount:
    """What a person would have set up there before the site comes."""

    def __init__(self, proxy: Proxy, site: str, cidr: str) -> None:
        self.proxy, self.site = proxy, site
        self.session = Session(Access(REGION, "keypair", access_key_id=KEY_ID, secret_access_key=SECRET, endpoint=proxy.endpoint))
        self.vpc = self.ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
        self.subnets = tuple(
            self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"{cidr}.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]["SubnetId"]
            for number, zone in enumerate("ab")
        )
        self.image = IMAGE

    def sdk(self, service: str) -> Any:
        """A person's own client, through the proxy too."""
        return boto3.client(
            service, region_name=REGION, endpoint_url=self.proxy.endpoint, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
        )

    @cached_property
    def ec2(self) -> Any:
        return self.sdk("ec2")

    def terms(self) -> Terms:
        return Terms(self.session, self.site, self.image, "t3.medium", regions=(REGION,))

    def key(self) -> str:
        arn: str = self.sdk("kms").create_key(Description="test", KeyUsage="ENCRYPT_DECRYPT", KeySpec="SYMMETRIC_DEFAULT")["KeyMetadata"]["Arn"]
        return arn

    def _every(self, verb: str, key: str) -> list[Any]:
        """Of the site, on whatever page."""
        pages = self.ec2.get_paginator(verb).paginate(Filters=[{"Name": "tag:fleet:site", "Values": [self.site]}])
        return [one for page in pages for one in page[key]]

    def census(self) -> dict[str, list[str]]:
        """Everything in the account that carries the site's tag and still costs or counts, by kind."""
        volumes = self._every("describe_volumes", "Volumes")
        disks = [one for one in volumes if any(tag["Key"] == "fleet:disk" for tag in one["Tags"])]
        instances = [one for found in self._every("describe_instances", "Reservations") for one in found["Instances"]]
        by = [{"Name": "tag:fleet:site", "Values": [self.site]}]
        found = {
            "instances": [one["InstanceId"] for one in instances if one["State"]["Name"] not in ("terminated", "shutting-down")],
            "volumes": [one["VolumeId"] for one in disks],
            "others": [one["VolumeId"] for one in volumes if one not in disks],
            "cards": [one["NetworkInterfaceId"] for one in self._every("describe_network_interfaces", "NetworkInterfaces")],
            "groups": [one["GroupId"] for one in self._every("describe_security_groups", "SecurityGroups")],
            "addresses": [one["PublicIp"] for one in self.ec2.describe_addresses(Filters=by)["Addresses"]],
            "snapshots": [one["SnapshotId"] for one in self._every("describe_snapshots", "Snapshots")],
        }
        return {kind: names for kind, names in found.items() if names}


@contextmanager
def cloud_account(moto: int, content: Path, site: str = "site-test", cidr: str = "10.20") -> Iterator[CloudAccount]:
    """``cidr``: first two numbers of its addresses; ``127.20`` where something is really to listen there."""
    content.mkdir(parents=True, exist_ok=True)
    proxy = Proxy(moto, content)
    proxy.start()
    try:
        yield CloudAccount(proxy, site, cidr)
    finally:
        proxy.stop()
