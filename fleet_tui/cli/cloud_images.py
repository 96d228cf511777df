"""``fleet cloud-image …``: the operating systems that machines on our own hosts start from."""

from __future__ import annotations

from fleet_tui.backend import providers as p
from fleet_tui.cli.asking import change, report
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import CLOUD_IMAGES


def find(context: Context) -> int:
    empty = "there are no cloud images; `fleet cloud-image register NAME --zone ZONE --path FILE` takes one in"
    context.out.rows(CLOUD_IMAGES, context.session.fetch(p.ListCloudImages()), empty=empty)
    return 0


def register(context: Context) -> int:
    given = context.given
    made = change(context, p.RegisterCloudImage(given.name, given.zone, given.path))
    return report(context, made, f"cloud image {made.name} registered in zone {made.zone}")


def remove(context: Context) -> int:
    return report(context, change(context, p.RemoveCloudImage(context.given.name), context.given.name))
