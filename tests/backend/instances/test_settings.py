"""Saving settings: every problem at once, nobody's change lost, what waits for a reprovision is said."""

from __future__ import annotations

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import InvalidInput, NotFound, WrongState
from fleet_tui.backend.instances import CreateInstance, EditInstance, SetupAction
from fleet_tui.backend.instances import settings as saved
from fleet_tui.backend.instances.links import TEMPLATE_COPY, template_copy
from fleet_tui.backend.instances.profiles import PutTemplate
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.templates import describe, find_template, put_template
from fleet_tui.backend.instances.virtual_networks import ensure_network
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store

CLOCK = SystemClock()
SEALER = Envelope(b"k" * 32)


@pytest.fixture
def site(store: Store) -> Store:
    with store.write() as tx:
        put_template(tx, PutTemplate(label="hello"), SEALER)
        put_template(tx, PutTemplate(label="other"), SEALER)
        ensure_network(tx, "local", "local", "none")
        ensure_network(tx, "local-tls", "local", "self_signed")
    return store


def create(store: Store, label: str = "web-1", **more: object) -> str:
    with store.write() as tx:
        return saved.create(tx, CreateInstance(label=label, **more), CLOCK).id  # type: ignore[arg-type]


def edit(store: Store, target: str, version: int, **changes: object) -> InstanceRow:
    with store.write() as tx:
        named = {name.replace("__", "."): value for name, value in changes.items()}
        return saved.edit(tx, EditInstance(target, version, named), CLOCK)


def provisioned(store: Store, target: str) -> None:
    with store.write() as tx:
        row = saved.find_row(tx, target)
        row.applied = {**row.settings, TEMPLATE_COPY: template_copy(find_template(tx, row.settings["template"]))}
        row.disk_made, row.state = True, "running"


def test_labels_are_unique_whatever_their_case(site: Store) -> None:
    create(site)
    with pytest.raises(InvalidInput) as refused:
        create(site, "WEB-1")
    assert [p.field for p in refused.value.problems] == ["label"]


def test_an_id_means_the_instance_that_has_it_whatever_another_is_called(site: Store) -> None:
    first, second = create(site), create(site, "web-2")
    with site.write() as tx:
        saved.find_row(tx, second).label = first  # as an older program let it be saved
    for target in (first, f"instance:{first}"):
        with site.read() as tx:
            assert saved.find_row(tx, target).id == first


def test_the_same_request_makes_one_instance(site: Store) -> None:
    assert create(site, request_id="r1") == create(site, request_id="r1")


def test_unknown_template_and_network_are_told_with_those_there_are(site: Store) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(site, template="nope", network="nowhere")
    told = {p.field: p.message for p in refused.value.problems}
    assert "hello" in told["template"] and "local-tls" in told["virtual_network"]


def test_a_stale_save_is_refused_with_the_fields_that_differ(site: Store) -> None:
    create(site)
    edit(site, "web-1", 1, notes="theirs")
    with pytest.raises(WrongState) as refused:
        edit(site, "web-1", 1, notes="mine")
    assert refused.value.details["fields"] == {"notes": {"theirs": "theirs", "yours": "mine"}}


def test_change_classes(site: Store) -> None:
    create(site)
    provisioned(site, "web-1")
    assert edit(site, "web-1", 1, notes="n").pending == []
    assert edit(site, "web-1", 2, template="other").pending == ["template"]
    assert edit(site, "web-1", 3, template="hello").pending == []
    with pytest.raises(InvalidInput) as refused:
        edit(site, "web-1", 4, kind="deployer")
    assert "fixed since" in refused.value.problems[0].message


def test_what_an_earlier_program_knew_no_field_for_waits_for_nothing(site: Store) -> None:
    create(site)
    provisioned(site, "web-1")
    with site.write() as tx:
        row = saved.find_row(tx, "web-1")
        for name in ("cloud_tags", "root_disk.size_gb"):
            row.settings = {key: value for key, value in row.settings.items() if key != name}
            row.applied = {key: value for key, value in (row.applied or {}).items() if key != name}
    assert edit(site, "web-1", 1, notes="n").pending == []
    with site.write() as tx:
        row = saved.find_row(tx, "web-1")
        row.settings = {**row.settings, "cloud_tags": [], "root_disk.size_gb": 50}
    assert edit(site, "web-1", 2, notes="m").pending == []


def test_a_disk_only_grows(site: Store) -> None:
    create(site)
    provisioned(site, "web-1")
    with pytest.raises(InvalidInput, match="only grow"):
        edit(site, "web-1", 1, data_disk__size_gb=40)
    assert edit(site, "web-1", 1, data_disk__size_gb=60, data_disk__size_max_gb=80).settings["data_disk.size_gb"] == 60, "its next machine grows it"


@pytest.mark.parametrize(("machine", "state"), [("vm-1", "running"), ("vm-1", "stopped"), ("vm-1", "failed"), (None, "provisioning"), (None, "reprovisioning")])
def test_the_size_of_a_disk_in_use_is_not_only_written_down(site: Store, machine: str | None, state: str) -> None:
    """What the settings say is what its use is measured by."""
    create(site)
    provisioned(site, "web-1")
    with site.write() as tx:
        row = saved.find_row(tx, "web-1")
        row.machine, row.state = machine, state
    with pytest.raises(InvalidInput, match="fleet instance grow") as refused:
        edit(site, "web-1", 1, data_disk__size_gb=100, data_disk__size_max_gb=100)
    assert [p.field for p in refused.value.problems] == ["data_disk.size_gb"]
    with site.read() as tx:
        assert "fleet instance grow" in saved.show(tx, "web-1").locked["data_disk.size_gb"]
    assert edit(site, "web-1", 1, data_disk__size_gb=50, data_disk__size_max_gb=100).settings["data_disk.size_max_gb"] == 100, "how far it may grow"


def test_what_a_disk_was_made_with_stays(site: Store) -> None:
    create(site)
    assert edit(site, "web-1", 1, data_disk__iops=4000).settings["data_disk.iops"] == 4000
    provisioned(site, "web-1")
    with pytest.raises(InvalidInput, match="since the disk was made"):
        edit(site, "web-1", 2, data_disk__iops=6000)


def test_editing_a_template_marks_its_running_instances_only(site: Store) -> None:
    create(site)
    create(site, "web-2")
    provisioned(site, "web-1")
    action = SetupAction("run_tasks", "greet", {"tasks": "- run: echo hi"})
    with site.write() as tx:
        assert describe(tx, put_template(tx, PutTemplate("hello", setup_actions=(action,)), SEALER)).instances == 2
    with site.read() as tx:
        assert saved.find_row(tx, "web-1").pending == ["template"]
        assert saved.find_row(tx, "web-2").pending == []


def test_unknown_instance(site: Store) -> None:
    with pytest.raises(NotFound), site.read() as tx:
        saved.find_row(tx, "nobody")
