"""fleetd: the composition root, and the only file that knows every name.

Drivers, store, engine, door and watches are put together here by hand, so what runs is readable in one place. At most one
daemon holds a state directory (a lock on ``fleetd.lock``, which carries its pid); on PostgreSQL several may run, each with
its own slot.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from fleet_tui import __version__
from fleet_tui.backend.api import SiteRecord
from fleet_tui.backend.api.answers import Answers
from fleet_tui.backend.api.certificates_answers import CertificateAnswers
from fleet_tui.backend.api.cloud_answers import CloudAnswers
from fleet_tui.backend.api.cloud_images_answers import CloudImageAnswers
from fleet_tui.backend.api.consoles import Consoles
from fleet_tui.backend.api.dispatch import Dispatcher
from fleet_tui.backend.api.gate import Limits
from fleet_tui.backend.api.hosts_answers import HostAnswers
from fleet_tui.backend.api.listeners import AGENT_BODIES, AgentListener
from fleet_tui.backend.api.machines_answers import MachineAnswers
from fleet_tui.backend.api.maintenance_answers import MaintenanceAnswers
from fleet_tui.backend.api.networks_answers import NetworkAnswers
from fleet_tui.backend.api.own_certificates import OwnCertificates
from fleet_tui.backend.api.people import People
from fleet_tui.backend.api.registers_answers import RegisterAnswers
from fleet_tui.backend.api.server import Server, UnixListener
from fleet_tui.backend.authority.root import Authority
from fleet_tui.backend.authority.root import any_sealed as authority_sealed
from fleet_tui.backend.certificates import keys
from fleet_tui.backend.certificates.handshake import Look, look
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.cloud import RewrapKeys
from fleet_tui.backend.cloud import operations as cloud_operations
from fleet_tui.backend.cloud.account import AWS, REWRAP, Account
from fleet_tui.backend.cloud.account import any_sealed as account_sealed
from fleet_tui.backend.errors import FleetError, InternalError
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.hosts import access as host_access
from fleet_tui.backend.hosts import drivers as of_hosts
from fleet_tui.backend.hosts import operations as host_operations
from fleet_tui.backend.hosts.links import Links
from fleet_tui.backend.hypervisors import Hypervisors
from fleet_tui.backend.hypervisors.registry import real
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.identity.users import Users
from fleet_tui.backend.instances import operations as instance_operations
from fleet_tui.backend.instances import templates
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.looks import Looks
from fleet_tui.backend.instances.queries import stream_of
from fleet_tui.backend.instances.renewals import Renewals
from fleet_tui.backend.instances.snapshots import end_schedules_of_none
from fleet_tui.backend.instances.specs import regions_of_cloud, uses_of_cloud
from fleet_tui.backend.instances.watch import Watch
from fleet_tui.backend.machines import operations as machine_operations
from fleet_tui.backend.machines.cards import NetworkTenants
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.tenants import VmTenants
from fleet_tui.backend.machines.watch import Watch as VmWatch
from fleet_tui.backend.maintenance import drivers as of_maintenance
from fleet_tui.backend.maintenance import operations as maintenance_operations
from fleet_tui.backend.maintenance.watch import Watch as MaintenanceWatch
from fleet_tui.backend.networks import operations as network_operations
from fleet_tui.backend.networks import physical
from fleet_tui.backend.networks.collection import Collector
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.linux import LinuxWiring
from fleet_tui.backend.networks.wires import Wiring
from fleet_tui.backend.operations.engine import Engine
from fleet_tui.backend.operations.heartbeat import life_of
from fleet_tui.backend.operations.runner import Checkpoint, nothing
from fleet_tui.backend.options import Options, parse
from fleet_tui.backend.process import configure_logs, hold, linked, reopen_logs, take_descriptors
from fleet_tui.backend.providers import Door, Provider, Providers
from fleet_tui.backend.providers.aws_offer import Offer
from fleet_tui.backend.providers.local import LocalProvider
from fleet_tui.backend.providers.own_ground import Ground
from fleet_tui.backend.providers.own_hosts import OwnHosts
from fleet_tui.backend.remote import Reach
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.site import Site, prepare_site
from fleet_tui.backend.store import Store, database_damaged, database_lost
from fleet_tui.backend.store.schema import prepare as prepare_schema
from fleet_tui.backend.telemetry.agents import Agents, any_sealed
from fleet_tui.backend.telemetry.lines import Lines
from fleet_tui.backend.upkeep import Upkeep

log = logging.getLogger("fleetd")

GRACE_S = 30.0
"""Seconds given to current steps at ``SIGTERM`` (spec 15.6)."""


class Daemon:
    """Everything of one running ``fleetd``. ``start`` returns once the door is open; ``stop`` gives steps their grace."""

    def __init__(self, options: Options, checkpoint: Checkpoint = nothing) -> None:
        self.options = options
        self.clock = SystemClock()
        self.started_at = time.time()
        self.store = Store(options.database, name=life_of(options.executor, os.getpid()))
        self._checkpoint = checkpoint
        self._closers: list[Callable[[], None]] = []
        self.drained = True
        """Whether every step had reached a checkpoint when it was stopped."""

    def start(self) -> None:
        options, places = self.options, self.options.directories
        prepare_schema(self.store, places.backups)
        self.feed = Feed(self.store)
        self._closers.append(self.feed.close)
        keepers = (any_sealed, host_access.any_sealed, account_sealed, authority_sealed, keys.any_sealed)
        self.envelope = Envelope.from_file(places.master_key, next(filter(None, (keeper(self.store) for keeper in keepers)), ""))
        self.agent_listener = self._agent_listener()
        self.lines = Lines(self.store, self.feed, clock=self.clock)
        self.lines.find = stream_of
        self.agents = Agents(self.store, self.lines, self.envelope, clock=self.clock)
        provider = self._provider()
        site = Site(self.store, self.clock, places, provider, self.envelope, options.site)
        prepare_site(site, simulated=options.simulate)
        with self.store.write() as tx:
            templates.seal_old_secrets(tx, self.envelope)
            templates.learn_secrets(tx, self.envelope, self.lines.masker.learn)
        self.audit = Audit(self.store, clock=self.clock)
        hypervisors, reach = self._far_sides()
        self.links = Links(self.store, hypervisors, reach, self.envelope, self.clock)
        self.networks = Networks(NetworkTenants(), rules=options.networks, clock=self.clock, wiring=self._wiring())
        self.machines = Machines(self.links, clock=self.clock, networks=self.networks, programs=places.state / "placement")
        self.ground = Ground(self.store, self.machines, lambda: self.engine, self.clock, places.state / f"seeds-{options.slot}")
        self.ground.tidy()
        self.account = Account(self.store, self.envelope, self.clock, uses_of_cloud)
        places_of_instances = [provider] if options.simulate else [provider, OwnHosts(self.ground)]
        offered = {} if options.simulate else {AWS: Offer(self.account, lambda: regions_of_cloud(self.store))}
        self.drivers = Drivers(
            Providers(*places_of_instances, offered=offered), self.agents, self.lines, self._door(), self.clock, options.timeouts,
            sealer=self.envelope, certificates=options.certificates, leads=self._leads(), far_door=self._far_door(),
            bundles=places.images,
        )
        tenants = VmTenants(self.machines, lambda: self.engine)
        self.host_drivers = of_hosts.Drivers(self.links, reach, self.envelope, self.lines, tenants, self.clock)
        self.maintenance = of_maintenance.Drivers(self.machines, lambda: self.engine, options.policy, options.mail)
        self.looks = Looks(self.store, self.drivers, self._look(), also=self._renew)
        self.consoles = Consoles(self.audit)
        self._closers.append(self.consoles.close)
        self.engine = Engine(
            self.store, self.feed,
            (
                *instance_operations.OPERATIONS, *host_operations.operations(self.host_drivers),
                *network_operations.operations(self.networks), *machine_operations.operations(self.machines),
                *maintenance_operations.operations(self.maintenance), *cloud_operations.OPERATIONS, *Upkeep.OPERATIONS,
            ),
            {
                Drivers: self.drivers, of_hosts.Drivers: self.host_drivers, Networks: self.networks, Machines: self.machines,
                of_maintenance.Drivers: self.maintenance, Account: self.account, Looks: self.looks, Site: site, Lines: self.lines, Feed: self.feed,
                Audit: self.audit,
            },
            self.lines, options.executor, directory=places.state, heartbeat_s=options.heartbeat_s, dead_s=options.dead_s,
            checkpoint=self._checkpoint,
        )
        watch = Watch(self.store, self.drivers)
        self.agents.observe = watch.observe
        self._populate(provider)
        with self.store.write() as tx:
            physical.schedule_checks(tx, options.networks.drift_s)
            end_schedules_of_none(tx)
        self.links.start()
        self._closers.append(self.links.stop)
        self.vm_watch = VmWatch(self.store, self.machines)
        self.vm_watch.start()
        self._closers.append(self.vm_watch.stop)
        self.looks.start()
        self._closers.append(self.looks.stop)
        collector = Collector(self.store, self.networks)
        sweeps = [watch.sweep, MaintenanceWatch(self.store, self.maintenance).sweep, collector.sweep]
        if self.agent_listener is not None:
            sweeps.append(self.agent_listener.renew)
        self.upkeep = Upkeep(site, *sweeps)
        self.upkeep.start()
        self._closers.append(self.upkeep.stop)
        self.engine.start()
        self._go_on_moving()
        self._live(provider)

    def dispatcher(self) -> Dispatcher:
        users, audit = Users(self.store, clock=self.clock), self.audit
        users.bootstrap(os.getuid(), pwd.getpwuid(os.getuid()).pw_name)
        answers = Answers(
            store=self.store, feed=self.feed, engine=self.engine, lines=self.lines, agents=self.agents, clock=self.clock,
            bundles=self.options.directories.images, site=self.describe, vault=self.account.vault,
            alert_days=self.options.certificates.alert_days, providers=self.drivers.providers,
        )
        own = OwnCertificates(self.store, self.agent_listener, self.clock, self.options.certificates.alert_days)
        of_certificates = CertificateAnswers(self.store, self.drivers, self.looks, self.account.vault, own.entries)
        of_registers = RegisterAnswers(self.store, self.drivers, self.describe().name)
        of_hierarchy = HostAnswers(self.store, self.engine, self.host_drivers)
        of_machines = MachineAnswers(self.store, self.engine, self.machines, self.consoles)
        of_images = CloudImageAnswers(self.store, self.clock)
        people = People(users, audit, site=self.describe().name, simulated=self.options.simulate, version=__version__, cursor=self.feed.head)
        of_work, of_networks = MaintenanceAnswers(self.store, self.maintenance), NetworkAnswers(self.store, self.networks)
        of_cloud = CloudAnswers(self.account, self.engine, self.options.simulate)
        tables = (answers, of_registers, of_certificates, of_hierarchy, of_machines, of_images, of_work, of_networks, of_cloud)
        handlers = {name: handler for answering in tables for name, handler in answering.table().items()}
        return Dispatcher({**handlers, **people.handlers()}, users, audit, of_machines.owners, self.engine.asked)

    def stop(self) -> None:
        self.ground.leave()
        self.drained = self.engine.stop(GRACE_S)
        for close in reversed(self._closers):
            close()
        self.store.close()

    def ailing(self) -> Sequence[str]:
        """Parts that do not work, for ``/healthz``."""
        return [name for name, well in (
            ("worker", self.engine.is_alive), ("upkeep", self.upkeep.is_alive), ("links", self.links.is_alive),
            ("vm-watch", self.vm_watch.is_alive), ("certificates", self.looks.is_alive),
        ) if not well()]

    def describe(self) -> SiteRecord:
        url = make_url(self.options.database)
        return SiteRecord(
            name=self.options.site or socket.gethostname().partition(".")[0], simulated=self.options.simulate, version=__version__,
            pid=os.getpid(), started_at=self.started_at, database=url.render_as_string(hide_password=True),
            state_directory=str(self.options.directories.state), schema=self.store.url.partition(":")[0],
        )

    def _door(self) -> str:
        """Where agents call, also when the next daemon listens elsewhere. A pattern, so that an agent finds whichever slot answers."""
        return f"unix:{self.options.directories.state}/fleetd*.sock"

    def _agent_listener(self) -> AgentListener | None:
        """The door on the network, bound before anything begins: its place may be taken."""
        wanted = self.options.agent_door
        if wanted is None:
            return None
        authority = Authority(self.store, self.envelope, self.describe().name, clock=self.clock)
        self.ca_pem = authority.certificate_pem()
        if wanted.most > (room := take_descriptors() // 2):
            log.warning("%d connections of agents at most, not %d: this process may have no more than %d open files", room, wanted.most, 2 * room)
        limits = Limits(AGENT_BODIES, most=min(wanted.most, room), most_each=wanted.each)
        listener = AgentListener(wanted.host, wanted.port, lambda: authority.issue(*wanted.hosts), authority.is_due, limits)
        listener.bind()
        return listener

    def _far_door(self) -> Door | None:
        listener, wanted = self.agent_listener, self.options.agent_door
        return Door(wanted.address(listener.port), self.ca_pem) if listener is not None and wanted is not None else None

    def _provider(self) -> Provider:
        if not self.options.simulate:
            return LocalProvider(self.options.directories)
        from fleet_tui.backend.faults import Faults
        from fleet_tui.backend.hypervisors import fake as of_hypervisors
        from fleet_tui.backend.providers import faults as of_providers
        from fleet_tui.backend.providers.fake import FakeProvider

        faults = Faults.parse(of_providers.VOCABULARY | of_hypervisors.VOCABULARY, self.options.faults)
        fake = FakeProvider(self.options.directories.state / "fake", agents=self.agents, faults=faults)
        self._closers.append(fake.close)
        self.world = of_hypervisors.FakeWorld(self.options.directories.state / "fake", faults)
        self._closers.append(self.world.close)
        return fake

    def _far_sides(self) -> tuple[Hypervisors, Reach]:
        """The ways to hypervisors and to shells."""
        if self.options.simulate:
            return self.world, self.world.reach
        return real()

    def _look(self) -> Look:
        """The way to see what an instance serves; simulated ones are only said to serve."""
        if not self.options.simulate:
            return look
        from fleet_tui.backend.simulation.served import shown

        return lambda address, port, name: shown(self.store, address)

    def _leads(self) -> Callable[[str, str], Sequence[str]] | None:
        """Where domains lead; those of simulated instances are not looked up in the real DNS."""
        if not self.options.simulate:
            return None
        from fleet_tui.backend.simulation.served import leads

        return lambda domain, resolver: leads(self.store, domain)

    def _renew(self) -> None:
        Renewals(self.store, self.drivers, self.engine.submit).sweep()

    def _go_on_moving(self) -> None:
        """A daemon that died when a key of the cloud had been chosen has secrets to move to it (spec 5.4)."""
        if self.account.is_left_behind():
            self.engine.submit(REWRAP, RewrapKeys(), "schedule")

    def _wiring(self) -> Wiring:
        """The way to hosts' wires."""
        if self.options.simulate:
            from fleet_tui.backend.networks.fake_wires import FakeWiring

            return FakeWiring(self.world, self.links)
        return LinuxWiring(self.links)

    def _populate(self, provider: Provider) -> None:
        if self.options.simulate:
            from fleet_tui.backend.simulation import populate

            options = self.options
            populate(self.store, provider, self.world, self.envelope, instances=options.instances, hosts=options.hosts, seed=options.seed)

    def _live(self, provider: Provider) -> None:
        if self.options.simulate:
            from fleet_tui.backend.simulation import Life

            life = Life(self.store, self.engine, provider, seed=self.options.seed, world=self.world)
            life.start()
            self._closers.append(life.stop)


def _serve(daemon: Daemon) -> None:
    """Open the door and keep it open until told to stop."""
    stopped = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopped.set())
    signal.signal(signal.SIGHUP, lambda *_: reopen_logs())
    server = Server(daemon.dispatcher(), daemon.ailing, consoles=daemon.consoles)
    unix, afar = UnixListener(daemon.options.socket, daemon.options.socket_mode), daemon.agent_listener
    server.start([unix] if afar is None else [unix, afar])
    log.info("fleetd %s answers at %s, pid %d", __version__, daemon.options.socket, os.getpid())
    if afar is not None:
        log.info("agents of other machines call at port %d of %s", afar.port, afar.host)
    stopped.wait()
    log.info("stopping: current steps get %.0f s", GRACE_S)
    # First the door: who comes now must find nobody, and wait for the next daemon, rather than one that is about to go.
    server.stop()
    daemon.stop()


def _started(options: Options, checkpoint: Checkpoint) -> Daemon:
    """The daemon, running; what is wrong with its files and its database is said in a sentence, with the trace at level debug."""
    try:
        daemon = Daemon(options, checkpoint)
        daemon.start()
    except DBAPIError as problem:
        log.debug("start failed", exc_info=problem)
        place = make_url(options.database).render_as_string(hide_password=True)
        files = f" (or {options.directories.state / 'engine.db'})" if options.database.startswith("sqlite") else ""
        why = str(getattr(problem, "orig", None) or problem).strip().partition("\n")[0]
        hint = f"restore it from a backup ({options.directories.backups} has what was kept before migrations); engine.db alone may be moved away"
        if database_lost(problem) and not database_damaged(problem):
            hint = "nothing of it is lost: have it work again (its server, free space, whoever locks it), then start fleetd again"
        raise InternalError(f"the database {place}{files} cannot be used: {why}", hint=hint) from problem
    except OSError as problem:
        log.debug("start failed", exc_info=problem)
        raise InternalError(f"fleetd cannot start: {problem}", hint="free, give or put back what is named there") from problem
    return daemon


def main(arguments: Sequence[str] | None = None, checkpoint: Checkpoint = nothing) -> int:
    """Run until told to stop. Exit codes as in spec 3.5."""
    try:
        options, given = parse(sys.argv[1:] if arguments is None else arguments)
        os.umask(0o077)
        options.directories.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        options.directories.runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold(options.lock):
            log_file = options.directories.daemon_log if options.slot == 1 else options.directories.logs / f"fleetd-{options.slot}.log"
            configure_logs(log_file, given.log_level, given.log_stderr)
            threading.excepthook = lambda args: log.error("thread %s failed", args.thread and args.thread.name, exc_info=args.exc_value)
            daemon = _started(options, checkpoint)
            with linked(options.door, options.socket):
                _serve(daemon)
            log.info("stopped")
            if not daemon.drained:
                logging.shutdown()
                os._exit(0)  # a step's thread is stuck in a far side; it can store nothing any more
        return 0
    except FleetError as error:
        if log.hasHandlers():  # before there is a log, it would come twice to standard error
            log.error("%s %s", error.message, error.hint)
        print(f"fleetd: {error.message}{f'; {error.hint}' if error.hint else ''}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
