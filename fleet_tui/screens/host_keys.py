"""Views and forms of hosts, places and VMs that are reached by key from every screen where one can be selected."""

from __future__ import annotations

from typing import Any

from fleet_tui.screens.cloud_keys import CloudKeys
from fleet_tui.screens.profile_keys import ProfileKeys


class HostKeys(ProfileKeys, CloudKeys):
    """``m v e K l o``, the forms of places, and everything that is made new."""

    def act_global_vms(self) -> None:
        self.console.open("vms", "")

    def act_global_patches(self) -> None:
        self.console.open("patches", "")

    def act_global_offerings(self) -> None:
        self.console.open("offerings", "")

    def act_host_maintenance(self, row: Any) -> None:
        self.console.open("maintenance", f"host:{row.id}")

    def act_maintenance_start(self, row: Any) -> None:
        from fleet_tui.screens import maintain

        maintain.start(self, row)

    def act_host_vms(self, row: Any) -> None:
        self.console.open("vms", f"host:{row.id}", host=row.name)

    def act_host_patches(self, row: Any) -> None:
        self.console.open("patches", f"host:{row.id}", hypervisor=row.hypervisor, version=row.version)

    def act_host_logs(self, row: Any) -> None:
        self.console.open("logs", f"host:{row.id}", title=row.name)

    def act_host_operations(self, row: Any) -> None:
        self.console.go("operations", filter_text=row.name)

    def act_host_edit(self, row: Any) -> None:
        from fleet_tui.screens import forms

        forms.edit_host(self, row)

    def act_branch_ratio(self, row: Any) -> None:
        from fleet_tui.screens import forms

        forms.set_ratio(self, row)

    def act_branch_password(self, row: Any) -> None:
        from fleet_tui.screens import forms

        forms.set_password(self, row)

    def act_branch_rolling(self, row: Any) -> None:
        from fleet_tui.screens import maintain

        maintain.ask_for_rolling(self, row)

    def act_add_host(self) -> None:
        from fleet_tui.screens import forms

        forms.add_host(self, self.subject("branch"))

    def act_add_zone(self) -> None:
        from fleet_tui.screens import forms

        forms.new_zone(self)

    def act_add_pod(self) -> None:
        from fleet_tui.screens import forms

        forms.new_pod(self, self.subject("branch"))

    def act_add_cluster(self) -> None:
        from fleet_tui.screens import forms

        forms.new_cluster(self, self.subject("branch"))

    def act_add_offering(self) -> None:
        from fleet_tui.screens import forms

        forms.new_offering(self)

    def act_add_vm(self) -> None:
        from fleet_tui.screens import forms

        forms.new_vm(self)

    def act_add_patches(self) -> None:
        from fleet_tui.screens import forms

        forms.import_patches(self)


class VmKeys(HostKeys):
    """``m e s H l o`` of a VM."""

    def act_vm_migrate(self, row: Any) -> None:
        from fleet_tui.screens import moves

        moves.ask_where(self, row.id, row.name)

    def act_vm_resize(self, row: Any) -> None:
        from fleet_tui.screens import forms

        forms.resize_vm(self, row)

    def act_vm_edit(self, row: Any) -> None:
        from fleet_tui.screens import forms

        forms.edit_vm(self, row)

    def act_vm_console(self, row: Any) -> None:
        self.console.open("serial", f"vm:{row.id}", row=row)

    def act_vm_host(self, row: Any) -> None:
        name = row.host or row.last_host
        if name:
            self.console.open("host", f"host:{name}")
        else:
            self.say(f"{row.name} has no host")

    def act_vm_logs(self, row: Any) -> None:
        self.console.open("logs", f"vm:{row.id}", title=row.name)

    def act_vm_operations(self, row: Any) -> None:
        self.console.go("operations", filter_text=row.name)
