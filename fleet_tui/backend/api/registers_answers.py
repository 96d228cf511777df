"""What the methods about templates, virtual networks and blueprints do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.api import Done
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.instances import blueprints, importing, profiles, rendering, templates, virtual_networks
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.rows import NetworkRow, TemplateRow
from fleet_tui.backend.store import Store


class RegisterAnswers:
    """The verbs of the registers that instances are launched from, by method name."""

    def __init__(self, store: Store, drivers: Drivers, site: str = "") -> None:
        self._store, self._drivers, self._site = store, drivers, site

    def table(self) -> Mapping[str, Handler]:
        """Every method this object answers."""
        sealer, providers = self._drivers.sealer, self._drivers.providers
        return {
            "templates.list": lambda caller, r: self._query(lambda tx: templates.list_templates(tx, r.limit)),
            "templates.show": lambda caller, r: self._query(lambda tx: templates.show_template(tx, r.target)),
            "templates.render": lambda caller, r: self._query(lambda tx: rendering.render(tx, r, sealer)),
            "templates.create": lambda caller, r: self._template(lambda tx: templates.create_template(tx, r, sealer)),
            "templates.edit": lambda caller, r: self._template(lambda tx: templates.edit_template(tx, r, sealer)),
            "templates.put": lambda caller, r: self._template(lambda tx: templates.put_template(tx, r, sealer)),
            "templates.clone": lambda caller, r: self._template(lambda tx: templates.clone_template(tx, r, sealer)),
            "templates.delete": lambda caller, r: self._done(lambda tx: templates.delete_template(tx, r)),
            "virtual-networks.list": lambda caller, r: self._query(lambda tx: virtual_networks.list_networks(tx, r.limit)),
            "virtual-networks.show": lambda caller, r: self._query(lambda tx: virtual_networks.show_network(tx, r.target, providers)),
            "virtual-networks.create": self._create_network,
            "virtual-networks.edit": self._edit_network,
            "virtual-networks.clone": lambda caller, r: self._network(lambda tx: virtual_networks.clone_network(tx, r)),
            "virtual-networks.delete": lambda caller, r: self._done(lambda tx: virtual_networks.delete_network(tx, r)),
            "virtual-networks.check": self._check_network,
            "blueprints.export": self._export,
            "blueprints.import": self._import,
        }

    def _create_network(self, caller: Caller, request: profiles.CreateVirtualNetwork) -> profiles.VirtualNetworkRecord:
        providers = self._drivers.providers
        values = self._query(lambda tx: virtual_networks.new_values(tx, request, providers))
        findings = virtual_networks.survey(providers, values)
        return self._network(lambda tx: virtual_networks.create_network(tx, request, providers, findings, self._drivers.clock.now()))

    def _edit_network(self, caller: Caller, request: profiles.EditVirtualNetwork) -> profiles.VirtualNetworkRecord:
        providers = self._drivers.providers
        values, is_surveyed = self._query(lambda tx: virtual_networks.edited_values(tx, request, providers))
        findings = virtual_networks.survey(providers, values) if is_surveyed else None
        return self._network(lambda tx: virtual_networks.edit_network(tx, request, providers, findings, self._drivers.clock.now()))

    def _check_network(self, caller: Caller, request: profiles.CheckVirtualNetwork) -> profiles.VirtualNetworkRecord:
        def look(tx: Session) -> tuple[dict[str, Any], tuple[profiles.NetworkFinding, ...]]:
            values = virtual_networks.values_of(virtual_networks.find_network(tx, request.target))
            return values, virtual_networks.own_findings(tx, values)

        values, own = self._query(look)
        findings = (*own, *virtual_networks.survey(self._drivers.providers, values))
        return self._network(lambda tx: virtual_networks.note_findings(tx, request.target, findings, self._drivers.clock.now()))

    def _export(self, caller: Caller, request: profiles.ExportBlueprint) -> profiles.BlueprintFile:
        if not request.template and not request.network:
            why = "name a template, a virtual network, or both"
            raise InvalidInput("there is nothing to export", problems=[Problem("template", why)], hint=why)

        def ask(tx: Session) -> profiles.BlueprintFile:
            template = templates.describe(tx, templates.find_template(tx, request.template)) if request.template else None
            network = virtual_networks.describe(tx, virtual_networks.find_network(tx, request.network)) if request.network else None
            return blueprints.write(template, network, self._site)

        written: profiles.BlueprintFile = self._query(ask)
        return written

    def _import(self, caller: Caller, request: profiles.ImportBlueprint) -> profiles.ImportedBlueprint:
        blueprint, providers = blueprints.parse(request.text), self._drivers.providers
        values = self._query(lambda tx: importing.network_values(tx, blueprint, request, providers))
        findings = virtual_networks.survey(providers, values) if values is not None else None
        now, sealer = self._drivers.clock.now(), self._drivers.sealer
        taken: profiles.ImportedBlueprint = self._change(lambda tx: importing.take_in(tx, blueprint, request, providers, sealer, findings, now))
        return taken

    def _template(self, act: Callable[[Session], TemplateRow]) -> profiles.TemplateRecord:
        """A change to a template, which is told as it is afterwards. Its secrets are masked in the log from now on."""
        def changed(tx: Session) -> profiles.TemplateRecord:
            row = act(tx)
            templates.learn_secrets(tx, self._drivers.sealer, self._drivers.lines.masker.learn, row.id)
            return templates.describe(tx, row)

        made: profiles.TemplateRecord = self._change(changed)
        return made

    def _network(self, act: Callable[[Session], NetworkRow]) -> profiles.VirtualNetworkRecord:
        made: profiles.VirtualNetworkRecord = self._change(lambda tx: virtual_networks.describe(tx, act(tx)))
        return made

    def _done(self, act: Callable[[Session], str]) -> Done:
        return Done(self._change(act))

    def _query(self, ask: Callable[[Session], Any]) -> Any:
        with self._store.read() as tx:
            return ask(tx)

    def _change(self, act: Callable[[Session], Any]) -> Any:
        with self._store.write() as tx:
            return act(tx)
