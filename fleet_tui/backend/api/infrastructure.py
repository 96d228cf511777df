"""Methods about zones, hosts, VMs and maintenance: rows of the one table."""

from __future__ import annotations

from fleet_tui.backend.api.method import Method
from fleet_tui.backend.identity import Permission as P

_SUBMITTED = "operations.Submitted"

METHODS: tuple[Method, ...] = (
    Method("zones.list", "hosts.ListZones", "hosts.ZoneRecord*", P.STATES_READ, True),
    Method("pods.list", "hosts.ListPods", "hosts.PodRecord*", P.STATES_READ, True),
    Method("clusters.list", "hosts.ListClusters", "hosts.ClusterRecord*", P.STATES_READ, True),
    Method("patches.list", "hosts.ListPatches", "hosts.PatchRecord*", P.STATES_READ, True),
    Method("hosts.key", "hosts.ProbeHostKey", "hosts.HostKeyRecord", P.HOSTS_EDIT, False, danger="changes"),
    Method("zones.create", "hosts.CreateZone", "hosts.ZoneRecord", P.HOSTS_EDIT, False, danger="changes"),
    Method("pods.create", "hosts.CreatePod", "hosts.PodRecord", P.HOSTS_EDIT, False, danger="changes"),
    Method("clusters.create", "hosts.CreateCluster", "hosts.ClusterRecord", P.HOSTS_EDIT, False, danger="changes"),
    Method("branches.allocate", "hosts.SetAllocation", "api.Done", P.HOSTS_OPERATE, False, danger="changes"),
    Method("branches.delete", "hosts.DeleteBranch", "api.Done", P.HOSTS_EDIT, False, danger="destructive"),
    Method("hosts.edit", "hosts.EditHost", "hosts.HostRecord", P.HOSTS_EDIT, False, danger="changes"),
    Method("patches.import", "hosts.ImportPatches", "api.Done", P.HOSTS_EDIT, False, danger="changes"),
    Method("host.add", "hosts.AddHost", _SUBMITTED, P.HOSTS_EDIT, False, danger="changes"),
    Method("host.retry", "hosts.RetryHost", _SUBMITTED, P.HOSTS_EDIT, False, danger="changes"),
    Method("host.reconnect", "hosts.ReconnectHost", _SUBMITTED, P.HOSTS_OPERATE, False, danger="changes"),
    Method("host.remove", "hosts.RemoveHost", _SUBMITTED, P.HOSTS_EDIT, False, danger="destructive", also={"force": P.HOSTS_FORCE}),
    Method("host.reinstall", "hosts.ReinstallHost", _SUBMITTED, P.HOSTS_EDIT, False, danger="disruptive"),
    Method("host.degrade", "hosts.DeclareDegraded", _SUBMITTED, P.HOSTS_FORCE, False, danger="disruptive"),
    Method("host.cancel-degraded", "hosts.CancelDegraded", _SUBMITTED, P.HOSTS_FORCE, False, danger="changes"),
    Method("cluster.password", "hosts.SetClusterPassword", _SUBMITTED, P.SITE_ADMIN, False, danger="disruptive"),
    Method("cluster.manage", "hosts.ManageCluster", _SUBMITTED, P.HOSTS_EDIT, False, danger="disruptive"),
    Method("offerings.list", "machines.ListOfferings", "machines.OfferingRecord*", P.STATES_READ, True),
    Method("vms.list", "machines.ListVms", "machines.VmPage", P.STATES_READ, True),
    Method("vms.show", "machines.ShowVm", "machines.VmRecord", P.STATES_READ, True),
    Method("vms.log", "machines.ReadGuestLog", "machines.GuestLog", P.STATES_READ, True),
    Method("capacity.show", "machines.ShowCapacity", "machines.CapacityRecord*", P.STATES_READ, True),
    Method("weights.show", "machines.ShowWeights", "machines.WeightRecord*", P.STATES_READ, True),
    Method("placement.plan", "machines.PlanPlacement", "machines.Placement", P.STATES_READ, True),
    Method("ratio.preview", "machines.PreviewRatio", "machines.RatioPreview", P.STATES_READ, True),
    Method("offerings.create", "machines.CreateOffering", "machines.OfferingRecord", P.HOSTS_EDIT, False, danger="changes"),
    Method("offerings.delete", "machines.DeleteOffering", "api.Done", P.HOSTS_EDIT, False, danger="destructive"),
    Method("vms.edit", "machines.EditVm", "machines.VmRecord", P.VMS_OPERATE, False, danger="changes"),
    Method("vms.console", "machines.OpenConsole", "machines.ConsoleTicket", P.VMS_OPERATE, False, danger="changes", own="target"),
    Method("vm.create", "machines.CreateVm", _SUBMITTED, P.VMS_OPERATE, False, danger="changes"),
    Method("vm.start", "machines.StartVm", _SUBMITTED, P.VMS_OPERATE, False, danger="changes", own="target"),
    Method("vm.stop", "machines.StopVm", _SUBMITTED, P.VMS_OPERATE, False, danger="disruptive", own="target"),
    Method("vm.reboot", "machines.RebootVm", _SUBMITTED, P.VMS_OPERATE, False, danger="disruptive", own="target"),
    Method("vm.destroy", "machines.DestroyVm", _SUBMITTED, P.VMS_OPERATE, False, danger="destructive"),
    Method("vm.migrate", "machines.MigrateVm", _SUBMITTED, P.VMS_OPERATE, False, danger="changes", own="target"),
    Method("vm.resize", "machines.ResizeVm", _SUBMITTED, P.VMS_OPERATE, False, danger="changes"),
    Method("cluster.ratio", "machines.SetRatio", _SUBMITTED, P.SITE_ADMIN, False, danger="disruptive"),
    Method("maintenance.show", "maintenance.ShowMaintenance", "maintenance.MaintenanceRecord", P.STATES_READ, True),
    Method("maintenance.list", "maintenance.ListMaintenance", "maintenance.MaintenanceRecord*", P.STATES_READ, True),
    Method("maintenance.forecast", "maintenance.ForecastHost", "maintenance.ForecastRecord", P.STATES_READ, True),
    Method("maintenance.plan-rolling", "maintenance.PlanRolling", "maintenance.RollingPlan", P.STATES_READ, True),
    Method("maintenance.edit", "maintenance.EditMaintenance", "maintenance.MaintenanceRecord", P.HOSTS_OPERATE, False, danger="changes"),
    Method("maintenance.retry", "maintenance.RetryMoves", "maintenance.MaintenanceRecord", P.HOSTS_OPERATE, False, danger="changes"),
    Method("maintenance.close", "maintenance.CloseMaintenance", "maintenance.MaintenanceRecord", P.HOSTS_OPERATE, False, danger="disruptive"),
    Method("host.maintain", "maintenance.MaintainHost", _SUBMITTED, P.HOSTS_OPERATE, False, danger="disruptive", also={"allow_stop": P.HOSTS_FORCE}),
    Method("host.cancel-maintenance", "maintenance.CancelMaintenance", _SUBMITTED, P.HOSTS_OPERATE, False, danger="disruptive"),
    Method("host.migrate-back", "maintenance.MigrateBack", _SUBMITTED, P.HOSTS_OPERATE, False, danger="disruptive"),
    Method("host.announce", "maintenance.AnnounceMaintenance", _SUBMITTED, P.HOSTS_OPERATE, False, danger="changes"),
    Method("cluster.maintain", "maintenance.MaintainRolling", _SUBMITTED, P.HOSTS_OPERATE, False, danger="disruptive"),
)
"""Rights follow spec 16.2: operators maintain hosts and drive VMs; admins change the hierarchy and force; root-admins alone set ratios and
cluster passwords. Owners drive their own VMs (VM-4, USR-4), but neither make, resize, edit nor destroy them by that alone."""
