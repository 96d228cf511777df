"""What a machine was made with stays with it, whatever is saved later: another boot brings what the start-up document carries, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.instances import EditInstance, ProvisionInstance, ReprovisionInstance, RetryStartup, network_fields, template_fields
from fleet_tui.backend.instances import settings as saved
from fleet_tui.backend.instances.fields import FIELDS, Field
from fleet_tui.backend.instances.links import NETWORK_COPY, TEMPLATE_COPY, column_of
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow, TemplateRow
from fleet_tui.backend.instances.specs import machine_spec
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.store import Store
from tests.backend.providers.yard import Yard, opened

CLOCK = SystemClock()


@pytest.fixture
def yard(store: Store, tmp_path: Path) -> Iterator[Yard]:
    with opened(store, tmp_path) as found:
        yield found


def edit(yard: Yard, **changes: Any) -> None:
    with yard.store.write() as tx:
        saved.edit(tx, EditInstance("web", saved.find_row(tx, "web").version, {n.replace("__", "."): v for n, v in changes.items()}), CLOCK)


def put(yard: Yard, row: Any, label: str, **values: Any) -> None:
    with yard.store.write() as tx:
        found = tx.query(row).filter_by(label=label).one()
        for name, value in values.items():
            setattr(found, name, value)


def row(yard: Yard) -> InstanceRow:
    with yard.store.read() as tx:
        return saved.find_row(tx, "web")


def failed_at_start_up(yard: Yard) -> None:
    """Everything is another when its start-up is tried again."""
    yard.create("web", "local-tls")
    yard.provider.faults.fail("phase:certificate", "web")
    assert yard.run("instance.provision", ProvisionInstance(target="web")).state is OperationState.FAILED
    edit(yard, root_disk__size_gb=80, machine_type="t3.large", ssl__sans=["new.example"], cloud_tags=["team=core"])
    put(yard, TemplateRow, "hello", restrict_metadata_access=False, machine_type="big", authorized_keys="# none")
    put(yard, NetworkRow, "local-tls", security_groups=["sg-1"], internet_access="egress_only", https_strategy="none", directory_mode="central")


def test_a_retry_applies_what_another_boot_brings_and_the_rest_goes_on_waiting(yard: Yard) -> None:
    failed_at_start_up(yard)
    assert yard.run("instance.retry", RetryStartup(target="web")).state is OperationState.SUCCEEDED
    found = row(yard)
    assert found.applied is not None and found.pending == ["machine_type", "root_disk.size_gb", "cloud_tags", "template", "virtual_network"]
    assert (found.applied["root_disk.size_gb"], found.applied["cloud_tags"], found.applied["ssl.sans"]) == (50, [], ["new.example"])
    template, network = found.applied[TEMPLATE_COPY], found.applied[NETWORK_COPY]
    assert (template["restrict_metadata_access"], template["machine_type"], template["authorized_keys"]) == (True, "", "# none")
    assert (network["security_groups"], network["internet_access"], network["fleet_directory.mode"]) == (["auto"], "yes", "central")
    assert network["https_strategy"] == "self_signed" and str(found.url).startswith("https:"), "a strategy changes at a reprovision (SSL-4)"
    with yard.store.read() as tx:
        said = saved.show(tx, "web").reasons
    assert "Restrict metadata was yes, is no" in said["template"] and "HTTPS was self_signed, is none" in said["virtual_network"]
    assert yard.run("instance.reprovision", ReprovisionInstance(target="web", confirmed=True)).state is OperationState.SUCCEEDED
    assert row(yard).pending == [] and str(row(yard).url).startswith("http:")


def test_a_machine_is_asked_for_again_in_the_same_words(yard: Yard) -> None:
    failed_at_start_up(yard)
    with yard.store.read() as tx:
        found = saved.find_row(tx, "web")
        spec = machine_spec(tx, found, str(found.machine), "token")
    assert (spec.root_disk_gb, spec.machine_type, spec.restrict_metadata, spec.tags) == (50, "", True, {})
    assert (spec.placement.security_groups, spec.placement.internet_access) == ((), "yes")


def test_where_nobody_knows_any_more_it_is_what_ran_last(yard: Yard) -> None:
    yard.create("web", "local-tls")
    assert yard.run("instance.provision", ProvisionInstance(target="web")).state is OperationState.SUCCEEDED
    edit(yard, root_disk__size_gb=80)
    with yard.store.write() as tx:
        tx.delete(tx.query(OperationRow).one())
    with yard.store.read() as tx:
        found = saved.find_row(tx, "web")
        assert machine_spec(tx, found, str(found.machine), "token").root_disk_gb == 50


def another(field: Field, value: Any) -> Any:
    if field.kind == "bool":
        return not value
    if field.kind == "int":
        return int(value) + 1
    if field.kind == "list":
        return ["a=b"]
    if field.choices:
        return next(choice for choice in field.choices if choice != value)
    return f"{value}x"


@pytest.mark.parametrize(("table", "field"), [
    *(("settings", f) for f in FIELDS if f.change_class == "R" and f.choices != ()),
    *(("template", f) for f in template_fields.FIELDS if f.change_class == "R" and f.kind != "secret"),
    *(("network", f) for f in network_fields.FIELDS if f.change_class == "R"),
], ids=lambda value: value if isinstance(value, str) else value.name)  # fmt: skip
def test_the_tables_of_fields_say_what_a_machine_is_made_with(store: Store, table: str, field: Field) -> None:
    """A field that a provider is told of when a machine is made, and that were not marked, would be taken for applied by a retry."""
    with store.write() as tx:
        template = TemplateRow(id="t-1", label="hello", application="hello-app", setup_actions=[], version=1)
        network = NetworkRow(
            id="n-1", label="net", provider="aws", https_strategy="self_signed", http_mode="redirect", dns_strategy="cloud_dns",
            private_zone_id="Z1", public_zone_id="Z2",
        )
        tx.add_all([template, network])
        tx.flush()
        instance = InstanceRow(
            id="i-1", label="web", kind="design", template_id="t-1", network_id="n-1", disk_id="d-1", created_at=CLOCK.now(), updated_at=CLOCK.now(),
            settings={**{f.name: f.initial for f in FIELDS}, "template": "hello", "virtual_network": "net"},
        )
        tx.add(instance)
        tx.flush()
        before = machine_spec(tx, instance, "vm-1", "token")
        if table == "settings":
            instance.settings = {**instance.settings, field.name: another(field, instance.settings[field.name])}
        else:
            target, column = (template if table == "template" else network), column_of(field.name)
            setattr(target, column, another(field, getattr(target, column)))
        tx.flush()
        told = machine_spec(tx, instance, "vm-1", "token") != before
    assert told == field.is_made or field.name == "ssh_key_pair"
