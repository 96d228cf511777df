"""What the methods about the site's cloud account do."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_tui.backend.api import Done
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.cloud import CloudRecord, RewrapKeys, SetUpCloud
from fleet_tui.backend.cloud.account import REWRAP, Account
from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.operations.engine import Engine


class CloudAnswers:
    """The verbs of the account that are no operations, by method name."""

    def __init__(self, account: Account, engine: Engine, simulated: bool) -> None:
        self._account, self._engine, self._simulated = account, engine, simulated

    def table(self) -> Mapping[str, Handler]:
        """Every method this object answers."""
        return {
            "cloud.show": lambda caller, r: self._account.show(),
            "cloud.setup": self._set_up,
            "cloud.test": lambda caller, r: self._account.test(),
            "cloud.remove": lambda caller, r: Done(self._account.remove(r)),
            "cloud.test-key": lambda caller, r: self._account.test_key(r.aws_cmk_id),
        }

    def _set_up(self, caller: Caller, request: SetUpCloud) -> CloudRecord:
        """Secrets that are under another key than the one chosen now begin to move at once (spec 5.4)."""
        if self._simulated:
            raise WrongState("a simulated site has no cloud account", hint="set it up on a real one", state="simulated")
        if self._account.set_up(request):
            self._engine.submit(REWRAP, RewrapKeys(), caller.user)
        return self._account.show()
