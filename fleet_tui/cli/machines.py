"""``fleet offering …`` and ``fleet vm …``. Their serial lines are in ``serial``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet_tui.backend import machines as m
from fleet_tui.backend.errors import UsageError
from fleet_tui.cli.asking import change, operate, report
from fleet_tui.cli.context import Context
from fleet_tui.cli.hosts import words
from fleet_tui.columns import OFFERINGS, VMS

_PAGE = 1000


def list_offerings(context: Context) -> int:
    empty = "there are no offerings; `fleet offering create NAME` makes one"
    context.out.rows(_chosen(context, OFFERINGS), context.session.fetch(m.ListOfferings()), empty=empty)
    return 0


def create_offering(context: Context) -> int:
    given = context.given
    made = change(context, m.CreateOffering(
        given.name, given.cores, given.mhz, given.memory_mib, limit_cpu=given.limit_cpu, ha=given.ha, tags=tuple(given.tag),
    ))  # fmt: skip
    return report(context, made, f"offering {made.name} created")


def delete_offering(context: Context) -> int:
    return report(context, change(context, m.DeleteOffering(context.given.name), context.given.name))


def find(context: Context) -> int:
    given = context.given
    found: list[m.VmRecord] = []
    after = ""
    while True:
        page = context.session.fetch(m.ListVms(host=given.host, cluster=given.cluster, state=given.state, after=after, limit=_PAGE))
        found.extend(page.vms)
        after = page.next
        if not after:
            break
    context.out.rows(_chosen(context, VMS), found, empty="there are no VMs; `fleet vm create NAME` makes one")
    return 0


def show(context: Context) -> int:
    context.out.record(context.session.fetch(m.ShowVm(context.given.name)))
    return 0


def create(context: Context) -> int:
    given = context.given
    if given.image and given.kernel:
        raise UsageError("it boots from an image or from a kernel, not from both")
    if (given.initrd or given.cmdline) and not given.kernel:
        raise UsageError("--initrd and --cmdline go with --kernel FILE")
    return operate(
        context, m.CreateVm, given.name, cluster=given.cluster, offering=given.offering, image=given.image, disk_mib=given.disk_mib,
        kernel=given.kernel, initrd=given.initrd, cmdline=given.cmdline, placement=given.placement, host=given.host, start=not given.stopped,
        tags=tuple(given.tag), owners=tuple(given.owner), exclusion_tags=tuple(given.exclusion_tag), account=given.account,
        networks=tuple(given.network), destroy_protected=given.protect, local_disk=given.local_disk, room_s=given.wait_for_room,
    )  # fmt: skip


def edit(context: Context) -> int:
    """Fields not given stay. An empty list takes all of its words away."""
    given = context.given
    fields: dict[str, Any] = {"tags": words(given.tags), "owners": words(given.owners), "destroy_protected": given.protect, "ha": given.ha}
    if all(value is None for value in fields.values()):
        raise UsageError("nothing to change", hint="give --tags, --owners, --protect, --no-protect, --ha or --no-ha")
    saved = change(context, m.EditVm(target=given.name, version=given.version, **fields))
    return report(context, saved, f"{saved.name} saved")


def start(context: Context) -> int:
    return operate(context, m.StartVm, context.given.name, host=context.given.host, room_s=context.given.wait_for_room)


def stop(context: Context) -> int:
    return operate(context, m.StopVm, context.given.name, grace_s=context.given.grace)


def reboot(context: Context) -> int:
    return operate(context, m.RebootVm, context.given.name)


def destroy(context: Context) -> int:
    return operate(context, m.DestroyVm, context.given.name, keep_disks=context.given.keep_disks)


def migrate(context: Context) -> int:
    given = context.given
    return operate(
        context, m.MigrateVm, given.name, host=given.host, bandwidth_mib_s=given.bandwidth_mib_s, copy_local_disks=given.copy_local_disks
    )


def resize(context: Context) -> int:
    return operate(context, m.ResizeVm, context.given.name, offering=context.given.offering)


def _chosen(context: Context, columns: Sequence[Any]) -> Sequence[Any]:
    return [column for column in columns if context.given.wide or not column.wide]
