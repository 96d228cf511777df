"""Methods about certificates: rows of the one table."""

from __future__ import annotations

from fleet_tui.backend.api.method import Method
from fleet_tui.backend.identity import Permission as P

METHODS: tuple[Method, ...] = (
    Method("instances.ssl", "instances.ShowSsl", "instances.SslRecord", P.STATES_READ, True, also={"test": P.INSTANCES_OPERATE}),
    Method("certificates.board", "certificates.ListBoard", "certificates.BoardEntry*", P.STATES_READ, True),
    Method("instance.renew-certificate", "instances.RenewCertificate", "operations.Submitted", P.INSTANCES_OPERATE, False, danger="changes"),
    Method("agent.material", "certificates.AskMaterial", "certificates.Material", P.AGENT, False),
    Method("agent.order", "certificates.AskOrder", "certificates.OrderStanding", P.AGENT, False),
)
"""What a certificate says is public, so whoever sees states sees it, but not the settings it comes from; keys are in no reply but an agent's
own. To test one is to act: hosts, name servers and the cloud are asked in the site's name, and what is found is kept."""
