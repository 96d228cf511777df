"""Virtual networks: rules between fields, what the place must have, what a change marks, what is refused while instances are linked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, WrongState
from fleet_tui.backend.instances import CreateInstance, templates, virtual_networks
from fleet_tui.backend.instances import settings as saved
from fleet_tui.backend.instances.links import NETWORK_COPY, network_copy
from fleet_tui.backend.instances.profiles import (
    CloneVirtualNetwork,
    CreateTemplate,
    CreateVirtualNetwork,
    DeleteVirtualNetwork,
    EditVirtualNetwork,
    NetworkFinding,
    VirtualNetworkRecord,
)
from fleet_tui.backend.providers import Amiss, Placement, Providers, Surveyor
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store

CLOCK = SystemClock()
CLOUD = {"provider": "cloud"}
VPC = {**CLOUD, "region": "eu-west-1", "vpc_id": "vpc-0a1b2c3d", "subnet_id": "subnet-0a1b2c3d"}


class Named:
    """A provider of which only its name matters here, and what it finds in a place."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.amiss: tuple[Amiss, ...] = ()
        self.asked: list[Placement] = []


class Sky(Named):
    def survey(self, placement: Placement) -> Sequence[Amiss]:
        self.asked.append(placement)
        return self.amiss


@pytest.fixture
def sky() -> Sky:
    return Sky("cloud")


@pytest.fixture
def providers(sky: Sky) -> Providers:
    return Providers(Named("local"), sky, Named("own_hosts"))  # type: ignore[arg-type]


@pytest.fixture
def site(store: Store) -> Store:
    with store.write() as tx:
        templates.create_template(tx, CreateTemplate("hello"), Envelope(b"k" * 32))
    return store


def create(store: Store, providers: Providers, label: str = "net", **values: Any) -> VirtualNetworkRecord:
    request = CreateVirtualNetwork(label, values)
    with store.read() as tx:
        findings = virtual_networks.survey(providers, virtual_networks.new_values(tx, request, providers))
    with store.write() as tx:
        return virtual_networks.describe(tx, virtual_networks.create_network(tx, request, providers, findings, CLOCK.now()))


def edit(store: Store, providers: Providers, record: VirtualNetworkRecord, **changes: Any) -> VirtualNetworkRecord:
    request = EditVirtualNetwork(record.label, record.version, {name.replace("__", "."): value for name, value in changes.items()})
    with store.read() as tx:
        values, is_surveyed = virtual_networks.edited_values(tx, request, providers)
    findings = virtual_networks.survey(providers, values) if is_surveyed else None
    with store.write() as tx:
        return virtual_networks.describe(tx, virtual_networks.edit_network(tx, request, providers, findings, CLOCK.now()))


def link(store: Store, label: str, network: str = "net", *, runs: bool = True) -> None:
    with store.write() as tx:
        row = saved.create(tx, CreateInstance(label=label, network=network), CLOCK)
        if runs:
            copy = network_copy(virtual_networks.find_network(tx, network))
            row.applied, row.disk_made, row.state = {**row.settings, NETWORK_COPY: copy}, True, "running"


def test_a_provider_that_can_look_is_told_from_one_that_cannot(sky: Sky) -> None:
    assert isinstance(sky, Surveyor) and not isinstance(Named("local"), Surveyor)


def test_defaults_of_the_specification(site: Store, providers: Providers) -> None:
    values = create(site, providers, **CLOUD).values
    told = ("security_groups", "internet_access", "assign_public_ip", "dns_strategy", "https_strategy", "http_mode", "acme_directory", "fleet_directory.mode")
    assert [values[name] for name in told] == [["auto"], "yes", True, "none", "none", "disabled", "production", "none"]


def test_what_follows_is_filled_in(site: Store, providers: Providers) -> None:
    made = create(site, providers, **CLOUD, https_strategy="letsencrypt", contact_mail="ops@example.com")
    assert made.values["http_mode"] == "redirect"
    assert create(site, providers, "closed", **CLOUD, internet_access="no").values["assign_public_ip"] is False
    plain = create(site, providers, "plain", **CLOUD, https_strategy="self_signed")
    assert plain.values["http_mode"] == "disabled"
    assert edit(site, providers, plain, https_strategy="letsencrypt", contact_mail="ops@example.com").values["http_mode"] == "redirect"


@pytest.mark.parametrize(("values", "field", "told"), [
    ({"https_strategy": "letsencrypt"}, "contact_mail", "needed for Let's Encrypt"),
    ({"https_strategy": "letsencrypt", "contact_mail": "ops at example"}, "contact_mail", "not a mail address"),
    ({"https_strategy": "letsencrypt", "contact_mail": "a@b.de", "assign_public_ip": False}, "assign_public_ip", "public IPs"),
    ({"https_strategy": "letsencrypt", "contact_mail": "a@b.de", "internet_access": "no"}, "https_strategy", "internet access"),
    ({"acme_directory": "http://x"}, "acme_directory", "neither production"),
    ({"internet_access": "no", "assign_public_ip": True}, "assign_public_ip", "impossible"),
    ({"dns_strategy": "cloud_dns"}, "public_zone_id", "is needed"),
    ({"private_zone_id": "Z0123456789ABC"}, "private_zone_id", "without cloud DNS"),
    ({"dns_strategy": "cloud_dns", "public_zone_id": "zone-1"}, "public_zone_id", "id of a DNS zone"),
    ({"security_groups": ["auto", "sg-0a1b2c3d"]}, "security_groups", "'auto' is no id"),
    ({"security_groups": [f"sg-0a1b2c3{n}" for n in range(6)]}, "security_groups", "at most 5"),
    ({"security_groups": []}, "security_groups", "auto"),
    ({"vpc_id": "vpc-0a1b2c3d"}, "subnet_id", "is needed"),
    ({**VPC, "second_subnet_id": "subnet-0a1b2c3d"}, "second_subnet_id", "is the first one"),
    ({"second_subnet_id": "subnet-0a1b2c3d"}, "second_subnet_id", "first subnet"),
    ({"region": "Frankfurt"}, "region", "a region such as"),
    ({"account": "own-hosts"}, "account", "own hosts"),
    ({"zone": "z", "guest_network": ""}, "zone", "means nothing on cloud"),
    ({"provider": "moon"}, "provider", "no provider 'moon'; there are local, cloud, own_hosts"),
    ({"https_strategy": "magic"}, "https_strategy", "not one of"),
    ({"colour": "red"}, "colour", "no field"),
    ({"provider": "local", "region": "eu-west-1"}, "region", "means nothing on local"),
    ({"provider": "own_hosts"}, "zone", "is needed"),
    ({"provider": "own_hosts", "zone": "z", "guest_network": "g", "account": "x"}, "account", "is own-hosts"),
])
def test_rules_of_fields(site: Store, providers: Providers, values: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(site, providers, **{**CLOUD, **values})
    found = {problem.field: problem.message for problem in refused.value.problems}
    assert told in found[field], found


def test_the_place_is_looked_at_before_anything_is_saved(site: Store, providers: Providers, sky: Sky) -> None:
    sky.amiss = (Amiss("subnet_id", "there is no subnet subnet-0a1b2c3d in eu-west-1"), Amiss("security_groups", "port 80 is closed", is_error=False))
    with pytest.raises(InvalidInput, match="there is no subnet") as refused:
        create(site, providers, **VPC)
    assert [problem.field for problem in refused.value.problems] == ["subnet_id"]
    with pytest.raises(NotFound), site.read() as tx:
        virtual_networks.find_network(tx, "net")
    sky.amiss = sky.amiss[1:]
    record = create(site, providers, **VPC)
    assert record.findings == (NetworkFinding("security_groups", "port 80 is closed", False),) and record.checked_at is not None
    assert (record.place, sky.asked[-1].security_groups, sky.asked[-1].vpc_id) == ("eu-west-1 vpc-0a1b2c3d/subnet-0a1b2c3d", (), "vpc-0a1b2c3d")


def test_what_keeps_lets_encrypt_out_is_found_whatever_the_provider(site: Store, providers: Providers, sky: Sky) -> None:
    ordering = {"https_strategy": "letsencrypt", "contact_mail": "ops@example.com"}
    record = create(site, providers, **CLOUD, **ordering)
    assert record.findings == () and sky.asked[-1].public_ports == (80,)
    record = edit(site, providers, record, internet_access="egress_only")
    assert [(found.field, found.is_error) for found in record.findings] == [("internet_access", False)] and len(sky.asked) == 2
    record = edit(site, providers, record, https_strategy="self_signed")
    assert record.findings == () and sky.asked[-1].public_ports == ()
    here = create(site, providers, "here", provider="local", internet_access="egress_only", **ordering)
    assert [(found.field, found.is_error) for found in here.findings] == [("internet_access", False)]


def test_an_edit_looks_at_the_place_only_where_it_names_something_there(site: Store, providers: Providers, sky: Sky) -> None:
    record = create(site, providers, **VPC)
    record = edit(site, providers, record, https_strategy="self_signed")
    assert len(sky.asked) == 1
    sky.amiss = (Amiss("security_groups", "there is no group sg-0a1b2c3d"),)
    with pytest.raises(InvalidInput, match="no group"):
        edit(site, providers, record, security_groups=["sg-0a1b2c3d"])


def test_a_check_keeps_what_it_found(site: Store, providers: Providers, sky: Sky) -> None:
    create(site, providers, **VPC)
    found = (NetworkFinding("subnet_id", "the subnet is gone"),)
    with site.write() as tx:
        virtual_networks.note_findings(tx, "net", found, CLOCK.now())
    with site.read() as tx:
        record = virtual_networks.show_network(tx, "net", providers).record
    assert record.findings == found and record.version == 1, "drift is no edit"


def test_own_hosts_are_asked_for_zone_and_guest_network(site: Store) -> None:
    own = Sky("own_hosts")
    own.amiss = (Amiss("guest_network", "there is no guest network 'market'"),)
    providers = Providers(own)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no guest network 'market'"):
        create(site, providers, provider="own_hosts", zone="z1", guest_network="market")
    own.amiss = ()
    record = create(site, providers, provider="own_hosts", zone="z1", guest_network="shop")
    assert (record.place, record.values["account"]) == ("z1/shop", "own-hosts")
    assert [(asked.zone, asked.guest_network) for asked in own.asked] == [("z1", "market"), ("z1", "shop")]


def test_changes_mark_those_that_run_and_say_why(site: Store, providers: Providers) -> None:
    record = create(site, providers, **CLOUD)
    link(site, "web-1")
    link(site, "new-1", runs=False)
    changed = edit(site, providers, record, https_strategy="self_signed", fleet_directory__mode="central")
    assert (changed.instances, changed.waiting) == (2, 1)
    with site.read() as tx:
        sheet = virtual_networks.show_network(tx, "net", providers)
        assert saved.find_row(tx, "web-1").pending == ["virtual_network"]
        assert "HTTPS was none, is self_signed" in saved.show(tx, "web-1").reasons["virtual_network"]
    why = {linked.label: linked.why for linked in sheet.linked}
    assert why == {"new-1": "", "web-1": "net was changed: HTTPS was none, is self_signed, Deployer was none, is central"}
    assert edit(site, providers, changed, https_strategy="none", fleet_directory__mode="none").waiting == 0


def test_the_place_is_fixed_while_instances_are_linked(site: Store, providers: Providers) -> None:
    record = create(site, providers, **VPC)
    link(site, "web-1", runs=False)
    for changes in ({"region": "eu-central-1"}, {"vpc_id": "vpc-0a1b2c3e"}, {"subnet_id": "subnet-0a1b2c3e"}, {"provider": "local"}, {"account": "other"}):
        with pytest.raises(InUse, match="web-1 is linked to it") as refused:
            edit(site, providers, record, **changes)
        assert refused.value.details["users"] == ["web-1"]
    with site.read() as tx:
        assert "web-1" in virtual_networks.show_network(tx, "net", providers).locked["vpc_id"]


def test_a_stale_save_is_refused_with_what_differs(site: Store, providers: Providers) -> None:
    record = create(site, providers, **CLOUD)
    edit(site, providers, record, internet_access="egress_only")
    with pytest.raises(WrongState) as refused:
        edit(site, providers, record, internet_access="no")
    assert refused.value.details["fields"] == {"internet_access": {"theirs": "egress_only", "yours": "no"}}


def test_a_network_in_use_is_not_deleted_and_a_clone_is_not_in_use(site: Store, providers: Providers) -> None:
    create(site, providers, **VPC)
    link(site, "web-1")
    with site.write() as tx:
        clone = virtual_networks.describe(tx, virtual_networks.clone_network(tx, CloneVirtualNetwork("net", "copy")))
    assert clone.instances == 0 and clone.values == {**clone.values, **VPC, "label": "copy"}
    with pytest.raises(InUse, match="web-1"), site.write() as tx:
        virtual_networks.delete_network(tx, DeleteVirtualNetwork("net", "net"))
    with pytest.raises(ConfirmationRequired), site.write() as tx:
        virtual_networks.delete_network(tx, DeleteVirtualNetwork("copy", ""))
    with site.write() as tx:
        virtual_networks.delete_network(tx, DeleteVirtualNetwork("copy", "copy"))


def test_a_new_label_is_followed_and_marks_nobody(site: Store, providers: Providers) -> None:
    record = create(site, providers, **CLOUD)
    link(site, "web-1")
    assert edit(site, providers, record, label="shop").waiting == 0
    with site.read() as tx:
        row = saved.find_row(tx, "web-1")
        assert row.applied is not None and (row.settings["virtual_network"], row.applied["virtual_network"]) == ("shop", "shop")
