"""What can be done with an instance and with an operation."""

from __future__ import annotations

from typing import Any

from fleet_tui.actions.row import Action, Reason, verb, view
from fleet_tui.backend import operations as o
from fleet_tui.backend.instances.states import refusal


def _move(action: str) -> Reason:
    def why(row: Any) -> str:
        if row is None:
            return "no instance is selected"
        return refusal(action, row.state, row.failed_stage, row.machine is not None)

    return why


def _instance(row: Any) -> str:
    return "no instance is selected" if row is None else ""


def _busy_instance(row: Any) -> str:
    return _instance(row) or ("" if row.operation_id else "nothing is running on it")


def _renewable(row: Any) -> str:
    if row is not None and row.https_strategy != "letsencrypt":
        return f"nothing renews a certificate of the HTTPS strategy {row.https_strategy}"
    return _move("renew-certificate")(row)


def _certified(row: Any) -> str:
    return _instance(row) or ("it serves plain HTTP: its virtual network's HTTPS strategy is none" if row.https_strategy == "none" else "")


def _has_domains(row: Any) -> str:
    said = "" if row is None or row.https_strategy == "letsencrypt" else f"the HTTPS strategy {row.https_strategy} has no domains"
    return said or _instance(row)


def _snapshot(row: Any) -> str:
    return "no snapshot is selected: they are on the Data tab" if row is None else ""


def _cancellable(row: Any) -> str:
    if row is None:
        return "no operation is selected"
    return f"it has ended: {row.state.value}" if row.state.is_final else ""


def _retryable(row: Any) -> str:
    if row is None:
        return "no operation is selected"
    return "" if row.state in (o.OperationState.FAILED, o.OperationState.CANCELLED) else f"it is {row.state.value}"


def _verb(name: str, title: str, keys: str, tooltip: str, *, undo: str = "", word: str = "") -> Action:
    """A life-cycle verb of an instance; its name is that of its method."""
    id_ = f"instance.{name}"
    return verb(id_, title, keys, id_, tooltip, _move(name), aims="instance", undo=undo, words=(word or name,), bulk=True)


INSTANCE = (
    Action("instance.new", "New instance", "new", ("n",), "verb", "instances.create",
           tooltip="save a new instance; nothing is made yet", undo_text="delete it again with :delete", words=("new", "create")),
    Action("instance.edit", "Settings", "instance", ("e",), "verb", "instances.edit", tooltip="change its settings",
           reason=_instance, words=("edit", "settings"), aims="instance"),
    _verb("provision", "Provision", "P", "make its machine and start the application",
          undo="D deprovisions it; its data disk is kept"),
    _verb("deprovision", "Deprovision", "D", "end its machine; the data disk is kept"),
    _verb("reprovision", "Reprovision", "R", "deprovision and provision again; applies pending changes"),
    Action("instance.power", "Stop / start", "instance", ("S",), "verb", "instance.stop", tooltip="stop it, or start it if it is stopped",
           reason=_instance, aims="instance", also=("instance.stop", "instance.start"), bulk=True),
    _verb("stop", "Stop", "", "stop its machine; the data disk stays attached"),
    _verb("start", "Start", "", "start its stopped machine", undo="S stops it again"),
    _verb("restart-app", "Restart application", "b", "stop and start the application only"),
    _verb("replay-actions", "Replay setup actions", "p", "run the template's actions again, in place", word="replay"),
    _verb("retry", "Retry start-up", "T", "go on from the phase that failed"),
    _verb("snapshot", "Snapshot data disk", "O", "a copy of the data disk as it is now"),
    Action("instance.restore", "Restore a snapshot", "instance", (), "verb", "instance.reprovision",
           tooltip="reprovision with the data disk set back", reason=_move("reprovision"), words=("restore",), aims="instance"),
    Action("instance.cancel", "Cancel operation", "instance", ("K",), "verb", "operations.cancel",
           lambda row, _rid: o.CancelOperation(row.operation_id), "stop the operation at its next step", "",
           _busy_instance, ("cancel",), "instance"),
    _verb("delete", "Delete", "", "remove the instance and its data disk for ever"),
    Action("instance.grow", "Grow data disk", "instance", ("+",), "verb", "instance.grow", tooltip="make the data disk larger while it runs",
           reason=_move("grow"), words=("grow",), aims="instance"),
    verb("instance.renew-certificate", "Renew certificate", "", "instance.renew-certificate", "have its certificate issued anew now", _renewable,
         aims="instance", words=("renew",), bulk=True),
    view("instance.logs", "Logs", "l", "its log, live", words=("logs",), aims="instance"),
    view("instance.operations", "Operations", "o", "its operations", words=("history",), aims="instance"),
)  # fmt: skip

SNAPSHOT = (
    verb("snapshot.delete", "Delete snapshot", "", "snapshot.delete", "remove the snapshot under the cursor, for good", _snapshot, aims="snapshot",
         words=("delete-snapshot",)),
)  # fmt: skip
"""Of the Data tab."""

ON_SSL = "instance/ssl"
SSL = (
    Action("ssl.test", "Test certificate", ON_SSL, ("T",), "view", "instances.ssl", tooltip="look at what it serves now, and check everything anew",
           reason=_certified, words=("test-certificate",), aims="instance", needs="test"),
    Action("ssl.renew", "Renew certificate", ON_SSL, ("r",), "verb", "instance.renew-certificate", tooltip="have it issued anew now",
           reason=_instance, aims="instance", also=("instance.renew-certificate",)),
    Action("ssl.chain", "Certificate in full", ON_SSL, ("V",), "view", "instances.ssl", tooltip="every field of it, its chain, and its PEM",
           reason=_certified, words=("chain",), aims="instance"),
    Action("ssl.copy", "Copy certificate", ON_SSL, ("c",), "view", "instances.ssl", tooltip="its PEM to your clipboard (OSC 52); never a key",
           reason=_certified, aims="instance"),
    Action("ssl.add-domain", "Add a domain", ON_SSL, ("+",), "verb", "instances.edit", tooltip="one more name for its certificate",
           reason=_has_domains, words=("add-domain",), aims="instance"),
    Action("ssl.remove-domain", "Remove a domain", ON_SSL, ("-",), "verb", "instances.edit", tooltip="a name less for its certificate",
           reason=_has_domains, words=("remove-domain",), aims="instance"),
)  # fmt: skip
"""Of the SSL tab. There its keys win over those of the screen."""

OPERATION = (
    Action("operation.cancel", "Cancel", "operation", ("K",), "verb", "operations.cancel",
           lambda row, _rid: o.CancelOperation(row.id), "stop it at its next step", "", _cancellable, ("cancel-operation",), "operation", True),
    Action("operation.retry", "Retry", "operation", ("T",), "verb", "operations.retry",
           lambda row, rid: o.RetryOperation(row.id, rid), "submit it again, as a new operation", "K cancels it",
           _retryable, ("retry-operation",), "operation", True),
    view("operation.target", "Its target", "o", "go to what it works on", aims="operation"),
    view("operation.logs", "Logs", "l", "lines of this operation, full screen", aims="operation"),
)  # fmt: skip

