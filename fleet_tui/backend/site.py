"""What a site is ready with at its first start: a place, networks, a template, an image."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.directories import Directories
from fleet_tui.backend.errors import InvalidInput, NotFound
from fleet_tui.backend.hosts.register import ensure_host, record_figures
from fleet_tui.backend.instances.bundle import pack
from fleet_tui.backend.instances.images import register_image, sweep_parts, take_bundle
from fleet_tui.backend.instances.profiles import CreateTemplate
from fleet_tui.backend.instances.rows import NetworkRow, TemplateRow
from fleet_tui.backend.instances.templates import create_template
from fleet_tui.backend.instances.virtual_networks import ensure_network
from fleet_tui.backend.providers import Provider
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.store import Store

log = logging.getLogger("fleetd.site")
_PREPARE_LOCK = 0x73697465  # "site"


@dataclass(frozen=True, slots=True)
class Site:
    """The daemon's own place in the world."""

    store: Store
    clock: Clock
    directories: Directories
    provider: Provider
    sealer: Sealer
    name: str = ""

    def measure(self) -> None:
        """Put this machine's present figures on its host."""
        figures = self.provider.measure_host()
        if figures:
            with self.store.write() as tx:
                record_figures(tx, "localhost", figures, self.clock)


def prepare_site(site: Site, simulated: bool) -> None:
    """Make sure that what every site has is there. Repeatable; changes nothing a person changed."""
    with tempfile.TemporaryDirectory(dir=site.directories.state) as scratch:
        bundle = Path(scratch) / "hello-app.tar"
        pack(example("hello-app"), bundle)
        sweep_parts(site.directories.images, site.clock.now())
        taken = take_bundle(bundle, site.directories.images)
        with site.store.write() as tx:
            if not site.store.is_sqlite:  # daemons of one site that start together find what the first one made
                tx.execute(select(func.pg_advisory_xact_lock(_PREPARE_LOCK)))
            try:
                register_image(tx, taken, site.clock)
            except InvalidInput as refusal:  # such as the same version from another release; an example keeps no daemon from starting
                log.warning("the example application that comes with this release is not taken in: %s", refusal)
            if tx.scalar(select(func.count()).select_from(TemplateRow)) == 0:
                create_template(tx, CreateTemplate("hello", {"application": "hello-app"}), site.sealer)
            if not simulated:
                ensure_host(tx, "localhost", "local/local/local", "none", "127.0.0.1")
                if tx.scalar(select(func.count()).select_from(NetworkRow)) == 0:
                    ensure_network(tx, "local", site.provider.name, "none")
                    ensure_network(tx, "local-tls", site.provider.name, "self_signed")
    if not simulated:
        site.measure()


def example(name: str) -> Path:
    """An example application, beside the package in a checkout and inside it when installed."""
    package = Path(__file__).parents[1]
    for place in (package / "examples" / name, package.parent / "examples" / name):
        if (place / "application.toml").is_file():
            return place
    raise NotFound(f"the example application {name!r} is not installed", hint="install the package again")
