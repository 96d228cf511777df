"""What a VM may be made from, by the role of who asks: everybody from the register, only those who may change hosts from any file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend.errors import InvalidInput, NotFound, PermissionDenied
from fleet_tui.backend.hosts.rows import ZoneRow
from fleet_tui.backend.identity import Role
from fleet_tui.backend.machines import CreateVm
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.providers import RegisterCloudImage, cloud_images
from tests.backend.api.test_console import Yard
from tests.backend.machines.yard import START

NEW = CreateVm(target="spy", cluster="c", offering="small")
SECRETS: tuple[dict[str, Any], ...] = (
    {"image": "/etc/shadow"}, {"image": "/srv/images/d-4f2a9c1b.qcow2"}, {"image": "/srv/images/debian.qcow2/"}, {"image": "/srv/images//debian.qcow2"},
    {"image": "/srv/elsewhere.qcow2"}, {"image": "elsewhere"}, {"image": "debia_"}, {"image": "%"},
    {"image": "debian", "kernel": "/boot/vmlinuz"}, {"disk_mib": 64, "kernel": "/boot/vmlinuz"},
    {"image": "debian", "kernel": "/boot/vmlinuz", "initrd": "/etc/ssl/private/x"}, {"image": "debian", "initrd": "/etc/ssl/private/x"},
)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    found = Yard(tmp_path)
    with found.fleet.store.write() as tx:
        tx.add(ZoneRow(id="z2", name="z2", allocation="Enabled"))
        tx.flush()
        for name, zone in (("debian", "z"), ("elsewhere", "z2")):
            cloud_images.register(tx, RegisterCloudImage(name, zone, f"/srv/{'images/' if zone == 'z' else ''}{name}.qcow2"), START, "ada")
    yield found
    found.close()


def vms(yard: Yard) -> list[VmRow]:
    with yard.fleet.store.read() as tx:
        return tx.query(VmRow).all()


@pytest.mark.parametrize("fields", SECRETS, ids=str)
@pytest.mark.parametrize("dry_run", [True, False])
def test_an_operator_reads_no_file_that_is_not_on_the_register(yard: Yard, fields: dict[str, Any], dry_run: bool) -> None:
    yard.fleet.offering()
    yard.door.become(Role.OPERATOR)
    with pytest.raises(PermissionDenied) as refused:
        yard.client().call(replace(NEW, dry_run=dry_run, **fields))
    assert refused.value.details["needed"] == "hosts.edit" and "admin" in refused.value.hint
    assert not vms(yard)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN, Role.ROOT_ADMIN], ids=lambda role: role.value)
@pytest.mark.parametrize("image", ["debian", "/srv/images/debian.qcow2"])
def test_an_image_on_the_register_is_for_everybody_who_makes_vms(yard: Yard, role: Role, image: str) -> None:
    yard.fleet.offering()
    yard.door.become(role)
    assert "starts as /srv/images/debian.qcow2" in yard.client().call(replace(NEW, image=image, dry_run=True)).plan.changes[0]
    yard.client().call(replace(NEW, image=image))
    (vm,) = vms(yard)
    assert vm.disks[0]["source"] == "/srv/images/debian.qcow2"


def test_who_may_change_hosts_names_any_file(yard: Yard) -> None:
    yard.fleet.offering()
    yard.door.become(Role.ADMIN)
    for fields in ({"image": "/srv/mine.qcow2"}, {"disk_mib": 64, "kernel": "/boot/vmlinuz", "initrd": "/boot/initrd"}):
        assert not yard.client().call(replace(NEW, dry_run=True, **fields)).plan.refusals
    with pytest.raises(InvalidInput, match="name of a cloud image"):
        yard.client().call(replace(NEW, image="elsewhere", dry_run=True))
    with pytest.raises(NotFound, match="cluster"):
        yard.client().call(replace(NEW, cluster="nowhere", image="debian", dry_run=True))
