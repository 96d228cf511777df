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


def test_a_disk_only_grows(site: Store) -> None:
    create(site)
    provisioned(site, "web-1")
    with pytest.raises(InvalidInput, match="only grow"):
        edit(site, "web-1", 1, data_disk__size_gb=40)
    assert edit(site, "web-1", 1, data_disk__size_gb=60, data_disk__size_max_gb=80).settings["data_disk.size_gb"] == 60


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
