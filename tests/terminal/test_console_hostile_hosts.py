"""The console's screens of hosts, VMs and maintenance in front of a site whose hypervisors, guests and people are hostile: every byte sent.

First what the daemon stores is looked at, then the store is poisoned past its cleaning, and a person walks every screen, pane and dialog. The
serial line is walked as a person types on it: the guest's shell answers with every attack there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from tests.terminal.hostile import MARK
from tests.terminal.hostile_premises import Premises, hostile_premises
from tests.terminal.sequences import HIDDEN, is_foreign, read
from tests.terminal.test_console_hostile import DISARM, ESC, Step, console, walk
from tests.waiting import until

pytestmark = pytest.mark.slow

LEAVE = "\x1d"
"""ctrl+], which leaves a serial line."""
HOSTS = rf"\A[^┌]*› hosts\b[^┌]*HOST[^┌]*STATE[^┌]*{MARK}[^┌]*\Z"
PLACES = rf"\A[^┌]*PLACE +HOSTS[^┌]*{MARK}[^┌]*\Z"
VMS = rf"\A[^┌]*› vms \d[^┌]*{MARK}[^┌]*\Z"
KEPT = rf"\A[^┌]*› maintenance[^┌]*eady for maintenance[^┌]*{MARK}[^┌]*\Z"
FORECAST = rf"\A[^┌]*› maintenance[^┌]*Forecast: nothing is changed[^┌]*{MARK}[^┌]*\Z"
VM = rf"\A[^┌]*› vms ›[^┌]*{MARK}[^┌]*size[^┌]*\Z"


def hosts(premises: Premises) -> Sequence[Step]:
    name = premises.host.name
    return [
        ("3", HOSTS), ("w", HOSTS), ("w", HOSTS), ("c", "name copied"), ("C", "row copied"), ("d", "› describe"), (ESC, HOSTS), ("y", "› raw"), (ESC, HOSTS),
        (("/", name, "enter"), f"/{name}"), ("x", f"Actions · {name}"), (ESC, HOSTS), ("e", f"Edit {name}"), (ESC, HOSTS),
        ("n", "Add a host"), (ESC, HOSTS), ("K", "› patches"), (ESC, HOSTS), ("v", VMS), (ESC, HOSTS), ("l", "› log"), (ESC, HOSTS), (ESC, HOSTS),
    ]  # fmt: skip


TREE: Sequence[Step] = [
    ("t", "PLACE +HOSTS"), (("j", "j", "j", "right"), rf"zone-a {MARK}(?s:.*)- kvm-a1 {MARK}"),
    ("x", "Actions ·"), (ESC, PLACES), ("O", "Over-provisioning of"), (ESC, PLACES),
    ("M", "Rolling maintenance of"), (ESC, PLACES), ("W", "Password of cluster"), (ESC, PLACES),
    ((ESC, ESC), HOSTS),
]  # fmt: skip


def host(premises: Premises) -> Sequence[Step]:
    name = premises.host.name
    return [
        (("/", name, "enter"), f"/{name}"), ("enter", rf"› {name} {MARK}(?s:.*)Overview(?s:.*)address +{MARK}"), ("d", "› describe"), (ESC, "Overview"),
        ("right", rf"VM +STATE(?s:.*){MARK}"), ("d", "› describe"), (ESC, "VM +STATE"), ("enter", VM), (ESC, "VM +STATE"),
        ("right", rf"INTERFACE(?s:.*){MARK}"), ("right", rf"PATCH +SEVERITY(?s:.*){MARK}"), ("enter", "› describe"), (ESC, "PATCH +SEVERITY"),
        ("right", "BEGAN|never in maintenance"), ("right", "─ log ·"), ("w", "─ log ·"), ("w", "─ log ·"), ("left", "BEGAN|never"),
        (("left", "left", "left", "left"), "address"), ("x", f"Actions · {name}"), (ESC, "Overview"), (ESC, HOSTS), (ESC, HOSTS),
    ]  # fmt: skip


def maintenance(premises: Premises) -> Sequence[Step]:
    kept, name = premises.kept.name, premises.host.name
    return [
        (("/", kept, "enter"), f"/{kept}"), ("m", KEPT), (("j", "j", "j"), MARK), ("d", "› describe"), (ESC, KEPT), ("y", "› raw"), (ESC, KEPT),
        ("x", f"Actions · {kept}"), (ESC, KEPT), ("K", f"Checklist of {kept}"), (ESC, KEPT), ("N", f"Note on {kept}"), (ESC, KEPT),
        ("e", f"Session of {kept}"), (ESC, KEPT), ("A", "Mail the owners"), (ESC, KEPT), ("C", "Cancel maintenance kvm"), (ESC, KEPT),
        ("F", "› describe"), (ESC, KEPT), ("l", "› log"), (ESC, KEPT), ("enter", VM), (ESC, KEPT), ("H", "Overview"), (ESC, KEPT), (ESC, HOSTS),
        ((ESC, "/", name, "enter"), f"/{name}"), ("m", FORECAST), (("j", "j"), FORECAST), ("d", "› describe"), (ESC, FORECAST),
        ("M", f"Take {name}(?s:.*)would move"), (ESC, FORECAST), ("x", f"Actions · {name}"), (ESC, FORECAST), (ESC, HOSTS), (ESC, HOSTS),
    ]  # fmt: skip


def vms(premises: Premises) -> Sequence[Step]:
    name, stopped = premises.vm.name, premises.stopped.name
    return [
        ((":", "vms", "enter"), VMS), ("w", VMS), ("w", VMS), ("c", "name copied"), ("C", "row copied"), ("y", "› raw"), (ESC, VMS),
        (("/", name, "enter"), f"/{name}"), ("x", f"Actions · {name}"), (ESC, VMS), ("m", f"Move {name}"), (ESC, VMS), ("e", f"{name}(?s:.*)Owners"),
        (ESC, VMS), ("S", f"Stop {name}"), (ESC, VMS), ((":", "vm-destroy", "enter"), "protected"),
        ("enter", VM), ("d", "› describe"), (ESC, VM), ("w", VM), ("f", MARK), (ESC, VM), ("x", f"Actions · {name}"), (ESC, VM), (ESC, VMS),
        ((ESC, "/", stopped, "enter"), f"/{stopped}"), ((":", "vm-resize", "enter"), f"Resize {stopped}"), (ESC, VMS), ((ESC, "/", name, "enter"), f"/{name}"),
    ]  # fmt: skip


SERIAL: Sequence[Step] = [
    ("enter", VM), ("s", rf"typing goes to the guest(?s:.*){MARK}"), (("hostname", "\r"), "/ # _"), (("echo [/nope] \x1b[200~\u202epasted\x1b[201~", "\r"), "pasted"),
    (LEAVE, VM), (ESC, VMS), (ESC, VMS),
]  # fmt: skip
REST: Sequence[Step] = [
    ((":", "patches", "enter"), rf"PATCH(?s:.*){MARK}"), ("d", "› describe"), (ESC, "PATCH"), ("C", "row copied"), (ESC, VMS),
    ((":", "offerings", "enter"), rf"OFFERING▲(?s:.*){MARK}(?s:.*)enter open"), ("d", "› describe"), (ESC, "OFFERING"), (ESC, VMS),
    ((":", "new-vm", "enter"), "New VM"), (ESC, VMS), ((":", "new-cluster", "enter"), "New cluster"), (ESC, VMS), ((":", "new-zone", "enter"), "New zone"),
    (("x", ESC), VMS), ("9", "› events"), ("7", "› operations"), ("1", rf"ATTENTION(?s:.*){MARK}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def clean() -> Iterator[Premises]:
    with hostile_premises() as found:
        yield found


def test_what_the_daemon_stores_is_harmless(clean: Premises) -> None:
    said = clean.stored()
    assert said.count(MARK) > 100
    assert sorted({ascii(character) for character in said if is_foreign(character)}) == []
    assert re.findall(r"(?<!\\)\\(?:u00[0189].|[bf])", said) == []
    assert clean.site.complaints() == []


@pytest.fixture(scope="module")
def poisoned(clean: Premises) -> Premises:
    clean.poison()
    return clean


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
def test_every_place_that_shows_foreign_text(poisoned: Premises, size: tuple[int, int]) -> None:
    with console(poisoned.site, size=size) as terminal:
        walk(terminal, ((), "link ok"), *hosts(poisoned), *TREE, *host(poisoned), *maintenance(poisoned), *vms(poisoned), *SERIAL, *REST)
        terminal.press("q")
        until(lambda: terminal.read() == b"" and not terminal.is_alive, what="the console to end")
    found = read(bytes(terminal.raw))
    assert found.foreign == []
    assert found.text.count(MARK) > 500
    assert [ascii(text) for text in found.copied if any(is_foreign(c) for c in text)] == []
    assert len(found.copied) == 5


@pytest.mark.parametrize("pane", ["hosts", "vms", "maintenance KEPT", "maintenance HOST"])
def test_panes(poisoned: Premises, pane: str) -> None:
    words = [{"KEPT": poisoned.kept.id, "HOST": poisoned.host.id}.get(word, word) for word in pane.split()]
    for size in ((80, 24), (160, 48), (60, 12)):
        with console(poisoned.site, "pane", *words, size=size) as terminal:
            walk(terminal, ((), MARK), ("w", MARK), ("z", "siege"), ("G", MARK))
            terminal.settle(0.2)
            assert terminal.is_alive
        found = read(bytes(terminal.raw))
        assert (found.foreign, found.copied) == ([], [])


def test_the_reader_would_notice(poisoned: Premises) -> None:
    """With the console's cleaning taken away, the same site gets through: the tests above test something."""
    with console(poisoned.site, size=(120, 40), prelude=DISARM) as terminal:
        until(lambda: terminal.read(0.2) is not None and b"link ok" in terminal.raw, what="the console")  # its picture is wiped by what it shows
        for key in ("3", "d"):
            terminal.press(key)
            terminal.settle(1.0)

        def got_through() -> bool:
            terminal.read(0.2)
            found = read(bytes(terminal.raw))
            return ("ZXZpbA==" in "".join(found.foreign) or "evil" in found.copied) and bool(HIDDEN.search(found.text))

        until(got_through, timeout=60, what="hostile text to get through an unguarded console")
