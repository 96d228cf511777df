"""What makes AWS hard to be right with, on moto behind the proxy; what every provider must do is in the contract."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_tui.backend.cloud import session as cloud_session
from fleet_tui.backend.errors import (
    AuthFailed,
    Busy,
    FleetError,
    InvalidInput,
    NoCapacity,
    NotFound,
    PermissionDenied,
    TimedOut,
    Unreachable,
    WrongState,
)
from fleet_tui.backend.operations.catalogue import OperationCancelled
from fleet_tui.backend.operations.context import RunningStep
from fleet_tui.backend.providers import BootConfiguration, DiskSpec, MachineSpec, MachineState, Placement
from fleet_tui.backend.providers.aws import AwsProvider
from fleet_tui.backend.providers.aws_disks import Disks
from fleet_tui.backend.providers.aws_names import Names
from fleet_tui.backend.providers.aws_region import Region
from fleet_tui.backend.providers.user_data import LIMIT, orders_in, user_data
from tests.cloud.account import IMAGE, REGION, SECRET, CloudAccount, cloud_account


class Desk:
    """A provider on an account of its own."""

    def __init__(self, account: CloudAccount) -> None:
        self.account, self.proxy, self.ec2 = account, account.proxy, account.ec2
        self.provider = AwsProvider(account.terms, pace=0.02)
        self.placement = Placement(subnet_id=account.subnets[0], second_subnet_id=account.subnets[1])
        self.said: list[str] = []

    def disk(self, **more: Any) -> Any:
        return self.provider.ensure_disk("d-1", 10, "o-1:disk", self.said.append, DiskSpec(placement=self.placement, **more))

    def spec(self, **more: Any) -> MachineSpec:
        return replace(
            MachineSpec("vm-1", "i-1", "Web 1", "o-1:create-machine", placement=self.placement, disk_id="d-1", ports=(8080,)), **more
        )

    def machine(self, **more: Any) -> Any:
        return self.provider.create_machine(self.spec(**more), self.said.append)

    def boot(self, token: str = "one-time") -> None:
        self.provider.boot("vm-1", BootConfiguration("vm-1", token, "https://127.0.0.1:6978", "pem"), "", self.said.append)

    def run(self) -> None:
        self.disk()
        self.machine()
        self.provider.attach_disk("vm-1", "d-1")
        self.boot()

    def instance(self) -> Any:
        (name,) = self.account.census()["instances"]
        return self.ec2.describe_instances(InstanceIds=[name])["Reservations"][0]["Instances"][0]

    def disk_volume(self) -> str:
        (name,) = self.account.census()["volumes"]
        return name

    def root(self) -> Any:
        instance = self.instance()
        return next(disk for disk in instance["BlockDeviceMappings"] if disk["DeviceName"] == instance["RootDeviceName"])

    def orders(self) -> dict[str, str]:
        told = self.ec2.describe_instance_attribute(InstanceId=self.instance()["InstanceId"], Attribute="userData")["UserData"]["Value"]
        return orders_in(base64.b64decode(told).decode())


@pytest.fixture
def desk(moto: int, tmp_path: Path) -> Iterator[Desk]:
    with cloud_account(moto, tmp_path / "content", f"site-{uuid.uuid4().hex[:8]}") as account:
        yield Desk(account)


# --- made once -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["CreateVolume", "CreateNetworkInterface", "RunInstances", "AllocateAddress", "CreateSecurityGroup", "CreateSnapshot"])
def test_what_was_made_by_a_call_whose_answer_got_lost_is_not_made_again(desk: Desk, action: str) -> None:
    desk.placement = replace(desk.placement, assign_public_ip=True)
    desk.proxy.lost[f"ec2:{action}"] = 1
    desk.run()
    desk.provider.snapshot_disk("d-1", "s-1", desk.said.append)
    assert desk.proxy.lost[f"ec2:{action}"] == 0, "it was lost, and the call repeated"
    desk.provider.snapshot_disk("d-1", "s-1", desk.said.append)
    counted = {kind: len(names) for kind, names in desk.account.census().items()}
    assert counted == {"instances": 1, "volumes": 1, "others": 1, "cards": 1, "groups": 1, "addresses": 1, "snapshots": 1}


def test_the_same_token_with_other_words_is_refused_by_aws_and_said(desk: Desk) -> None:
    desk.run()
    desk.proxy.failing["ec2:RunInstances/dry"] = [("IdempotentParameterMismatch", "inconsistent")]
    desk.provider.terminate("vm-1", desk.said.append)
    with pytest.raises(WrongState, match="inconsistent"):
        desk.machine()
    assert not desk.account.census().get("cards")


def test_two_cards_never_get_one_instance_each(desk: Desk) -> None:
    """Booted by two daemons at once, of which one was frozen: both say the same token, and there is one instance."""
    desk.disk()
    desk.machine()
    desk.provider.attach_disk("vm-1", "d-1")
    desk.proxy.unseen = 4
    desk.boot()
    other = AwsProvider(desk.account.terms, pace=0.02)
    other.boot("vm-1", BootConfiguration("vm-1", "one-time", "https://127.0.0.1:6978", "pem"), "", desk.said.append)
    desk.proxy.calm()
    assert len(desk.account.census()["instances"]) == 1


def test_a_snapshot_is_deleted_in_a_region_that_nothing_names_any_more(desk: Desk) -> None:
    desk.disk()
    made = desk.provider.snapshot_disk("d-1", "s-1", desk.said.append)
    elsewhere = AwsProvider(lambda: replace(desk.account.terms(), regions=("eu-north-1",)), pace=0.02)
    elsewhere.delete_snapshot("s-1")
    assert len(desk.account.census()["snapshots"]) == 1 and made.region == REGION
    elsewhere.delete_snapshot("s-1", made.region)
    assert not desk.account.census().get("snapshots")


# --- patience --------------------------------------------------------------------------------------------------------------


def test_throttled_calls_are_repeated_until_they_pass(desk: Desk) -> None:
    desk.proxy.throttle_every = 3
    desk.run()
    assert desk.provider.find_machine("vm-1").state is MachineState.ON and desk.proxy.throttled > 3


def test_who_is_throttled_for_ever_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_session, "ATTEMPTS", 2)
    desk.account.session = cloud_session.Session(desk.account.session.access)
    desk.proxy.throttle_every = 1
    with pytest.raises(Busy, match="after 2 tries") as refused:
        desk.provider.find_machine("vm-1")
    assert refused.value.details["action"] == "ec2:DescribeNetworkInterfaces"


LIMITED, HELD = Busy("limited", aws="RequestLimitExceeded"), Busy("held", aws="VolumeInUse")


@pytest.mark.parametrize("away", [LIMITED, Unreachable("no way there"), TimedOut("no answer")])
def test_who_waits_for_aws_outlasts_its_silence_and_says_so_at_the_end(away: FleetError) -> None:
    region = Region(SimpleNamespace(session=SimpleNamespace(client=lambda *_: None)), REGION, pace=0.0)  # type: ignore[arg-type]
    answers = iter([away, None, away, "there"])

    def look() -> str | None:
        answer = next(answers)
        if isinstance(answer, FleetError):
            raise answer
        return answer

    assert region.until(look, "it comes about", 60.0) == "there"
    answers = iter([away])
    with pytest.raises(type(away)) as told:
        region.until(look, "it comes about", -1.0)
    assert told.value is away
    answers = iter([HELD])
    with pytest.raises(Busy, match="held"):
        region.until(look, "it comes about", 60.0)


def test_who_waits_for_aws_hears_that_it_is_cancelled() -> None:
    region = Region(SimpleNamespace(session=SimpleNamespace(client=lambda *_: None)), REGION, pace=0.0)  # type: ignore[arg-type]
    looks: list[int] = []

    def check() -> None:
        if len(looks) == 3:
            raise OperationCancelled

    step: Any = SimpleNamespace(check=check)
    with pytest.raises(OperationCancelled):
        RunningStep.run(step, lambda _: region.until(lambda: looks.append(1), "it comes about", 60.0, cancellable=True))
    assert len(looks) == 3
    RunningStep.run(step, lambda _: region.until(lambda: {"made": "a moment ago"}, "it can be undone", 60.0))
    assert region.until(lambda: "there", "it comes about", 60.0) == "there", "nobody is in a step any more"


def test_a_region_that_does_not_answer_stops_no_work_in_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    find, asked = Region.find, []

    def found(self: Region, verb: str, key: str, **by: str) -> list[dict[str, Any]]:
        if self.name == "eu-south-2":
            asked.append(verb)
            raise AuthFailed("not opted in", aws="OptInRequired")
        return find(self, verb, key, **by)

    desk.disk()
    monkeypatch.setattr(Region, "find", found)
    desk.provider = AwsProvider(lambda: replace(desk.account.terms(), regions=("eu-south-2", REGION)), pace=0.02)
    desk.machine()
    desk.provider.attach_disk("vm-1", "d-1")
    desk.boot()
    assert desk.provider.find_machine("vm-1").state is MachineState.ON
    assert len(asked) == 1, "then it is asked last"
    desk.provider.shut_down("vm-1", 1.0, desk.said.append)
    desk.provider.detach_disk("vm-1", "d-1")
    desk.provider.terminate("vm-1", desk.said.append)
    with pytest.raises(AuthFailed):
        desk.provider.find_machine("vm-1")  # it may be there
    desk.provider.delete_disk("d-1")
    assert not {"instances", "volumes", "cards"} & {kind for kind, names in desk.account.census().items() if names}


def test_everything_is_found_on_whatever_page_it_is(desk: Desk) -> None:
    for number in range(1, 6):
        desk.provider.create_machine(desk.spec(id=f"vm-{number}", disk_id="", token=f"o-{number}:create-machine"), desk.said.append)
    desk.proxy.page = 2
    assert [machine.id for machine in desk.provider.machines()] == [f"vm-{number}" for number in range(1, 6)]
    assert desk.provider.find_machine("vm-5").state is MachineState.OFF and desk.proxy.pages


def test_what_nobody_answers_for_is_unreachable(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_session, "ATTEMPTS", 1)
    desk.account.session = cloud_session.Session(replace(desk.account.session.access, endpoint="http://127.0.0.1:9"))
    with pytest.raises(Unreachable, match="cannot be reached"):
        desk.provider.find_machine("vm-1")


# --- refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["ec2:RunInstances", "ec2:CreateNetworkInterface", "ec2:CreateSecurityGroup", "ec2:DescribeImages"])
def test_a_missing_permission_is_named_and_nothing_is_left(desk: Desk, action: str) -> None:
    desk.disk()
    desk.proxy.denied.add(action)
    with pytest.raises(PermissionDenied, match=action) as refused:
        desk.machine()
    assert refused.value.details["permission"] == action and action in refused.value.hint
    desk.proxy.calm()
    desk.provider.terminate("vm-1", desk.said.append)
    assert set(desk.account.census()) == {"volumes"}


def test_a_permission_needed_besides_is_the_one_that_is_named(desk: Desk) -> None:
    said = "You are not authorized to perform: iam:PassRole on resource: arn. Encoded authorization failure message: AbCdEf"
    desk.proxy.failing["ec2:RunInstances/dry"] = [("UnauthorizedOperation", said)]
    with pytest.raises(PermissionDenied) as refused:
        desk.machine(profile="arn:aws:iam::123456789012:instance-profile/run")
    assert refused.value.details["permission"] == "iam:PassRole" and "AbCdEf" not in refused.value.message


def test_no_room_is_no_room_and_the_boot_can_be_tried_again(desk: Desk) -> None:
    desk.disk()
    desk.machine()
    desk.provider.attach_disk("vm-1", "d-1")
    desk.proxy.failing["ec2:RunInstances"] = [("InsufficientInstanceCapacity", "We currently do not have sufficient t3.medium capacity")]
    with pytest.raises(NoCapacity, match=r"t3\.medium"):
        desk.boot()
    assert desk.provider.find_machine("vm-1").state is MachineState.OFF
    desk.boot("another")
    assert desk.provider.find_machine("vm-1").state is MachineState.ON


def test_no_secret_of_the_account_is_in_what_is_said(desk: Desk) -> None:
    desk.proxy.failing["ec2:DescribeVolumes"] = [("AuthFailure", "AWS was not able to validate AKIATESTTESTTESTTEST")]
    with pytest.raises(Exception, match="validate") as refused:
        desk.provider.find_disk("d-1")
    assert "AKIA" not in str(refused.value) and SECRET not in repr(desk.account.session.access)


# --- disks -----------------------------------------------------------------------------------------------------------------


def test_a_disk_that_somebody_else_holds_is_left_alone(desk: Desk) -> None:
    desk.disk()
    desk.machine()
    stranger = desk.ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, SubnetId=desk.account.subnets[0])["Instances"][0]["InstanceId"]
    volume = desk.disk().path
    desk.ec2.attach_volume(VolumeId=volume, InstanceId=stranger, Device="/dev/sdf")
    for act in (lambda: desk.provider.attach_disk("vm-1", "d-1"), lambda: desk.provider.delete_disk("d-1"), desk.disk):
        with pytest.raises(Busy) as refused:
            act()
        assert refused.value.details["holders"] == [stranger]
    desk.provider.detach_disk("vm-1", "d-1")
    assert desk.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"][0]["InstanceId"] == stranger
    desk.ec2.terminate_instances(InstanceIds=[stranger])


def test_the_data_disk_survives_a_machine_told_to_take_it_along(desk: Desk) -> None:
    desk.run()
    name = desk.instance()["InstanceId"]
    mapping = [{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}]
    desk.ec2.modify_instance_attribute(InstanceId=name, BlockDeviceMappings=mapping)
    desk.proxy.calls.clear()
    desk.provider.terminate("vm-1", desk.said.append)
    assert desk.disk().attached_to is None and set(desk.account.census()) == {"volumes"}


def test_the_os_disk_is_never_taken_for_the_data_disk(desk: Desk) -> None:
    """It carries the machine's name too, and may be listed first."""
    desk.run()
    data, before = desk.disk_volume(), desk.root()
    assert before["Ebs"]["DeleteOnTermination"] is True
    desk.boot("again")
    desk.provider.shut_down("vm-1", 1.0, desk.said.append)
    desk.boot("once more")
    assert desk.orders()["volume"] == data and desk.root() == before
    desk.provider.terminate("vm-1", desk.said.append)
    assert desk.account.census() == {"volumes": [data]}


def test_a_disk_in_another_zone_takes_the_machine_there_or_is_refused(desk: Desk) -> None:
    first, second = desk.account.subnets
    desk.placement = Placement(subnet_id=second)
    desk.disk()
    desk.placement = Placement(subnet_id=first)
    with pytest.raises(WrongState, match=f"{REGION}b"):
        desk.machine()
    desk.placement = Placement(subnet_id=first, second_subnet_id=second)
    assert desk.machine().host == f"{REGION}b"


def test_disks_are_sealed_as_the_settings_say(desk: Desk) -> None:
    key = desk.account.key()
    desk.disk(kind="io2", iops=400, encryption="custom", encryption_key=key, tags={"team": "core", "fleet:site": "forged"}, label="web")
    volume = desk.ec2.describe_volumes(VolumeIds=[desk.account.census()["volumes"][0]])["Volumes"][0]
    tags = {tag["Key"]: tag["Value"] for tag in volume["Tags"]}
    assert (volume["VolumeType"], volume["Iops"], volume["Encrypted"]) == ("io2", 400, True) and volume["KmsKeyId"].endswith(key.rpartition("/")[2])
    assert tags["team"] == "core" and tags["fleet:site"] == desk.account.site and tags["fleet:operation"] == "o-1:disk"


@pytest.mark.parametrize("lag", [0, 3])
def test_a_growth_that_was_begun_already_is_followed_to_its_end(desk: Desk, lag: int) -> None:
    """By us before we died, and by a call whose answer got lost."""
    desk.run()
    desk.proxy.lag = lag
    desk.proxy.lost["ec2:ModifyVolume"] = 1
    assert desk.provider.grow_disk("d-1", 20, desk.said.append).size_gb == 20
    assert desk.proxy.calls["ec2:ModifyVolume"] == 2, "the call was repeated"
    name = desk.provider.ensure_disk("d-2", 10, "o-2:disk", desk.said.append, DiskSpec(placement=desk.placement)).path
    desk.ec2.modify_volume(VolumeId=name, Size=20)
    assert desk.provider.grow_disk("d-2", 20, desk.said.append).size_gb == 20


@pytest.mark.parametrize("lag", [0, 3])
def test_a_disk_that_was_changed_a_moment_ago_rests_and_it_is_said_how_long(desk: Desk, lag: int) -> None:
    desk.disk()
    desk.proxy.lag = lag
    desk.ec2.modify_volume(VolumeId=desk.disk_volume(), Size=20)
    with pytest.raises(Busy) as refused:
        desk.provider.grow_disk("d-1", 30, desk.said.append)
    assert "six hours" in refused.value.hint


def test_a_restore_cut_short_leaves_the_old_disk_or_the_new_one(desk: Desk) -> None:
    desk.disk()
    folder = desk.proxy.content / desk.disk().path
    (folder / "a").write_text("before")
    desk.provider.snapshot_disk("d-1", "s-1", desk.said.append)
    (folder / "a").write_text("after")
    for action, content in (
        ("ec2:CreateVolume", "after"), ("ec2:CreateTags", "after"), ("ec2:DeleteTags", "before"), ("ec2:CreateTags", "before"),
        ("ec2:DeleteTags", "before"), ("ec2:DeleteVolume", "before"), ("ec2:CreateTags", "before"),
    ):
        desk.proxy.failing[action] = [("InternalError", "cut short")] * 9
        with pytest.raises(Exception, match="cut short"):
            desk.provider.restore_disk("d-1", "s-1", desk.said.append)
        desk.proxy.calm()
        assert (desk.proxy.content / desk.provider.find_disk("d-1").path / "a").read_text() == content, action  # type: ignore[union-attr]
    desk.provider.restore_disk("d-1", "s-1", desk.said.append)
    assert len(desk.account.census()["volumes"]) == 1 and "others" not in desk.account.census()


def test_a_restore_that_is_tried_again_does_not_get_the_copy_that_failed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.disk()
    (desk.proxy.content / desk.disk().path / "a").write_text("before")
    desk.provider.snapshot_disk("d-1", "s-1", desk.said.append)
    settled, failed = Disks._settled, []

    def fail(self: Disks, name: str, state: str) -> dict[str, Any]:
        if not failed:
            failed.append(name)
            raise WrongState(f"volume {name} failed in the cloud", state="error")
        return settled(self, name, state)

    monkeypatch.setattr(Disks, "_settled", fail)
    with pytest.raises(WrongState, match="failed in the cloud"):
        desk.provider.restore_disk("d-1", "s-1", desk.said.append, "o-1:restore-data-disk")
    desk.provider.restore_disk("d-1", "s-1", desk.said.append, "o-2:restore-data-disk")
    assert desk.disk().path not in failed and desk.account.census() == {"volumes": [desk.disk().path], "snapshots": desk.account.census()["snapshots"]}


# --- how a machine is made -------------------------------------------------------------------------------------------------


def test_a_machine_is_begun_as_it_was_asked_for(desk: Desk) -> None:
    iam = desk.account.sdk("iam")
    name = f"profile-{uuid.uuid4().hex[:6]}"
    arn = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Arn"]
    desk.disk()
    pair = f"ops key {uuid.uuid4().hex[:6]}"
    desk.ec2.create_key_pair(KeyName=pair)
    desk.machine(machine_type="m5.large", root_disk_gb=80, profile=arn, tags={"team": "core"}, key_pair=pair)
    desk.provider.attach_disk("vm-1", "d-1")
    desk.boot()
    instance = desk.instance()
    assert (instance["InstanceType"], instance["KeyName"]) == ("m5.large", pair) and instance["IamInstanceProfile"]["Arn"] == arn
    assert instance["MetadataOptions"]["HttpTokens"] == "required" and instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags == {
        "Name": "Web 1", "team": "core", "fleet:site": desk.account.site, "fleet:machine": "vm-1", "fleet:instance": "i-1",
        "fleet:operation": "o-1:create-machine",
    }
    disks = {one["DeviceName"]: one["Ebs"] for one in instance["BlockDeviceMappings"]}
    assert disks.pop("/dev/sdf")["DeleteOnTermination"] is False
    (root,) = disks.values()
    volume = desk.ec2.describe_volumes(VolumeIds=[root["VolumeId"]])["Volumes"][0]
    assert (volume["Size"], volume["Encrypted"], root["DeleteOnTermination"]) == (80, True, True)
    orders = desk.orders()
    assert orders["token"] == "one-time" and orders["volume"] == desk.disk_volume()


def test_a_key_pair_that_cannot_be_had_is_told_before_anything_is_made(desk: Desk) -> None:
    desk.disk()
    desk.proxy.failing["ec2:RunInstances/dry"] = [("InvalidKeyPair.NotFound", "The key pair 'ops key' does not exist")]
    with pytest.raises(NotFound, match="ops key"):
        desk.machine(key_pair="ops key")
    with pytest.raises(InvalidInput) as refused:
        desk.machine(key_pair="k" * 255)
    assert [problem.field for problem in refused.value.problems] == ["ssh_key_pair"] and set(desk.account.census()) == {"volumes"}


def test_orders_that_are_too_long_for_aws_are_refused_before_it_is_asked() -> None:
    configuration = BootConfiguration("vm-1", "t", "https://127.0.0.1:6978", "pem")
    assert len(user_data(configuration, "vol-1").encode()) < LIMIT * 3 // 4, "there is room for a certificate and several doors"
    with pytest.raises(Exception, match="AWS takes"):
        user_data(replace(configuration, ca_pem="x" * LIMIT), "vol-1")


def test_groups_are_those_that_are_given_or_one_that_comes_and_goes(desk: Desk) -> None:
    given = desk.ec2.create_security_group(GroupName=f"own-{uuid.uuid4().hex[:6]}", Description="own", VpcId=desk.account.vpc)["GroupId"]
    desk.placement = replace(desk.placement, security_groups=(given,))
    desk.disk()
    desk.machine()
    card = desk.ec2.describe_network_interfaces(NetworkInterfaceIds=desk.account.census()["cards"])["NetworkInterfaces"][0]
    assert [group["GroupId"] for group in card["Groups"]] == [given] and "groups" not in desk.account.census()
    desk.provider.terminate("vm-1", desk.said.append)
    assert desk.ec2.describe_security_groups(GroupIds=[given])["SecurityGroups"], "one that a person made stays"


@pytest.mark.parametrize(("access", "into", "out"), [("yes", "0.0.0.0/0", "0.0.0.0/0"), ("egress_only", "10.20.0.0/16", "0.0.0.0/0"), ("no", "10.20.0.0/16", "10.20.0.0/16")])
def test_its_own_group_lets_in_and_out_what_the_network_says(desk: Desk, access: str, into: str, out: str) -> None:
    desk.placement = replace(desk.placement, internet_access=access)
    desk.disk()
    for _ in range(2):
        desk.machine()
    (group,) = desk.ec2.describe_security_groups(GroupIds=desk.account.census()["groups"])["SecurityGroups"]
    assert [(rule["FromPort"], [r["CidrIp"] for r in rule["IpRanges"]]) for rule in group["IpPermissions"]] == [(8080, [into])]
    assert [r["CidrIp"] for rule in group["IpPermissionsEgress"] for r in rule["IpRanges"]] == [out]


def test_a_reserved_address_stays_and_one_of_somebody_else_is_refused(desk: Desk) -> None:
    reserved = desk.ec2.allocate_address(Domain="vpc")
    desk.disk()
    assert desk.provider.reserved_address(reserved["AllocationId"], "") == reserved["PublicIp"], "before there is a machine"
    assert desk.machine(public_ip_allocation=reserved["AllocationId"]).public_ip == reserved["PublicIp"]
    with pytest.raises(Busy, match=reserved["PublicIp"]):
        desk.machine(id="vm-2", public_ip_allocation=reserved["AllocationId"])
    desk.provider.terminate("vm-2", desk.said.append)
    desk.provider.terminate("vm-1", desk.said.append)
    (address,) = desk.ec2.describe_addresses(AllocationIds=[reserved["AllocationId"]])["Addresses"]
    assert "AssociationId" not in address or not address["AssociationId"]
    assert desk.machine(id="vm-3", token="o-3:create-machine", public_ip_allocation=reserved["PublicIp"]).public_ip == reserved["PublicIp"], "by itself too"


def test_an_address_that_is_not_there_is_told_before_anything_is_made(desk: Desk) -> None:
    desk.disk()
    with pytest.raises(NotFound, match="eipalloc-0123456789abcdef0"):
        desk.machine(public_ip_allocation="eipalloc-0123456789abcdef0")
    assert set(desk.account.census()) == {"volumes"}


def test_names_lead_to_the_machine_and_go_with_it(desk: Desk) -> None:
    names = desk.account.sdk("route53")
    zones = _named(desk, names)
    private, public = desk.placement.private_zone_id, desk.placement.public_zone_id
    desk.disk()
    for _ in range(2):
        machine = desk.machine(host_name="Web 1")
    assert machine.host_name == f"web-1.{zones[1]['Name']}".rstrip(".")
    assert _records(names, private) == {f"web-1.{zones[0]['Name']}": machine.private_ip}
    assert _records(names, public) == {f"web-1.{zones[1]['Name']}": machine.public_ip}
    with pytest.raises(WrongState, match="leads to"):
        desk.machine(id="vm-2", token="o-2:create-machine", host_name="web_1")
    desk.provider.terminate("vm-2", desk.said.append)
    assert _records(names, public), "the name of another machine stays"
    desk.provider.terminate("vm-1", desk.said.append)
    assert not _records(names, private) and not _records(names, public) and set(desk.account.census()) == {"volumes"}


def _named(desk: Desk, names: Any) -> list[Any]:
    """Its network gets a private zone and a public one."""
    zones = [
        names.create_hosted_zone(Name=f"{word}-{uuid.uuid4().hex[:6]}.example", CallerReference=uuid.uuid4().hex)["HostedZone"] for word in ("in", "out")
    ]
    private, public = (zone["Id"].rpartition("/")[2] for zone in zones)
    desk.placement = replace(desk.placement, private_zone_id=private, public_zone_id=public, assign_public_ip=True)
    return zones


@pytest.mark.parametrize("lost", ["private_zone_id", "public_zone_id"])
def test_a_machine_is_seen_and_removed_when_a_zone_of_its_names_is_gone(desk: Desk, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    names = desk.account.sdk("route53")
    _named(desk, names)
    desk.disk()
    desk.machine(host_name="Web 1")
    desk.provider.attach_disk("vm-1", "d-1")
    desk.boot()
    gone = getattr(desk.placement, lost)
    (kept,) = {desk.placement.private_zone_id, desk.placement.public_zone_id} - {gone}
    _empty(names, gone)
    names.delete_hosted_zone(Id=gone)
    for known in (Names._zones, {}):  # as after a restart
        monkeypatch.setattr(Names, "_zones", dict(known))
        assert desk.provider.find_machine("vm-1").state is MachineState.ON and len(desk.provider.machines()) == 1
    desk.provider.terminate("vm-1", desk.said.append)
    assert set(desk.account.census()) == {"volumes"} and not _records(names, kept), "the name in the other zone goes all the same"
    assert any(gone in line for line in desk.said)


def test_a_name_that_may_not_be_removed_keeps_the_card_that_knows_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    names = desk.account.sdk("route53")
    _named(desk, names)
    desk.disk()
    desk.machine(host_name="Web 1")
    monkeypatch.setattr(Names, "_zones", {})
    desk.proxy.denied |= {f"route53:GET {zone}" for zone in (desk.placement.private_zone_id, desk.placement.public_zone_id)}
    assert desk.provider.find_machine("vm-1").host_name == ""
    with pytest.raises(PermissionDenied, match="route53:"):
        desk.provider.terminate("vm-1", desk.said.append)
    desk.proxy.calm()
    desk.provider.terminate("vm-1", desk.said.append)
    assert set(desk.account.census()) == {"volumes"} and not _records(names, desk.placement.public_zone_id)


def _empty(client: Any, zone: str) -> None:
    """Of what somebody else would have to remove before it."""
    found = client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    changes = [{"Action": "DELETE", "ResourceRecordSet": record} for record in found if record["Type"] == "A"]
    client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})


def _records(client: Any, zone: str) -> dict[str, str]:
    found = client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return {record["Name"]: record["ResourceRecords"][0]["Value"] for record in found if record["Type"] == "A"}


# --- a network's place -----------------------------------------------------------------------------------------------------


def test_a_survey_names_everything_amiss_at_once(desk: Desk) -> None:
    first, second = desk.account.subnets
    fine = Placement(region=REGION, vpc_id=desk.account.vpc, subnet_id=first, second_subnet_id=second)
    assert not desk.provider.survey(fine)
    broken = replace(fine, vpc_id="vpc-0123456789abcdef0", second_subnet_id="subnet-0123456789abcdef0", security_groups=("sg-0123456789abcdef0",), public_zone_id="Z0")
    found = {amiss.field: amiss.text for amiss in desk.provider.survey(broken)}
    assert set(found) == {"vpc_id", "subnet_id", "second_subnet_id", "security_groups", "public_zone_id"}, found
    assert "zone" in {a.field: a.text for a in desk.provider.survey(replace(fine, second_subnet_id=first))}["second_subnet_id"]
    desk.proxy.denied.add("ec2:DescribeSubnets")
    with pytest.raises(PermissionDenied):
        desk.provider.survey(fine)


@pytest.mark.parametrize(("rule", "is_open"), [
    (("tcp", 80, 80, "0.0.0.0/0"), True), (("tcp", 1, 1024, "0.0.0.0/0"), True), (("-1", None, None, "0.0.0.0/0"), True),
    (("tcp", 443, 443, "0.0.0.0/0"), False), (("udp", 80, 80, "0.0.0.0/0"), False), (("tcp", 80, 80, "10.0.0.0/8"), False), (None, False),
])  # fmt: skip
def test_a_survey_tells_of_groups_that_keep_certificates_away(desk: Desk, rule: tuple[str, int | None, int | None, str] | None, is_open: bool) -> None:
    groups = [desk.ec2.create_security_group(GroupName=f"g-{uuid.uuid4().hex}", Description="g", VpcId=desk.account.vpc)["GroupId"] for _ in range(2)]
    if rule is not None:
        protocol, low, high, who = rule
        ports = {} if low is None else {"FromPort": low, "ToPort": high}
        desk.ec2.authorize_security_group_ingress(
            GroupId=groups[1], IpPermissions=[{"IpProtocol": protocol, **ports, "IpRanges": [{"CidrIp": who}]}],
        )
    place = Placement(region=REGION, subnet_id=desk.account.subnets[0], security_groups=tuple(groups), public_ports=(80,))
    found = desk.provider.survey(place)
    assert [(amiss.field, amiss.is_error) for amiss in found] == ([] if is_open else [("security_groups", False)]), found
    assert is_open or (groups[0] in found[0].text and "port 80" in found[0].text)
    assert not desk.provider.survey(replace(place, public_ports=())), "nobody needs it"
    assert not desk.provider.survey(replace(place, security_groups=())), "those that are made open it"


def test_machines_of_another_site_are_not_ours(desk: Desk) -> None:
    desk.run()
    desk.account.site, own = "site-other", desk.account.site
    assert not desk.provider.machines() and desk.provider.find_disk("d-1") is None
    with pytest.raises(NotFound):
        desk.provider.attach_disk("vm-1", "d-1")
    desk.provider.terminate("vm-1", desk.said.append)
    desk.account.site = own
    assert desk.provider.find_machine("vm-1").state is MachineState.ON
