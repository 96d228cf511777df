"""The door on the network, with real TLS and real strangers: what agents may do there, and what nobody else can."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.agent.door import Door as AgentSide
from fleet_tui.agent.failures import DoorRefused, DoorUnreachable, Fatal
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.dispatch import Dispatcher
from fleet_tui.backend.api.gate import Limits
from fleet_tui.backend.api.listeners import AGENT_BODIES, AgentListener, UnixListener
from fleet_tui.backend.api.server import Server
from fleet_tui.backend.authority import Rules
from fleet_tui.backend.authority.root import Authority
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.identity.users import Users
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.store import Store, sqlite_url
from fleet_tui.backend.telemetry.agents import Agents
from fleet_tui.backend.telemetry.lines import Lines
from fleet_tui.backend.telemetry.rows import AgentRow
from tests.doors import reached
from tests.waiting import until


class Site:
    """A store with agents in it, and the door that they reach it by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(sqlite_url(folder / "fleet.db"))
        self.store.create_all()
        envelope = Envelope(b"k" * 32)
        self.feed = Feed(self.store)
        self.agents = Agents(self.store, Lines(self.store, self.feed), envelope)
        self.authority = Authority(self.store, envelope, "test", rules=Rules())
        self.listener: AgentListener | None = None
        self.server: Server | None = None
        self.called: list[str] = []
        self.fetching: Callable[[Any, Any], Any] = reached
        self.pem = self.authority.certificate_pem()
        self.issued = self.authority.issue("127.0.0.1", "localhost")

    def open(self, **limits: Any) -> Site:
        made_up = {name: reached for name, method in METHODS.items() if not method.stream}
        handlers = {
            **made_up, "agent.hello": lambda caller, request: self.agents.hello(request),
            "agent.report": lambda caller, request: self.agents.report(request), "agent.fetch": self.fetching,
        }
        users = Users(self.store, SystemClock())
        users.bootstrap(-1, "nobody")  # even if somebody were known by it
        dispatcher = Dispatcher(handlers, users, Audit(self.store, SystemClock()))
        self.server = Server(dispatcher, grace_s=2.0)
        self.listener = AgentListener("127.0.0.1", 0, lambda: self.issued, lambda issued: False, replace(Limits(AGENT_BODIES), **limits))
        self.server.start([UnixListener(self.folder / "run" / "fleetd.sock"), self.listener])
        return self

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()
        self.feed.close()
        self.store.close()

    def expect(self, machine: str = "vm-1", document: dict[str, Any] | None = None) -> str:
        """The one-time token of a machine that is about to boot."""
        with self.store.write() as tx:
            return self.agents.expect(tx, machine, "instance:i-1", document or {"instance": {"id": "i-1"}}, None, f"step-of-{machine}")

    @property
    def place(self) -> tuple[str, int]:
        assert self.listener is not None
        return ("127.0.0.1", self.listener.port)

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.place[1]}"

    def agent(self, machine: str = "vm-1", pem: str | None = None) -> AgentSide:
        return AgentSide(self.address, machine, self.pem if pem is None else pem)

    def shake(self) -> ssl.SSLSocket:
        """A connection of a stranger who speaks TLS."""
        context = ssl.create_default_context(cadata=self.pem)
        return context.wrap_socket(socket.create_connection(self.place, 10.0), server_hostname="127.0.0.1")

    def seen(self, machine: str = "vm-1") -> bool:
        """Whether any agent of that machine was believed."""
        with self.store.read() as tx:
            row = tx.get(AgentRow, machine)
            return row is not None and row.hello_at is not None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One authority for all: it takes a second to make."""
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@pytest.fixture
def site(made: Site) -> Iterator[Site]:
    yield made
    if made.server is not None:
        made.server.stop()
        made.server = None


def hello(token: str, boot: str = "b-1", machine: str = "vm-1") -> dict[str, Any]:
    return {"machine": machine, "boot": boot, "token": token, "clock": time.time(), "pid": 7, "agent_version": "1"}


def ask(
    link: ssl.SSLSocket, method: str, body: bytes = b"{}", verb: str = "POST", target: str = "", machine: str = "x",
) -> tuple[int, dict[str, Any]]:
    fields = f"Host: x\r\nFleet-Agent: {machine}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"{verb} {target or f'/v1/{method}'} HTTP/1.1\r\n{fields}\r\n\r\n"
    link.sendall(head.encode() + body)
    return answer(link)


def answer(link: ssl.SSLSocket) -> tuple[int, dict[str, Any]]:
    link.settimeout(20.0)
    with link.makefile("rb") as file:
        status = int(file.readline().split()[1])
        length = 0
        while line := file.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(file.read(length) or b"{}")


def closed(link: socket.socket) -> bool:
    """The other side ended the connection, and said nothing more."""
    link.settimeout(20.0)
    try:
        return link.recv(1) == b""
    except (ConnectionError, ssl.SSLError):
        return True


# --- agents ------------------------------------------------------------------------------------------------------------


def test_an_agent_exchanges_its_token_for_a_key_and_reports(site: Site) -> None:
    site.open()
    token = site.expect()
    agent = site.agent()
    welcome = agent.call("agent.hello", hello(token))
    assert welcome["document"] == {"instance": {"id": "i-1"}}
    line = {"seq": 1, "time": time.time(), "phase": "hello", "level": "info", "text": "up \x1b[2J\u202e"}
    told = {"machine": "vm-1", "boot": "b-1", "key": welcome["key"], "lines": [line], "health": "ok\x1b", "standing": 1}
    assert agent.call("agent.report", told) == {"seq": 1, "commands": []}
    with site.store.write() as tx:
        site.agents.command(tx, "vm-1", "c-1", "restart-app", {})
        assert tx.get_one(AgentRow, "vm-1").health.isprintable()
    site.agents.ring()
    assert [command["id"] for command in agent.call("agent.report", {**told, "lines": [], "wait_s": 20.0}, wait_s=20.0)["commands"]] == ["c-1"]
    agent.close()


def test_a_token_that_was_used_is_of_no_use_to_anybody_else(site: Site) -> None:
    site.open()
    token = site.expect("vm-2")
    first = site.agent("vm-2").call("agent.hello", hello(token, "b-1", "vm-2"))
    assert site.agent("vm-2").call("agent.hello", hello(token, "b-1", "vm-2")) == first, "the same boot may ask again after a crash"
    for wrong in (hello(token, "b-2", "vm-2"), hello(token, "b-2", "vm-1"), hello(token[1:], "b-1", "vm-2")):
        with pytest.raises(DoorRefused) as refused:
            site.agent("vm-2").call("agent.hello", wrong)
        assert refused.value.code == "auth_failed"
    for key in ("", "k", token):
        with pytest.raises(DoorRefused):
            site.agent("vm-2").call("agent.report", {"machine": "vm-2", "boot": "b-1", "key": key})


def test_an_agent_sends_nothing_to_one_who_is_not_of_its_fleet(site: Site, tmp_path: Path) -> None:
    site.open()
    token = site.expect("vm-3")
    other = Store(sqlite_url(tmp_path / "other.db"))
    other.create_all()
    strange = Authority(other, Envelope(b"o" * 32), "test", rules=Rules(key_bits=1024)).certificate_pem()
    other.close()
    agent = site.agent("vm-3", strange)
    with pytest.raises(DoorUnreachable, match="no certificate of this fleet"):
        agent.call("agent.hello", hello(token, machine="vm-3"))
    assert not site.seen("vm-3")
    named = AgentSide(f"https://localhost:{site.place[1]}", "vm-3", site.pem)
    assert named.call("agent.hello", hello(token, machine="vm-3"))["key"], "and by another of its names it is believed"
    misnamed = AgentSide(f"https://127.0.0.2:{site.place[1]}", "vm-3", site.pem)
    with pytest.raises(DoorUnreachable):
        misnamed.call("agent.hello", hello(token, machine="vm-3"))


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:1", "https://127.0.0.1", "https://a:1/x", "https://u@a:1", "127.0.0.1:1", "https://a:x"])
def test_an_agent_calls_nowhere_else(address: str) -> None:
    with pytest.raises(Fatal):
        AgentSide(address, "vm-1", "-")


def test_an_agent_without_an_authority_calls_nobody(site: Site) -> None:
    for pem in ("", "no certificate"):
        with pytest.raises(Fatal):
            AgentSide("https://127.0.0.1:1", "vm-1", pem)


def test_of_several_daemons_one_that_answers_is_enough(site: Site) -> None:
    site.open()
    token = site.expect("vm-4")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts in the kernel, and says nothing: this one is plain gone
        gone = silent.getsockname()[1]
    agent = AgentSide(f"https://127.0.0.1:{gone} {site.address}", "vm-4", site.pem)
    assert agent.call("agent.hello", hello(token, machine="vm-4"))["key"]
    assert agent.call("agent.hello", hello(token, machine="vm-4"))["key"]
    agent.close()


# --- strangers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted({*METHODS, "console", "nonsense"} - set(AGENT_BODIES)))
def test_nothing_but_what_agents_call_can_be_reached(site: Site, method: str) -> None:
    if site.server is None:
        site.open()
    with site.shake() as link:
        status, said = ask(link, method)
        assert (status, said["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(("verb", "target"), [("GET", "/healthz"), ("GET", "/v1/agent.hello"), ("POST", "/"), ("POST", "/v1/agent.hello/x"), ("GET", "/")])
def test_nothing_is_told_of_the_daemon(site: Site, verb: str, target: str) -> None:
    site.open()
    with site.shake() as link:
        status, said = ask(link, "", verb=verb, target=target)
        assert status in (404, 405) and "error" in said


def test_who_speaks_no_tls_gets_no_answer(site: Site) -> None:
    site.open()
    with socket.create_connection(site.place, 10.0) as link:
        link.sendall(b"POST /v1/agent.hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        link.settimeout(20.0)
        said = b""
        with contextlib.suppress(ConnectionError):
            while part := link.recv(4096):
                said += part
        assert b"HTTP" not in said
    works(site)


def works(site: Site) -> None:
    """Agents get their answer all the same."""
    with site.shake() as link:
        assert ask(link, "agent.hello", json.dumps(hello("wrong")).encode())[0] == 401


def gets_in(site: Site) -> bool:
    try:
        works(site)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(site: Site, version: ssl.TLSVersion) -> None:
    site.open()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(site.place, 10.0) as link, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(link)
    works(site)


def test_who_is_slow_at_any_step_is_let_go(site: Site) -> None:
    site.open(handshake_s=0.5, request_s=0.5, idle_s=0.5)
    links: list[socket.socket] = [socket.create_connection(site.place, 10.0)]  # never shakes hands
    half = site.shake()
    half.sendall(b"POST /v1/agent.hello HTTP/1.1\r\nHost")  # never ends its headers
    mute, body, idle = site.shake(), site.shake(), site.shake()
    body.sendall(b"POST /v1/agent.hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")  # never ends its body
    assert ask(idle, "agent.hello", json.dumps(hello("wrong")).encode())[0] == 401  # and never asks again
    assert answer(body)[0] == 504
    for link in (*links, half, mute, body, idle):
        assert closed(link)
        link.close()
    works(site)


def test_an_agent_may_be_held_longer_than_a_stranger(site: Site) -> None:
    site.open(request_s=0.3, idle_s=30.0)
    token = site.expect("vm-5")
    agent = site.agent("vm-5")
    key = agent.call("agent.hello", hello(token, machine="vm-5"))["key"]
    assert agent.call("agent.report", {"machine": "vm-5", "boot": "b-1", "key": key, "wait_s": 1.0}, wait_s=1.0) == {"seq": 0, "commands": []}
    agent.close()


@pytest.mark.parametrize("method", sorted(AGENT_BODIES))
def test_more_than_an_agent_sends_is_not_taken(site: Site, method: str) -> None:
    site.open()
    most = AGENT_BODIES[method]
    with site.shake() as link:
        link.sendall(f"POST /v1/{method} HTTP/1.1\r\nHost: x\r\nContent-Length: {most + 1}\r\n\r\n".encode())
        status, said = answer(link)
        assert status == 400 and said["error"]["details"]["most_bytes"] == most
        assert closed(link)
    with site.shake() as link:
        link.sendall(f"POST /v1/{method} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        part = b"%x\r\n%s\r\n" % (32768, b" " * 32768)
        with contextlib.suppress(OSError):  # it stops listening at some point
            for _ in range(most // 32768 + 2):
                link.sendall(part)
        assert answer(link)[0] == 400
    works(site)


def test_places_are_limited_for_all_and_for_each(site: Site) -> None:
    site.open(most_each=3)
    links = [site.shake() for _ in range(3)]
    with socket.create_connection(site.place, 10.0) as more:
        assert closed(more)
    links.pop().close()
    until(lambda: gets_in(site), 20.0, "a place that was left is given to the next")
    for link in links:
        link.close()


def test_places_of_agents_are_not_for_strangers(site: Site) -> None:
    """Many agents behind one address, and beside them a crowd of it that proves nothing."""
    site.open(most=40, most_each=40, strangers_each=5, request_s=30.0)
    agents = []
    for number in range(12):
        token = site.expect(f"vm-p{number}")
        agents.append((agent := site.agent(f"vm-p{number}"), agent.call("agent.hello", hello(token, machine=f"vm-p{number}"))["key"]))
    crowd = [socket.create_connection(site.place, 10.0) for _ in range(5)]
    with socket.create_connection(site.place, 10.0) as more:
        assert closed(more)
    for number, (agent, key) in enumerate(agents):
        assert agent.call("agent.report", {"machine": f"vm-p{number}", "boot": "b-1", "key": key})["seq"] == 0
        agent.close()
    for link in crowd:
        link.close()


def test_strangers_of_many_addresses_take_half_of_all_places(site: Site) -> None:
    site.open(most=8, request_s=30.0)
    token = site.expect("vm-12")
    agent = site.agent("vm-12")
    agent.call("agent.hello", hello(token, machine="vm-12"))
    crowd = [socket.create_connection(site.place, 10.0, source_address=(f"127.0.0.{number}", 0)) for number in range(2, 6)]
    with socket.create_connection(site.place, 10.0) as more:
        assert closed(more)
    for link in crowd:
        link.close()
    until(lambda: gets_in(site), 20.0, "places that were left are given to the next")
    agent.close()


def test_one_who_guesses_is_not_listened_to_for_a_while(site: Site) -> None:
    site.open(failures=5, silence_s=60.0)
    token = site.expect("vm-6")
    guess = json.dumps(hello("guess", machine="vm-6")).encode()
    with site.shake() as link:
        for _ in range(5):
            assert ask(link, "agent.hello", guess, machine="vm-6")[0] == 401
        status, said = ask(link, "agent.hello", json.dumps(hello(token, machine="vm-6")).encode(), machine="vm-6")
        assert (status, said["error"]["code"]) == (409, "busy")
    with pytest.raises(DoorUnreachable):  # which an agent takes for worth another try
        site.agent("vm-6").call("agent.hello", hello(token, machine="vm-6"))
    assert not site.seen("vm-6")
    other = site.expect("vm-8")
    assert site.agent("vm-8").call("agent.hello", hello(other, machine="vm-8"))["key"], "others behind the same address are"


def test_one_who_guesses_under_many_names_silences_the_address(site: Site) -> None:
    site.open(failures=2, silence_s=60.0)
    with site.shake() as link:
        for number in range(20):
            assert ask(link, "agent.hello", json.dumps(hello("guess")).encode(), machine=f"m-{number}")[0] == 401
        assert ask(link, "agent.hello", json.dumps(hello("guess")).encode(), machine="m-20")[0] == 409


def test_failures_of_others_behind_its_address_silence_no_agent_that_was_believed(site: Site) -> None:
    site.open(failures=3, silence_s=60.0)
    token, late = site.expect("vm-9"), site.expect("vm-10")
    agent = site.agent("vm-9")
    welcome = agent.call("agent.hello", hello(token, machine="vm-9"))
    guess = json.dumps(hello("guess")).encode()
    with site.shake() as link:
        while ask(link, "agent.hello", guess, machine=f"m-{time.monotonic()}")[0] == 401:
            pass
        assert ask(link, "agent.hello", json.dumps(hello(late, machine="vm-10")).encode(), machine="vm-10")[0] == 409
        assert agent.call("agent.report", {"machine": "vm-9", "boot": "b-1", "key": welcome["key"]})["seq"] == 0
        for _ in range(3):  # believed once is no licence to guess
            assert ask(link, "agent.hello", guess, machine="vm-9")[0] == 401
        assert ask(link, "agent.hello", guess, machine="vm-9")[0] == 409
    agent.close()


def test_machines_that_were_forgotten_keep_no_new_one_out(site: Site) -> None:
    site.open(failures=10, silence_s=60.0)
    guess = json.dumps(hello("forgotten")).encode()
    with site.shake() as link:
        for number in range(15):
            while ask(link, "agent.hello", guess, machine=f"old-{number}")[0] == 401:
                pass
    token = site.expect("vm-11")
    assert site.agent("vm-11").call("agent.hello", hello(token, machine="vm-11"))["key"]


def test_a_program_that_does_not_say_whose_it_is_counts_once(site: Site) -> None:
    """As the first ones did: all of an address are one to us."""
    site.open(failures=3, silence_s=60.0)
    guess = json.dumps(hello("guess")).encode()
    with site.shake() as link:
        for _ in range(30):
            assert ask(link, "agent.hello", guess, machine="")[0] == 401
        assert ask(link, "agent.hello", guess, machine="")[0] == 409


def test_a_crowd_of_slow_strangers_keeps_no_agent_waiting(site: Site) -> None:
    site.open(handshake_s=30.0, request_s=30.0)
    token = site.expect("vm-7")
    crowd = [socket.create_connection(site.place, 10.0) for _ in range(100)]
    crowd += [site.shake() for _ in range(50)]
    answered = threading.Event()

    def call() -> None:
        if site.agent("vm-7").call("agent.hello", hello(token, machine="vm-7"))["key"]:
            answered.set()

    threading.Thread(target=call, daemon=True).start()
    assert answered.wait(10.0)
    for link in crowd:
        link.close()
