"""AWS as a place for instances, from the moment the site has an account there; nothing of the SDK is loaded before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fleet_tui.backend.cloud.account import Account
from fleet_tui.backend.providers import Provider

if TYPE_CHECKING:
    from fleet_tui.backend.providers.aws_region import Terms


class Offer:
    """Gives the provider while there is an account.

    Args:
        regions: those that virtual networks name besides the account's own.
    """

    def __init__(self, account: Account, regions: Callable[[], Sequence[str]]) -> None:
        self._account, self._regions = account, regions
        self._made: Provider | None = None

    def __call__(self) -> Provider | None:
        if self._account.row() is None:
            return None
        if self._made is None:
            from fleet_tui.backend.providers.aws import AwsProvider

            self._made = AwsProvider(self._terms)
        return self._made

    def _terms(self) -> Terms:
        from fleet_tui.backend.providers.aws_region import Terms

        row = self._account.existing()
        regions = tuple(dict.fromkeys((row.region, *self._regions())))
        return Terms(self._account.session(), row.site, row.machine_image, row.machine_type, row.cmk_arn, regions)
