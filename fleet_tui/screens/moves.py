"""Moving one VM by hand: every host with the reason why not, the one that placement would choose first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_tui.backend.machines import MigrateVm, Placement, PlanPlacement
from fleet_tui.screens import dialogs, forms

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen


def ask_where(screen: FleetScreen, target: str, name: str) -> None:
    """Ask for the destination of a VM, then move it."""

    def opened(plan: Placement) -> None:
        fit = [v for v in plan.verdicts if v.fits and v.host != plan.host]
        rest = [v for v in plan.verdicts if not v.fits]
        items = [dialogs.Item(plan.host, plan.host, "", f"placement's choice, {plan.policy}")] if plan.host else []
        items += [dialogs.Item(v.host, v.host, "", "fits") for v in fit]
        items += [dialogs.Item(v.host, v.host, "", "", v.why or "it does not fit", "not now") for v in rest]
        if plan.host or fit:
            dialogs.choose(screen.app, f"Move {name} to", items, chosen)
        else:
            why = "" if plan.can_ever_fit else "; none is large enough even when empty"
            screen.say(f"{name} fits on no other host now{why}" + (f" · {rest[0].host}: {rest[0].why}" if rest else ""), "warning")

    def chosen(host: str) -> None:
        forms.submit(screen, MigrateVm(target=target, host=host), f"Move {name} to {host}")

    screen.fetch(PlanPlacement(vm=target, leaves=True), opened, "where")
