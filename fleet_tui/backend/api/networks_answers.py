"""What the methods about physical networks, VLANs and guest networks do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend import networks
from fleet_tui.backend.api import Done
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.identity import Permission
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.permissions import allows
from fleet_tui.backend.networks import creation, dedication, editing, offerings, physical, queries, scopes
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.rows import NetworkRow, PhysicalNetworkRow
from fleet_tui.backend.store import Store


class NetworkAnswers:
    """The verbs of networks that are no operations, by method name."""

    def __init__(self, store: Store, drivers: Networks) -> None:
        self._store, self._drivers = store, drivers

    def table(self) -> Mapping[str, Handler]:
        """Every method this object answers."""
        tenants = self._drivers.tenants
        return {
            "physnets.list": lambda caller, r: self._query(lambda tx: queries.list_physical(tx, r)),
            "vlans.map": lambda caller, r: self._query(lambda tx: queries.show_map(tx, r.target)),
            "vlans.show": lambda caller, r: self._query(lambda tx: queries.show_vlan(tx, r.target, r.number, tenants)),
            "vlans.list": lambda caller, r: self._query(lambda tx: queries.list_vlans(tx, r)),
            "vlans.presence": lambda caller, r: self._query(lambda tx: queries.show_presence(tx, r, tenants)),
            "vlans.plan": lambda caller, r: self._query(lambda tx: editing.plan(tx, r)),
            "networks.list": lambda caller, r: self._query(lambda tx: queries.list_networks(tx, r, tenants, with_vlans=_sees(caller))),
            "networks.show": lambda caller, r: self._query(lambda tx: queries.show_network(tx, r.target, tenants, with_vlans=_sees(caller))),
            "network-offerings.list": lambda caller, r: self._query(lambda tx: offerings.list_offerings(tx, r.limit)),
            "physnets.create": lambda caller, r: self._fabric(lambda tx: physical.create(tx, r, caller.user, self._drivers.rules.drift_s)),
            "physnets.edit": lambda caller, r: self._fabric(lambda tx: physical.edit(tx, r, caller.user)),
            "physnets.delete": lambda caller, r: self._done(lambda tx: physical.delete(tx, r, caller.user)),
            "vlans.set": lambda caller, r: self._fabric(lambda tx: editing.set_ranges(tx, r, caller.user)),
            "vlans.scope": lambda caller, r: self._fabric(lambda tx: scopes.set_scope(tx, r, caller.user)),
            "vlans.template": lambda caller, r: self._fabric(lambda tx: scopes.apply_template(tx, r, caller.user)),
            "vlans.dedicate": lambda caller, r: self._fabric(lambda tx: dedication.dedicate(tx, r, caller.user)),
            "vlans.release": lambda caller, r: self._fabric(lambda tx: dedication.release(tx, r, caller.user)),
            "network-offerings.create": lambda caller, r: self._change(
                lambda tx: offerings.offering_record(offerings.create_offering(tx, r, caller.user))
            ),
            "network-offerings.delete": lambda caller, r: self._done(lambda tx: offerings.delete_offering(tx, r, caller.user)),
            "networks.create": self._create,
            "networks.delete": lambda caller, r: self._done(
                lambda tx: creation.delete(tx, r, tenants, self._drivers.clock.now(), caller.user)
            ),
        }

    def _create(self, caller: Caller, request: networks.CreateNetwork) -> networks.NetworkRecord:
        def act(tx: Session) -> networks.NetworkRecord:
            row: NetworkRow = creation.create(tx, request, self._drivers.clock.now(), caller.user)
            return queries.records(tx, [row], self._drivers.tenants, with_vlans=_sees(caller))[0]

        made: networks.NetworkRecord = self._change(act)
        return made

    def _fabric(self, act: Callable[[Session], PhysicalNetworkRow]) -> networks.PhysicalNetworkRecord:
        """A change to a physical network, which is told as it is afterwards."""
        changed: networks.PhysicalNetworkRecord = self._change(lambda tx: queries.describe_physical(tx, act(tx)))
        return changed

    def _done(self, act: Callable[[Session], str]) -> Done:
        return Done(self._change(act))

    def _query(self, ask: Callable[[Session], Any]) -> Any:
        with self._store.read() as tx:
            return ask(tx)

    def _change(self, act: Callable[[Session], Any]) -> Any:
        with self._store.write() as tx:
            return act(tx)


def _sees(caller: Caller) -> bool:
    """Whether the caller may learn an ID at all."""
    return allows(caller.role, Permission.VLANS_READ)
