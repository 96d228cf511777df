"""One virtual network: its fields, the instances in it, and how it differs from what is really there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fleet_tui import columns
from fleet_tui.backend.instances.fields import Field
from fleet_tui.backend.instances.network_fields import CLOUD, FIELDS, OWN, OWN_ACCOUNT, OWN_HOSTS
from fleet_tui.backend.instances.profiles import CreateVirtualNetwork, EditVirtualNetwork, ShowVirtualNetwork
from fleet_tui.screens import profile_columns
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.profile import Line, ProfileScreen, wrapped

MOST_FINDINGS = 4
"""Lines of findings above the form; ``d`` tells all."""


class VnetScreen(ProfileScreen):
    KIND = "vnet"
    NOUN = "virtual network"
    AIMS = "vnet"
    FIELDS = FIELDS
    TABS = {"settings": "Settings", "instances": "Instances"}
    BINDINGS = bindings("vnet")
    THING = frozenset({"vnet", "page.describe", "page.raw"})

    def show_request(self, target: str) -> ShowVirtualNetwork:
        return ShowVirtualNetwork(target)

    def save_request(self, typed: Mapping[str, Any]) -> Callable[[dict[str, Any]], CreateVirtualNetwork | EditVirtualNetwork]:
        record, left = self.record, {} if self.is_new else self._left_behind(typed)

        def request(changes: dict[str, Any]) -> CreateVirtualNetwork | EditVirtualNetwork:
            if record.id:
                return EditVirtualNetwork(record.id, record.version, {**left, **changes})
            return CreateVirtualNetwork(changes.pop("label", ""), changes)

        return request

    def _left_behind(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Fields that mean nothing any more with what is chosen now go back to what says nothing."""
        values = self.record.values
        found = {
            field.name: field.initial for field in FIELDS
            if field.group in (CLOUD, OWN) and not self.meant(field) and values.get(field.name, field.initial) != field.initial
        }  # fmt: skip
        if "provider" in changes:
            found["account"] = OWN_ACCOUNT if changes["provider"] == OWN_HOSTS else ""
        return found

    def _chosen(self, name: str) -> Any:
        row = self.form.rows.get(name)
        return row.raw if row is not None else self.record.values.get(name)

    def meant(self, field: Field) -> bool:
        provider = self._chosen("provider")
        if field.group == CLOUD:
            return provider not in ("local", OWN_HOSTS)
        if field.group == OWN:
            return bool(provider == OWN_HOSTS)
        if field.name == "account":
            return provider not in ("local", OWN_HOSTS)
        if field.name in ("private_zone_id", "public_zone_id"):
            return bool(self._chosen("dns_strategy") == "cloud_dns")
        if field.strategies:
            return self._chosen("https_strategy") in field.strategies
        return True

    def status_lines(self) -> list[Line]:
        row, glyphs = self.record, self.console.glyphs
        if self.is_new:
            return [[(" a new virtual network", "strong"), ("   nothing is made in the place itself; it is only looked at", "muted")]]
        status = profile_columns.network_status(row)
        count = columns.plural(row.instances, "instance")
        said = " · ".join((row.provider, f"HTTPS {row.https_strategy}", count))
        lines: list[Line] = [[(f" {glyphs.status(status)} {row.label}", status), (f"   {said}", "muted")]]
        lines.append(self._checked())
        width = self.app.size.width - 2
        for finding in row.findings[:MOST_FINDINGS]:
            mark, style = ("failed", "failed") if finding.is_error else ("attention", "attention")
            lines += wrapped(f"  {glyphs.status(mark)} {self._title(finding.field)}: {finding.text}", style, width)[:2]
        if len(row.findings) > MOST_FINDINGS:
            lines.append([(f"   and {len(row.findings) - MOST_FINDINGS} more: d tells them", "muted")])
        if row.waiting:
            lines.append([(f"   {profile_columns.waiting_words(row.waiting)}", "attention"), ("   i", "key"), (" shows which, and why", "muted")])
        return lines

    def _checked(self) -> Line:
        row = self.record
        if row.checked_at is None:
            return [("   never compared with what is really there", "muted"), ("   D", "key"), (" checks", "muted")]
        ago = columns.ago(row.checked_at, self.console.clock.now())
        found = "nothing amiss" if not row.findings else columns.plural(len(row.findings), "finding")
        return [(f"   compared with what is really there {ago if ago == 'now' else f'{ago} ago'}: {found}", "muted")]

    @staticmethod
    def _title(name: str) -> str:
        return next((field.title for field in FIELDS if field.name == name), name)

    def minute(self) -> None:
        self.paint()

    def act_vnet_edit(self, row: Any) -> None:
        self.enter_form()

    def act_vnet_linked(self, row: Any) -> None:
        self._show_tab("instances")
