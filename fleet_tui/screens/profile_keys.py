"""Views and forms of templates and virtual networks that are reached by key or word from every screen where one can be selected."""

from __future__ import annotations

from typing import Any

from fleet_tui.screens.frame import FleetScreen

REF = {"template": "template", "vnet": "virtual-network"}
"""Kind of screen -> what refs of what it shows begin with."""


class ProfileKeys(FleetScreen):
    """``n e N i s I`` of the registers, and the way from an instance to what it was launched from."""

    def act_global_templates(self) -> None:
        self.console.open("templates", "")

    def act_global_vnets(self) -> None:
        self.console.open("vnets", "")

    def act_instance_template(self, row: Any) -> None:
        self.console.open("template", f"template:{row.template}")

    def act_instance_vnet(self, row: Any) -> None:
        self.console.open("vnet", f"virtual-network:{row.network}")

    def act_profile_template(self) -> None:
        self.console.open("template", "template:", tab="settings")

    def act_profile_vnet(self) -> None:
        self.console.open("vnet", "virtual-network:", tab="settings")

    def act_profile_import(self) -> None:
        from fleet_tui.screens import blueprint_forms

        blueprint_forms.import_file(self)

    def act_template_edit(self, row: Any) -> None:
        self.console.open("template", f"template:{row.id}", tab="settings", edit=True)

    def act_template_linked(self, row: Any) -> None:
        self.console.open("template", f"template:{row.id}", tab="instances")

    def act_template_try(self, row: Any) -> None:
        from fleet_tui.backend.instances.profiles import ShowTemplate
        from fleet_tui.screens import action_form

        self.fetch(ShowTemplate(row.id), lambda sheet: action_form.dry_run(self, sheet, sheet.record.setup_actions, ""), "try")

    def act_template_clone(self, row: Any) -> None:
        from fleet_tui.screens import profile_forms

        profile_forms.clone(self, "template", row)

    def act_template_delete(self, row: Any) -> None:
        from fleet_tui.screens import profile_forms

        profile_forms.delete(self, "template", row)

    def act_template_export(self, row: Any) -> None:
        from fleet_tui.screens import blueprint_forms

        blueprint_forms.export(self, "template", row)

    def act_vnet_edit(self, row: Any) -> None:
        self.console.open("vnet", f"virtual-network:{row.id}", tab="settings", edit=True)

    def act_vnet_linked(self, row: Any) -> None:
        self.console.open("vnet", f"virtual-network:{row.id}", tab="instances")

    def act_vnet_check(self, row: Any) -> None:
        from fleet_tui.screens import profile_forms

        profile_forms.check(self, row)

    def act_vnet_clone(self, row: Any) -> None:
        from fleet_tui.screens import profile_forms

        profile_forms.clone(self, "vnet", row)

    def act_vnet_delete(self, row: Any) -> None:
        from fleet_tui.screens import profile_forms

        profile_forms.delete(self, "vnet", row)

    def act_vnet_export(self, row: Any) -> None:
        from fleet_tui.screens import blueprint_forms

        blueprint_forms.export(self, "vnet", row)
