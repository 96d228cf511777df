"""One region of the site's account: what of ours is in it, found by its tags, and patience with what takes time there.

Everything the site makes carries its tags from the first moment, in the same call that makes it, so that nothing of ours can be there unseen:

    fleet:site       the site             fleet:instance   whose it is
    fleet:machine    machine it is of     fleet:operation  operation and step that made it
    fleet:disk       data disk it is      fleet:snapshot   snapshot it is

AWS takes 50 tags, forty of them are a person's: what ours say is said briefly.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fleet_tui.backend.cloud.session import Client, Session, passes
from fleet_tui.backend.errors import FleetError, NotFound, TimedOut
from fleet_tui.backend.operations.context import check_here

T = TypeVar("T")

SITE, INSTANCE, MACHINE, OPERATION = "fleet:site", "fleet:instance", "fleet:machine", "fleet:operation"
DISK, GENERATION, NEXT, SNAPSHOT = "fleet:disk", "fleet:generation", "fleet:next", "fleet:snapshot"
NAME = "Name"
RESERVED = ("fleet:", "aws:")
LIVING = ("pending", "running", "stopping", "stopped")
_FIRST_S, _MOST_S, _GROWTH = 0.4, 6.0, 1.6


@dataclass(frozen=True, slots=True)
class Terms:
    """The account as it is set up now."""

    session: Session
    site: str
    machine_image: str
    machine_type: str
    key: str = ""
    """The site's own key, for disks that are to be sealed under it."""
    regions: tuple[str, ...] = ()
    """Where there may be something of ours; the account's own first."""


class Region:
    """Clients of one region, and searches in it.

    Args:
        pace: factor on every pause between two looks.
    """

    def __init__(self, terms: Terms, name: str, pace: float = 1.0) -> None:
        self.terms, self.name = terms, name
        self._pace = pace
        self.ec2: Client = terms.session.client("ec2", name)

    # --- what there is ---------------------------------------------------------------------------------------------

    def find(self, verb: str, key: str, **by: str) -> list[dict[str, Any]]:
        """Everything of ours of a kind: ``find("describe_volumes", "Volumes", disk="d-1")``."""
        ours = {"OwnerIds": ["self"]} if verb == "describe_snapshots" else {}
        wanted = [{"Name": f"tag:{SITE}", "Values": [self.terms.site]}, *({"Name": f"tag:fleet:{name}", "Values": [v]} for name, v in by.items())]
        return list(self.ec2.pages(verb, key, Filters=wanted, **ours))

    def interfaces(self, **by: str) -> list[dict[str, Any]]:
        return self.find("describe_network_interfaces", "NetworkInterfaces", **by)

    def interface(self, machine_id: str) -> dict[str, Any] | None:
        """The card of a machine: it is made first and goes last, so with it the machine exists."""
        return next(iter(sorted(self.interfaces(machine=machine_id), key=lambda found: str(found["NetworkInterfaceId"]))), None)

    def instances(self, **by: str) -> list[dict[str, Any]]:
        """Those that are not gone or going."""
        found = self.find("describe_instances", "Reservations", **by)
        return [one for reservation in found for one in reservation["Instances"] if one["State"]["Name"] in LIVING]

    def instance(self, machine_id: str) -> dict[str, Any] | None:
        return next(iter(self.instances(machine=machine_id)), None)

    def volumes(self, **by: str) -> list[dict[str, Any]]:
        return [one for one in self.find("describe_volumes", "Volumes", **by) if one["State"] not in ("deleting", "deleted")]

    # --- patience --------------------------------------------------------------------------------------------------

    def until(self, look: Callable[[], T | None], what: str, limit_s: float, *, cancellable: bool = False) -> T:
        """What ``look`` finds, asked ever more rarely. What was made a moment ago may not be found yet; that is waited for too, and so is AWS itself.

        Raises:
            TimedOut: it never came about.
            Busy, Unreachable: AWS could not be asked at the end.
            OperationCancelled, ShuttingDown: let them pass. Only where it is ``cancellable``: what was begun a moment ago cannot be undone yet.
        """
        deadline, pause = time.monotonic() + limit_s, _FIRST_S
        while True:
            if cancellable:
                check_here()
            away: FleetError | None = None
            try:
                if found := look():
                    return found
            except NotFound:
                pass
            except FleetError as error:
                if not passes(error):
                    raise
                away = error
            if time.monotonic() > deadline:
                if away is not None:
                    raise away
                raise TimedOut(f"waited {limit_s:.0f} s in vain: {what}", hint="look at it in the cloud; the operation can be tried again")
            time.sleep(pause * random.uniform(0.7, 1.3) * self._pace)
            pause = min(_MOST_S, pause * _GROWTH)

    # --- tags ------------------------------------------------------------------------------------------------------

    def tags(self, *, label: str = "", own: Mapping[str, str] | None = None, **ours: str) -> list[dict[str, str]]:
        """Tags of something new: a person's own, which may not pass for ours, then ours."""
        kept = {key: value for key, value in (own or {}).items() if not key.lower().startswith(RESERVED)}
        named = {NAME: label[:255]} if label else {}
        fleet = {f"fleet:{name}": value[:255] for name, value in ours.items() if value}
        return [{"Key": key, "Value": value} for key, value in {**kept, **named, SITE: self.terms.site, **fleet}.items()]

    def tag(self, resource: str, **ours: str) -> None:
        self.ec2.call("create_tags", Resources=[resource], Tags=[{"Key": f"fleet:{name}", "Value": value} for name, value in ours.items()])

    def untag(self, resource: str, *names: str) -> None:
        self.ec2.call("delete_tags", Resources=[resource], Tags=[{"Key": name} for name in names])


def told(thing: Mapping[str, Any]) -> dict[str, str]:
    """Tags of something, by name."""
    entries: Sequence[Mapping[str, str]] = thing.get("Tags") or thing.get("TagSet") or ()
    return {entry["Key"]: entry["Value"] for entry in entries}


def client_token(*parts: str) -> str:
    """At most 64 characters, the same for the same parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:60]


def specification(kind: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": tags}
