"""Methods about templates, virtual networks and blueprints: rows of the one table.

Admins edit, operators use, monitors read what a virtual network is; what is in a template is settings (spec 6, 16.2).
"""

from __future__ import annotations

from fleet_tui.backend.api.method import Method
from fleet_tui.backend.identity import Permission as P

_P = "instances.profiles"
_TEMPLATE, _NETWORK = f"{_P}.TemplateRecord", f"{_P}.VirtualNetworkRecord"

METHODS: tuple[Method, ...] = (
    Method("templates.list", f"{_P}.ListTemplates", f"{_TEMPLATE}*", P.SETTINGS_READ, True),
    Method("templates.show", f"{_P}.ShowTemplate", f"{_P}.TemplateSheet", P.SETTINGS_READ, True),
    Method("templates.render", f"{_P}.RenderTemplate", f"{_P}.RenderedTemplate", P.SETTINGS_READ, True),
    Method("templates.create", f"{_P}.CreateTemplate", _TEMPLATE, P.TEMPLATES_EDIT, False, danger="changes"),
    Method("templates.edit", f"{_P}.EditTemplate", _TEMPLATE, P.TEMPLATES_EDIT, False, danger="changes"),
    Method("templates.put", f"{_P}.PutTemplate", _TEMPLATE, P.TEMPLATES_EDIT, False, danger="changes"),
    Method("templates.clone", f"{_P}.CloneTemplate", _TEMPLATE, P.TEMPLATES_EDIT, False, danger="changes"),
    Method("templates.delete", f"{_P}.DeleteTemplate", "api.Done", P.TEMPLATES_EDIT, False, danger="destructive"),
    Method("virtual-networks.list", f"{_P}.ListVirtualNetworks", f"{_NETWORK}*", P.STATES_READ, True),
    Method("virtual-networks.show", f"{_P}.ShowVirtualNetwork", f"{_P}.VirtualNetworkSheet", P.STATES_READ, True),
    Method("virtual-networks.create", f"{_P}.CreateVirtualNetwork", _NETWORK, P.TEMPLATES_EDIT, False, danger="changes"),
    Method("virtual-networks.edit", f"{_P}.EditVirtualNetwork", _NETWORK, P.TEMPLATES_EDIT, False, danger="changes"),
    Method("virtual-networks.clone", f"{_P}.CloneVirtualNetwork", _NETWORK, P.TEMPLATES_EDIT, False, danger="changes"),
    Method("virtual-networks.delete", f"{_P}.DeleteVirtualNetwork", "api.Done", P.TEMPLATES_EDIT, False, danger="destructive"),
    Method("virtual-networks.check", f"{_P}.CheckVirtualNetwork", _NETWORK, P.INSTANCES_OPERATE, False, danger="changes"),
    Method("blueprints.export", f"{_P}.ExportBlueprint", f"{_P}.BlueprintFile", P.SETTINGS_READ, True),
    Method("blueprints.import", f"{_P}.ImportBlueprint", f"{_P}.ImportedBlueprint", P.TEMPLATES_EDIT, False, danger="changes"),
)
