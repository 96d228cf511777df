"""What outlives what: agent, application, door, lines. Real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_tui.agent import processes
from fleet_tui.backend.providers import MachineState
from tests.agent.conftest import MACHINE, Rig, quiet
from tests.waiting import until


def noisy(count: int) -> dict[str, object]:
    return {
        "kind": "run_tasks", "name": "noise", "stage": "after_install", "enabled": True,
        "parameters": {"tasks": [{"name": "count", "run": f"i=0; while [ $i -lt {count} ]; do echo line-$i; i=$((i+1)); done"}]},
    }


def numbers(rig: Rig) -> list[int]:
    return [int(text[5:]) for text in rig.door.texts() if text.startswith("line-")]


def assert_gapless(rig: Rig) -> None:
    for boot in {boot for boot, _ in rig.door.lines}:
        seqs = sorted(seq for named, seq in rig.door.lines if named == boot)
        assert seqs == list(range(1, len(seqs) + 1))


def test_killed_agent_frees_its_lock_and_the_next_one_goes_on_as_the_same_boot(rig: Rig) -> None:
    rig.start()
    application, agent = rig.application_pid(), rig.pid()
    os.kill(agent, signal.SIGKILL)
    until(lambda: rig.state() is MachineState.BROKEN)
    assert "web" in rig.get(), "the application lives on"

    rig.door.phases = {}
    rig.boot(new_token=False)
    rig.ready()
    assert rig.pid() != agent and rig.application_pid() != application
    assert processes.find(application) is None
    assert len({boot for boot, _ in rig.door.lines}) == 1
    assert any(f"stopping pid {application}" in text for text in rig.door.texts("internal-setup"))
    assert_gapless(rig)


def test_agent_goes_on_without_a_token(rig: Rig) -> None:
    rig.start()
    os.kill(rig.pid(), signal.SIGKILL)
    until(lambda: rig.state() is MachineState.BROKEN)
    rig.door.phases = {}
    environment = {"PATH": os.environ["PATH"], **processes.marks(MACHINE, rig.folder)}
    subprocess.run([sys.executable, str(rig.folder / "agent.pyz"), "--detach", str(rig.folder)], env=environment, check=True, timeout=20)
    rig.ready()
    assert len(rig.door.hellos) == 1


def test_second_agent_of_a_machine_ends_by_itself(rig: Rig) -> None:
    rig.start()
    environment = {"PATH": os.environ["PATH"], **processes.marks(MACHINE, rig.folder)}
    done = subprocess.run(
        [sys.executable, str(rig.folder / "agent.pyz"), str(rig.folder)], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0 and "runs already" in done.stderr
    pid = rig.pid()
    rig.boot(new_token=False)
    assert rig.pid() == pid and "runs already" in rig.said[-1]


def test_lines_written_while_the_door_is_shut_arrive_once(rig: Rig) -> None:
    rig.document["actions"] = [noisy(3000)]
    rig.start()
    until(lambda: len(numbers(rig)) == 3000)
    rig.door.shut()
    for _ in range(20):
        rig.get()
    rig.door.answers_to_lose = 3
    rig.door.open()
    until(lambda: sum("GET / 200" in text for text in rig.door.texts("application")) == 20)
    until(lambda: rig.door.answers_to_lose == 0 or rig.get(), 20.0)
    assert numbers(rig) == list(range(3000))
    assert_gapless(rig)


def test_start_up_goes_on_while_the_door_is_shut(rig: Rig) -> None:
    gate = rig.root / "gate"
    rig.document["actions"] = [
        {
            "kind": "run_tasks", "name": "wait", "stage": "before_install", "enabled": True,
            "parameters": {"tasks": [{"name": "gate", "run": f"echo at the gate; until [ -e {gate} ]; do sleep 0.02; done"}]},
        }
    ]
    rig.make()
    rig.boot()
    until(lambda: "at the gate" in rig.door.texts())
    rig.door.shut()
    gate.touch()
    until(lambda: socket.create_connection(("127.0.0.1", rig.port), 1) and True if _listens(rig.port) else False, 20.0)
    rig.door.open()
    rig.ready()
    assert_gapless(rig)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_agent_waits_for_a_door_that_is_not_there_yet(rig: Rig) -> None:
    rig.door.shut()
    rig.make()
    rig.boot()
    until(lambda: "does not answer" in b"".join(p.read_bytes() for p in rig.folder.glob("spool/*/*.lines")).decode())
    rig.door.open()
    rig.ready()
    assert any("does not answer" in text for text in rig.door.texts("hello"))


def test_line_of_a_megabyte_and_hostile_bytes_come_as_text(rig: Rig) -> None:
    script = "head -c 1000000 /dev/zero | tr '\\\\0' x; printf '\\\\n\\\\033]52;c;aGk=\\\\007 \\\\377 [/nope]\\\\n'; echo after"
    task = {"name": "big", "run": script.replace("\\\\", "\\")}
    rig.document["actions"] = [{"kind": "run_tasks", "name": "n", "stage": "after_install", "enabled": True, "parameters": {"tasks": [task]}}]
    rig.start()
    lines = rig.door.texts("actions:after_install")
    big = next(text for text in lines if text.startswith("xxxx"))
    assert len(big) < 66_000 and big.endswith("[934464 more bytes cut]")
    assert "\x1b]52;c;aGk=\x07 \ufffd [/nope]" in lines and "after" in lines
    peak = next(line for line in Path(f"/proc/{rig.pid()}/status").read_text().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 60_000, peak


def test_crashed_application_is_started_again_with_a_line_about_it(rig: Rig) -> None:
    rig.start()
    first = rig.application_pid()
    os.kill(first, signal.SIGKILL)
    until(lambda: any("ended by itself: killed by SIGKILL" in text for text in rig.door.texts("application")))
    until(lambda: rig.application_pid() != first)
    until(lambda: rig.door.health[-1][0] == "ok" and any(told == "app-down" for told, _ in rig.door.health))
    assert "web" in rig.get()


@pytest.mark.parametrize("verb", ["terminate", "shut_down"])
def test_nothing_of_the_machine_stays_and_its_disk_does(rig: Rig, verb: str) -> None:
    deaf = "trap '' TERM; " if verb == "shut_down" else ""
    hidden = f"(setsid sleep 1000 >/dev/null 2>&1 &) ; ({deaf}sleep 1000 & wait) >/dev/null 2>&1 & echo left"
    rig.document["actions"] = [
        {
            "kind": "run_tasks", "name": "n", "stage": "after_startup", "enabled": True,
            "parameters": {"tasks": [{"name": "t", "run": hidden}]},
        }
    ]
    rig.start()
    before = processes.marked(processes.marks(MACHINE, rig.folder))
    assert len(before) >= 4
    content = (rig.disk / "application/hello/first-seen").read_bytes()
    if verb == "terminate":
        rig.provider.terminate(MACHINE, quiet)
    else:
        rig.provider.shut_down(MACHINE, 1.0, quiet)
    assert not [one for one in before if (now := processes.find(one.pid)) and now.started == one.started]
    assert not _listens(rig.port)
    assert rig.state() is (MachineState.ABSENT if verb == "terminate" else MachineState.OFF)
    assert (rig.disk / "application/hello/first-seen").read_bytes() == content


def test_application_without_our_marks_is_found_all_the_same(rig: Rig) -> None:
    rig.bundle(start='exec env -i FLEET_PORT="$FLEET_PORT" FLEET_DATA="$FLEET_DATA" "$FLEET_PYTHON" -u app.py')
    rig.start()
    application = rig.application_pid()
    os.kill(rig.pid(), signal.SIGKILL)
    until(lambda: rig.state() is MachineState.BROKEN)
    rig.provider.terminate(MACHINE, quiet)
    assert processes.find(application) is None and not _listens(rig.port)


def test_shut_down_stops_the_application_in_order_and_a_new_boot_has_a_new_number(rig: Rig) -> None:
    rig.start()
    rig.provider.shut_down(MACHINE, 10.0, quiet)
    assert rig.state() is MachineState.OFF
    until(lambda: "the agent ends" in rig.door.texts())
    assert {"good-bye", "asking process " + str(rig.application_pid()) + " to end"} <= set(rig.door.texts("application"))
    rig.door.phases = {}
    rig.boot()
    rig.ready()
    assert len({boot for boot, _ in rig.door.lines}) == 2
    assert_gapless(rig)


def unsent_visits(rig: Rig, count: int) -> str:
    """Visits whose lines the killed agent could not send; gives its boot."""
    rig.door.shut()
    for _ in range(count):
        rig.get()
    until(lambda: b"".join(p.read_bytes() for p in rig.folder.glob("spool/*/*.lines")).count(b"GET / 200") >= count)
    boot = max(rig.folder.glob("spool/*"), key=lambda folder: folder.stat().st_mtime).name
    os.kill(rig.pid(), signal.SIGKILL)
    until(lambda: rig.state() is MachineState.BROKEN)
    rig.provider.shut_down(MACHINE, 10.0, quiet)
    return boot


def test_lines_an_earlier_boot_could_not_send_come_from_the_next_under_their_own_numbers(rig: Rig) -> None:
    rig.start()
    old = unsent_visits(rig, 5)
    rig.door.open()
    rig.door.phases = {}
    rig.boot()
    rig.ready()
    until(lambda: rig.door.texts("application").count("127.0.0.1 GET / 200") == 5)
    assert sum(boot == old and "GET / 200" in line["text"] for (boot, _), line in rig.door.lines.items()) == 5
    until(lambda: not (rig.folder / "spool" / old).exists())
    assert_gapless(rig)


def test_lines_of_a_machine_that_never_boots_again_can_be_fetched(rig: Rig) -> None:
    rig.start()
    assert list(rig.provider.unsent_lines(MACHINE)) == [], "a living agent sends its own"
    old = unsent_visits(rig, 5)
    found = [(boot, line) for boot, lines in rig.provider.unsent_lines(MACHINE) for line in lines]
    assert {boot for boot, _ in found} == {old}
    assert [line.text for _, line in found][-5:] == ["127.0.0.1 GET / 200"] * 5
    assert [line.seq for _, line in found] == list(range(found[0][1].seq, found[-1][1].seq + 1))


@pytest.mark.parametrize("junk", [b"what is this\n", b"900\t{}\n", b'900\t[1, "a", "b", 5]\n', b'1\t[1.0, "a", "info", "again"]\n', None])
def test_what_no_agent_wrote_among_the_lines_holds_up_no_deprovision(rig: Rig, junk: bytes | None) -> None:
    rig.start()
    old = unsent_visits(rig, 2)
    if junk is None:
        os.mkfifo(rig.folder / "spool" / old / "00000000000000099999.lines")
    else:
        (rig.folder / "spool" / old / "00000000000000099999.lines").write_bytes(junk)
    found = [line for _, lines in rig.provider.unsent_lines(MACHINE) for line in lines]
    assert all(isinstance(line.text, str) for line in found)


def test_shut_down_breaks_off_a_start_up(rig: Rig) -> None:
    rig.document["actions"] = [
        {
            "kind": "run_tasks", "name": "n", "stage": "before_install", "enabled": True,
            "parameters": {"tasks": [{"name": "t", "run": "echo begun; sleep 1000"}]},
        }
    ]
    rig.make()
    rig.boot()
    until(lambda: "begun" in rig.door.texts())
    killed: list[str] = []
    rig.provider.shut_down(MACHINE, 10.0, killed.append)
    assert not killed and rig.state() is MachineState.OFF
    assert "shut down" in rig.failure("actions:before_install")
