"""Instances on AWS, as far as moto is one: their whole life, and ``kill -9`` of ``fleetd`` at every step boundary and in every change it makes there.

Nothing that costs may be lost track of: there is never a second machine or disk, the disk's content survives, and what exists is owned.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from fleet_tui.backend import cloud
from fleet_tui.backend import instances as i
from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.instances.profiles import CreateTemplate, CreateVirtualNetwork
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations import ListOperations, OperationRecord, OperationRequest, OperationState
from tests.cloud.account import IMAGE, KEY_ID, REGION, SECRET, CloudAccount, cloud_account
from tests.cloud.hypervisor import Hypervisor
from tests.journeys.site import PARTS, Site, marked, markers, site, tasks
from tests.waiting import until

TIMEOUTS = "stop_s=8,health_interval_s=0.5,health_s=30,action_s=60,start_s=30,hello_s=120"
FLAGS = ("--heartbeat", "0.5", "--dead-after", "2", "--timeouts", TIMEOUTS)
COUNTING = 'echo "$FLEET_MACHINE" >> "$FLEET_DATA/boots"'


@dataclass
class Cloud:
    """A site, its account, and the machines in it."""

    site: Site
    account: CloudAccount
    hypervisor: Hypervisor

    def disk(self, label: str) -> Path:
        """Content of an instance's data disk, wherever its volume is now."""
        (volume,) = self.volumes(label)
        return self.account.proxy.content / volume

    def volumes(self, label: str) -> list[str]:
        name = f"d-{self.site.show(label).id[2:]}"
        found = self.account.ec2.describe_volumes(Filters=[{"Name": "tag:fleet:disk", "Values": [name]}])["Volumes"]
        return [volume["VolumeId"] for volume in found]

    def get(self, label: str) -> str:
        url = self.site.show(label).url
        assert url is not None
        with urlopen(f"http://127.0.0.1:{url.rstrip('/').rpartition(':')[2]}/", timeout=10) as answer:
            return str(answer.read().decode())

    def story(self, label: str) -> str:
        return f"{self.site.story(label)}\n{self.hypervisor.console()}\n{self.hypervisor.trouble}\n{self.account.census()}"

    def do(self, request: OperationRequest) -> OperationRecord:
        ended = self.site.ended(self.site.submit(request).id, 240.0)
        assert ended.state is OperationState.SUCCEEDED, f"{ended}\n{self.story(ended.target)}"
        return ended


@pytest.fixture
def cloud_site(moto: int, tmp_path: Path) -> Iterator[Cloud]:
    """One daemon on SQLite with a door on the network, an account, a virtual network in it, and one instance that is saved."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with cloud_account(moto, tmp_path / "content", cidr="127.20") as account:
        hypervisor = Hypervisor(moto, tmp_path / "machines", account.proxy.content, lambda: account.site)
        hypervisor.start()
        try:
            with site(flags=(*FLAGS, "--agent-listen", f"127.0.0.1:{port}"), variables={"FLEET_TEST_CLOUD": "1"}) as found:
                account.site = set_up(found, account)
                found.image("witness", install='echo once >> "$FLEET_DATA/installs"; sh install.sh')
                pair = account.ec2.create_key_pair(KeyName=f"pair of {account.site}")["KeyName"]
                found.call(CreateTemplate("witness", {"application": "witness", "ssh_key_pair": pair}, (tasks("count", COUNTING),)))
                found.create("web-1", network="aws", template="witness", cloud_tags=["team=core"], data_disk__size_max_gb=100)
                yield Cloud(found, account, hypervisor)
        finally:
            hypervisor.stop()


def set_up(site: Site, account: CloudAccount) -> str:
    """Gives the site's tag."""
    record: cloud.CloudRecord = site.call(cloud.SetUpCloud(
        region=REGION, authentication="keypair", access_key_id=KEY_ID, secret_access_key=SECRET, endpoint=account.proxy.endpoint, machine_image=IMAGE,
    ))
    first, second = account.subnets[:2]
    site.call(CreateVirtualNetwork("aws", {"provider": "aws", "subnet_id": first, "second_subnet_id": second, "assign_public_ip": True}))
    return record.site


def check(found: Cloud, kept: dict[str, bytes], made: list[OperationRecord]) -> None:
    """It runs; nothing was lost, made twice or left over."""
    record = found.site.show("web-1")
    assert (record.state, record.operation_id) == (InstanceState.RUNNING, None), found.story("web-1")
    until(lambda: found.site.show("web-1").health is Health.OK, 30.0)
    assert "Hello from web-1" in found.get("web-1")
    assert markers(found.disk("web-1")) == kept
    assert (found.disk("web-1") / "application/installs").read_text() == "once\n"
    machines = [f"vm-{one.id.removeprefix('o-')}" for one in made]
    assert (found.disk("web-1") / "application/boots").read_text().split() == machines, "each machine began its start-up once"
    assert len(found.hypervisor.born) == len(machines), f"one instance for each machine: {found.hypervisor.born} {machines}"
    census = found.account.census()
    owned = {"instances": 1, "volumes": 1, "others": 1, "cards": 1, "groups": 1, "addresses": 1}
    assert {kind: len(names) for kind, names in census.items()} == owned, census
    (reservation,) = found.account.ec2.describe_instances(InstanceIds=census["instances"])["Reservations"]
    assert reservation["Instances"][0]["KeyName"] == f"pair of {found.account.site}"
    tags = {tag["Key"]: tag["Value"] for tag in reservation["Instances"][0]["Tags"]}
    assert tags["fleet:machine"] == record.machine and tags["fleet:instance"] == record.id and tags["team"] == "core"
    assert not found.site.call(ListOperations(active=True))
    assert not found.site.complaints(), "\n".join(found.site.complaints())
    said = Counter((line.operation_id, line.phase, line.text) for line in found.site.lines("web-1") if line.source == "worker")
    assert not [words for words, times in said.items() if times > 1], "a step said something again"


def gone(found: Cloud, *but: str) -> None:
    """Nothing of the site is left in the account."""
    census = found.account.census()
    assert set(census) == set(but), census
    until(lambda: not found.hypervisor.bodies, 20.0, "no machine runs")


def request(kind: str) -> OperationRequest:
    if kind == "provision":
        return i.ProvisionInstance(target="web-1")
    verb: Any = {"deprovision": i.DeprovisionInstance, "reprovision": i.ReprovisionInstance, "stop": i.StopInstance}[kind]
    made: OperationRequest = verb(target="web-1", confirmed=True)
    return made


def test_an_instance_lives_its_whole_life_there(cloud_site: Cloud) -> None:
    found, proxy = cloud_site, cloud_site.account.proxy
    proxy.page, proxy.throttle_every, proxy.lag, proxy.unseen = 1, 17, 2, 1
    made = [found.do(request("provision"))]
    kept = marked(found.disk("web-1"))
    check(found, kept, made)
    found.do(request("stop"))
    assert found.account.census()["instances"] and not found.hypervisor.bodies
    found.do(i.StartInstance(target="web-1"))
    until(lambda: found.site.show("web-1").health is Health.OK, 30.0)
    assert "Hello from web-1" in found.get("web-1")
    found.do(i.GrowDisk(target="web-1", size_gb=60))
    assert found.account.ec2.describe_volumes(VolumeIds=found.volumes("web-1"))["Volumes"][0]["Size"] == 60
    assert found.site.show("web-1").data_disk.size_gb == 60 and not found.site.show("web-1").pending_changes
    found.do(i.SnapshotDisk(target="web-1", reason="before"))
    (snapshot,) = found.site.call(i.ListSnapshots("web-1"))
    marked(found.disk("web-1"), "spoilt")
    found.do(i.ReprovisionInstance(target="web-1", confirmed=True, snapshot=snapshot.id))
    assert markers(found.disk("web-1")) == kept
    found.do(request("deprovision"))
    gone(found, "volumes", "snapshots")
    assert found.site.show("web-1").state is InstanceState.DEPROVISIONED
    found.do(i.DeleteInstance(target="web-1", confirm="web-1"))
    gone(found, "snapshots")
    assert proxy.throttled, "the proxy did what it is there for"


def test_what_is_not_allowed_is_named_and_leaves_nothing(cloud_site: Cloud) -> None:
    found, proxy = cloud_site, cloud_site.account.proxy
    killed: list[str] = []

    def done(action: str) -> bool:
        """In the middle of the undo too: the card is gone, its group not yet."""
        if action != "ec2:DeleteNetworkInterface" or killed:
            return False
        killed.append(action)
        found.site.kill()
        return True

    proxy.done = done
    for action, kind in (("ec2:CreateNetworkInterface", "provision"), ("ec2:AssociateAddress", "reprovision")):
        proxy.denied.add(action)
        ended = found.site.ended(found.site.submit(request(kind)).id, 120.0)
        assert ended.state is OperationState.FAILED and ended.error is not None, found.story("web-1")
        assert action in ended.error.message and "policy" in ended.error.hint
        assert found.site.show("web-1").failed_stage == "resources"
        found.site.await_door()
        gone(found)
        proxy.calm()
    assert killed
    made = found.do(request("provision"))
    check(found, marked(found.disk("web-1")), [made])


def test_no_room_keeps_the_machine_and_a_retry_is_enough(cloud_site: Cloud) -> None:
    found, proxy = cloud_site, cloud_site.account.proxy
    proxy.failing["ec2:RunInstances"] = [("InsufficientInstanceCapacity", "no t3.medium here now")]
    made = found.site.ended(found.site.submit(request("provision")).id, 120.0)
    assert made.state is OperationState.FAILED and made.error is not None and made.error.code == "capacity", found.story("web-1")
    record = found.site.show("web-1")
    assert (record.state, record.failed_stage) == (InstanceState.FAILED, "startup:hello") and "instances" not in found.account.census()
    found.do(i.RetryStartup(target="web-1"))
    assert found.site.show("web-1").private_ip == record.private_ip
    check(found, marked(found.disk("web-1")), [made])


@pytest.mark.slow
def test_killed_at_every_step_boundary(cloud_site: Cloud) -> None:
    found, home = cloud_site, cloud_site.site.home
    doom, deaths = home / "doom", home / "deaths"
    deaths.touch()
    made = [found.do(request("provision"))]
    kept = marked(found.disk("web-1"))
    points: set[str] = set()
    for kind in ("deprovision", "provision", "reprovision"):
        doom.write_text(kind)
        operation = found.do(request(kind))
        doom.unlink()
        made += [operation] if kind != "deprovision" else []
        points |= {f"{kind} {word}:{n}" for word in ("begun", "after-body", "stored", "recorded") for n in range(1, len(operation.steps) + 1)}
    reached = set(deaths.read_text().splitlines())
    assert points <= reached, sorted(points - reached)
    print(f"killed at {len(reached)} boundaries")
    found.site.await_door()
    check(found, kept, made)


@pytest.mark.slow
def test_killed_in_every_change_it_makes(cloud_site: Cloud) -> None:
    """The change was made, its maker dies before it learns of it."""
    found, proxy = cloud_site, cloud_site.account.proxy
    made = [found.do(request("provision"))]
    kept = marked(found.disk("web-1"))
    struck: list[str] = []
    seen: Counter[tuple[str, str]] = Counter()
    kind = ""

    def done(action: str) -> bool:
        seen[kind, action] += 1
        if seen[kind, action] > 1:
            return False
        struck.append(f"{kind} {action}")
        with contextlib.suppress(OSError, ValueError):
            found.site.kill()
        return True

    proxy.done = done
    for kind in ("deprovision", "provision", "reprovision", "deprovision"):
        operation = found.do(request(kind))
        made += [operation] if kind != "deprovision" else []
    kind = "snapshot"
    found.do(i.SnapshotDisk(target="web-1"))
    kind = "restore"
    (snapshot,) = found.site.call(i.ListSnapshots("web-1"))
    found.site.await_door()
    print(f"killed in {len(struck)} changes: {', '.join(struck)}")
    kind = "provision-again"
    made.append(found.do(request("provision")))
    proxy.done = lambda action: False
    found.site.await_door()
    kind, proxy.done, proxy.lag = "grow", done, 3
    found.do(i.GrowDisk(target="web-1", size_gb=60))
    proxy.done, proxy.lag = lambda action: False, 0
    found.site.await_door()
    assert "grow ec2:ModifyVolume" in struck and found.site.show("web-1").data_disk.size_gb == 60
    assert len(struck) >= 25, struck
    assert len(found.account.census()["snapshots"]) == 1
    marked(found.disk("web-1"), "spoilt")
    proxy.done, kind = done, "restore"
    made.append(found.do(i.ReprovisionInstance(target="web-1", confirmed=True, snapshot=snapshot.id)))
    proxy.done = lambda action: False
    found.site.await_door()
    found.account.ec2.delete_snapshot(SnapshotId=found.account.census()["snapshots"][0])
    boots = found.disk("web-1") / "application/boots"
    # Set back to the snapshot, the disk has forgotten the machine that was made after it.
    assert boots.read_text().split()[-1] == f"vm-{made[-1].id.removeprefix('o-')}"
    boots.write_text("".join(f"vm-{one.id.removeprefix('o-')}\n" for one in made))
    check(found, kept, made)
    found.do(request("deprovision"))
    kind, proxy.done = "delete", done
    found.do(i.DeleteInstance(target="web-1", confirm="web-1"))
    proxy.done = lambda action: False
    found.site.await_door()
    gone(found)
    with pytest.raises(NotFound):
        found.site.show("web-1")
    assert PARTS
