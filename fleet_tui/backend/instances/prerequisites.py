"""What must be there before a machine is made or thrown away: material, domains that lead here. Everything that lacks is said at once."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, InvalidInput, NotFound, Problem
from fleet_tui.backend.instances import ssl_settings, vault_looks
from fleet_tui.backend.instances.document import check_port, image_of
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.fields import BY_NAME
from fleet_tui.backend.instances.images import bundle_file
from fleet_tui.backend.instances.network_fields import PROOF_PORT
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.instances.settings import check_image
from fleet_tui.backend.instances.templates import find_template, refuse_unfit
from fleet_tui.backend.instances.virtual_networks import find_network, survey, values_of
from fleet_tui.backend.operations.catalogue import StepContext
from fleet_tui.backend.providers import ReservesAddresses

Result = Mapping[str, Any] | None


def lacking(label: str, problems: Sequence[Problem]) -> InvalidInput:
    """The refusal that lists everything."""
    said = "; ".join(f"{BY_NAME[p.field].title if p.field in BY_NAME else p.field}: {p.message}" for p in problems)
    return InvalidInput(
        f"{label} cannot serve over HTTPS yet: {said}", problems=problems,
        hint=f"`fleet instance ssl {shlex.quote(label)} --test` checks it without doing anything",
    )


def check(ctx: StepContext) -> Result:
    """Step of a reprovision, before the machine that runs is touched."""
    with ctx.read() as tx:
        check_record(tx, _row(ctx, tx), ctx.use(Drivers))
    check_place(ctx)
    check_secrets(ctx)
    check_domains(ctx)
    look_for_a_way_in(ctx)
    return None


def check_place(ctx: StepContext) -> None:
    """Whether a machine could be made there, and the snapshot that is gone back to is there, as far as the provider tells. One that does not
    answer refuses nothing: what it may have is not known.

    Raises:
        InvalidInput: with everything that the virtual network names and is gone.
        NotFound: the snapshot is.
    """
    drivers, snapshot = ctx.use(Drivers), str(ctx.operation.parameters.get("snapshot") or "")
    with ctx.read() as tx:
        network = tx.get_one(NetworkRow, _row(ctx, tx).network_id)
        values = values_of(network)
    try:
        wrong = [finding for finding in survey(drivers.providers, values) if finding.is_error]
        is_lost = bool(snapshot) and all(one.id != snapshot for one in drivers.providers.named(network.provider).snapshots())
    except FleetError as error:
        ctx.say(f"whether a new machine can be made is not known: {error.message}", "warn")
        return
    if wrong:
        raise InvalidInput(
            f"no machine can be made on virtual network {network.label} now: {'; '.join(finding.text for finding in wrong)}",
            problems=[Problem(finding.field, finding.text) for finding in wrong], hint=f"`fleet vnet check {shlex.quote(network.label)}` looks again",
        )
    if is_lost:
        raise NotFound(f"the snapshot {snapshot} is not at {network.provider} any more", hint="choose another one")


def check_record(tx: Session, row: InstanceRow, drivers: Drivers) -> None:
    """Whether a machine could be made as the settings, its template and its virtual network are now; looks only.

    Raises:
        InvalidInput: the image is older than the data, the template is not for that network, its port is another's, or material lacks.
        NotFound: there is no image, or its bundle is gone.
        WrongState: the machine's agent could not call home.
    """
    check_application(tx, row)
    image, network = image_of(tx, row), find_network(tx, row.settings["virtual_network"])
    bundle = bundle_file(image, drivers.bundles)
    if image.path and not bundle.is_file():
        raise NotFound(f"the application bundle {bundle} is gone", hint="register the image again")
    drivers.door_for(drivers.providers.named(network.provider))
    refuse_unfit(find_template(tx, row.settings["template"]), network)
    if problems := ssl_settings.missing(tx, row, drivers.clock.now()):
        raise lacking(row.label, problems)


def check_application(tx: Session, row: InstanceRow) -> None:
    """Whether the image it is to run may follow the one its data was used with, and whether it can have its port. Raises as :func:`check_record`."""
    check_image(tx, row, row.image if row.applied is not None else "")
    check_port(tx, row)


def check_secrets(ctx: StepContext) -> None:
    """Whether the secrets are there that the machine will read, as far as the site may look.

    Raises:
        InvalidInput: one is not.
    """
    drivers = ctx.use(Drivers)
    with ctx.read() as tx:
        row = _row(ctx, tx)
        wanted, label = vault_looks.named(tx, row), row.label
    found = list(vault_looks.look(drivers.providers, wanted)) if wanted is not None else []
    if problems := [problem for problem, is_certain in found if is_certain]:
        raise lacking(label, problems)
    for problem, _ in found:
        ctx.say(problem.message, "warn")


def check_domains(ctx: StepContext) -> None:
    """Whether each domain leads to the public address, and nowhere else is a certificate asked for (spec 5.3).

    Raises:
        InvalidInput: with both addresses, for each domain that does not.
    """
    if ctx.operation.parameters.get("skip_dns_check"):
        return
    drivers = ctx.use(Drivers)
    with ctx.read() as tx:
        row = _row(ctx, tx)
        network = tx.get_one(NetworkRow, row.network_id)
        if network.https_strategy != "letsencrypt":
            return
        domains, label, region = list(row.settings.get("domains") or ()), row.label, network.region
        allocation, public_ip = str(row.settings.get("public_ip_allocation") or ""), row.public_ip
        provider = drivers.providers.named(network.provider)
    expected = literal_address(allocation)
    if not expected and isinstance(provider, ReservesAddresses):
        expected = provider.reserved_address(allocation, region)
    expected = expected or public_ip or ""
    if not expected:
        ctx.say(f"where {', '.join(domains)} must lead is known once the machine has its address", "debug")
        return
    problems = [problem for domain in domains if (problem := domain_problem(drivers, domain, expected)) is not None]
    if problems:
        raise lacking(label, problems)
    ctx.say(f"{', '.join(domains)} lead to {expected}")


def look_for_a_way_in(ctx: StepContext) -> None:
    """Say what would keep Let's Encrypt out, as it is now: rules may have changed since the network was saved (spec 5.3: a warning)."""
    drivers = ctx.use(Drivers)
    with ctx.read() as tx:
        network = tx.get_one(NetworkRow, _row(ctx, tx).network_id)
        if network.https_strategy != "letsencrypt":
            return
        values = values_of(network)
    try:
        found = survey(drivers.providers, values)
    except FleetError as error:
        ctx.say(f"whether port {PROOF_PORT} can be reached from outside is not known: {error.message}", "debug")
        return
    for finding in found:
        if finding.field in ("internet_access", "security_groups") and not finding.is_error:
            ctx.say(finding.text, "warn")


def domain_problem(drivers: Drivers, domain: str, expected: str) -> Problem | None:
    """What is wrong with where a domain leads; asks the DNS."""
    from fleet_tui.backend.certificates.lookup import addresses_of

    found = (drivers.leads or addresses_of)(domain, drivers.certificates.resolver)
    if found and all(address == expected or ":" in address for address in found) and expected in found:
        return None
    leads = f"leads to {', '.join(found)}" if found else "leads nowhere"
    return Problem("domains", f"{domain} {leads}, but the instance's public address is {expected}: correct its A record, or give --skip-dns-check")


def literal_address(allocation: str) -> str:
    """The address in an allocation that is named by the address itself; empty for one that a provider has to be asked for."""
    try:
        return str(ipaddress.ip_address(allocation))
    except ValueError:
        return ""


def _row(ctx: StepContext, tx: Session) -> InstanceRow:
    row = tx.get(InstanceRow, ctx.operation.target_ref.removeprefix("instance:"))
    if row is None:
        raise NotFound("the instance is gone", hint="nothing is left to do")
    return row
