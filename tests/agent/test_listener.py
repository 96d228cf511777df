"""Plain HTTP beside the application: open to anybody, so nobody who comes may cost the agent more than a moment."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_tui.agent import listener as plain
from fleet_tui.agent.listener import MOST_VISITORS, Listener
from tests.agent.conftest import free_port
from tests.waiting import until


@pytest.fixture
def listener() -> Iterator[Listener]:
    sections: dict[str, dict[str, Any]] = {"http": {"port": free_port()}, "addresses": {"private_ip": "127.0.0.1"}, "certificate": {}}
    machine: Any = SimpleNamespace(section=sections.__getitem__, port=8443, url="https://127.0.0.1:8443")
    listener = Listener(machine)
    listener.challenges = {"token": "proof"}
    listener.open()
    yield listener
    listener.close()


@pytest.fixture
def visitors() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def visitor(visitors: contextlib.ExitStack, listener: Listener, address: str = "127.0.0.1") -> socket.socket:
    return visitors.enter_context(socket.create_connection(("127.0.0.1", listener.port), timeout=10, source_address=(address, 0)))


def threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def challenge(listener: Listener) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=10)
    with contextlib.closing(link):
        link.request("GET", "/.well-known/acme-challenge/token")
        answer = link.getresponse()
        return answer.status, answer.read()


def is_hung_up(link: socket.socket) -> bool:
    return bool(select.select([link], [], [], 0)[0])


def test_visitors_who_only_hold_a_place_keep_nobody_from_being_answered(listener: Listener, visitors: contextlib.ExitStack) -> None:
    patient = visitor(visitors, listener, "127.0.0.2")
    idle = [visitor(visitors, listener) for _ in range(3 * MOST_VISITORS)]
    assert challenge(listener) == (200, b"proof")
    assert threads() <= MOST_VISITORS + 1
    until(lambda: sum(map(is_hung_up, idle)) > 2 * MOST_VISITORS, what="the longest visitors being hung up on")
    assert not is_hung_up(patient), "places are lost by the address that takes them"
    patient.sendall(b"GET /.well-known/acme-challenge/token HTTP/1.0\r\n\r\n")
    assert b" 200 " in patient.recv(100)


def test_a_request_that_comes_byte_by_byte_has_one_deadline(
    listener: Listener, visitors: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "_ANSWER_S", 0.5)
    slow = visitor(visitors, listener)

    def goes_on() -> bool:
        with contextlib.suppress(OSError):
            slow.sendall(b"G")
        return is_hung_up(slow)

    until(goes_on, what="the end of a request that never ends")
    until(lambda: not threads(), what="the end of its thread")


def test_no_more_of_a_request_is_kept_than_is_looked_at(listener: Listener, visitors: contextlib.ExitStack) -> None:
    talkative = visitor(visitors, listener)
    with contextlib.suppress(OSError):
        talkative.sendall(b"GET /.well-known/acme-challenge/token HTTP/1.0\r\n" + (b"a: " + b"b" * 1024 + b"\r\n") * 32)
    until(lambda: is_hung_up(talkative) and not threads(), 5.0, what="an answer without the rest of it")


def test_whoever_is_there_when_it_closes_is_let_go(listener: Listener, visitors: contextlib.ExitStack) -> None:
    idle = visitor(visitors, listener)
    until(threads, what="a visitor")
    listener.close()
    until(lambda: is_hung_up(idle) and not threads(), 5.0, what="the visitor's end")
