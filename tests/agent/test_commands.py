"""Commands: done once per id, told as often as asked."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fleet_tui.agent import processes
from fleet_tui.backend.providers import MachineState
from tests.agent.conftest import Rig
from tests.waiting import until


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_stop_start_and_restart(rig: Rig) -> None:
    rig.start()
    first = rig.application_pid()
    assert rig.do("stop-app") == {"id": "c-1", "state": "done", "detail": "stopped", "data": None}
    assert processes.find(first) is None
    assert rig.do("stop-app")["detail"] == "it did not run"
    assert rig.do("start-app")["state"] == "done"
    second = rig.application_pid()
    assert second != first and "web" in rig.get()
    assert rig.do("restart-app")["state"] == "done"
    assert rig.application_pid() not in (first, second)
    assert "web" in rig.get()


def test_command_is_done_once_however_often_it_is_handed_out(rig: Rig) -> None:
    rig.start()
    command = rig.door.command("restart-app")
    rig.result(command)
    pid = rig.application_pid()
    del rig.door.results[command]  # as if the answer had been lost: it is handed out again
    rig.door.command("thaw")
    assert rig.result(command)["state"] == "done"
    assert rig.application_pid() == pid


def test_replay_says_how_each_action_went(rig: Rig) -> None:
    gate = rig.root / "gate"
    gate.touch()
    rig.document["actions"] = [
        {"kind": "run_tasks", "name": name, "stage": "after_install", "enabled": name != "off", "parameters": {"tasks": [{"run": run}]}}
        for name, run in (("first", "echo run-again"), ("off", "exit 9"), ("second", f"test -e {gate}"), ("third", "echo last"))
    ]
    rig.start()
    replayed = rig.do("replay-actions")
    assert replayed["state"] == "done"
    assert [(row["name"], row["state"]) for row in replayed["data"]["actions"]] == [
        ("first", "done"), ("off", "skipped"), ("second", "done"), ("third", "done"),
    ]
    gate.unlink()
    replayed = rig.do("replay-actions")
    assert replayed["state"] == "failed" and "second" in replayed["detail"]
    assert rig.door.texts().count("run-again") == 3 and rig.door.texts().count("last") == 2
    assert rig.state() is MachineState.ON and "web" in rig.get()


def test_freeze_holds_the_application_and_thaw_lets_it_go(rig: Rig) -> None:
    rig.start()
    assert "frozen" in rig.do("freeze")["detail"]
    assert state_of(rig.application_pid()) == "T"
    assert rig.do("thaw")["detail"] == "thawed"
    assert state_of(rig.application_pid()) != "T" and "web" in rig.get()
    assert rig.do("thaw")["detail"] == "it was not frozen"


def test_forgotten_freeze_ends_by_itself(rig: Rig) -> None:
    rig.start()
    rig.do("freeze", limit_s=0.3)
    until(lambda: any("thawed it" in text or "it was thawed" in text for text in rig.door.texts("application")))
    assert "web" in rig.get()


def test_stop_breaks_off_a_start_that_does_not_come_up(rig: Rig) -> None:
    rig.bundle(start="echo waiting; exec sleep 1000")
    rig.make()
    rig.boot()
    until(lambda: "waiting" in rig.door.texts())
    rig.do("stop-app")
    assert "stop-app was asked for" in rig.failure("start")


@pytest.mark.parametrize("how", ["command", "signal"])
def test_shutdown_ends_everything_and_answers_first(rig: Rig, how: str) -> None:
    rig.start()
    if how == "command":
        assert rig.do("shutdown")["state"] == "done"
    else:
        os.kill(rig.pid(), signal.SIGTERM)
    until(lambda: rig.state() is MachineState.OFF)
    assert rig.door.texts()[-1] == "the agent ends"


def test_unknown_command_is_refused(rig: Rig) -> None:
    rig.start()
    refused = rig.do("dance")
    assert refused["state"] == "failed" and "dance" in refused["detail"]


def test_retry_goes_on_at_the_failed_phase(rig: Rig) -> None:
    gate = rig.root / "gate"
    rig.document["actions"] = [
        {"kind": "run_tasks", "name": "n", "stage": "after_startup", "enabled": True, "parameters": {"tasks": [{"run": f"test -e {gate}"}]}}
    ]
    rig.make()
    rig.boot()
    rig.failure("actions:after_startup")
    pid = rig.application_pid()
    gate.touch()
    assert rig.do("retry-startup")["state"] == "done"
    assert rig.application_pid() == pid, "an application that runs is not started again"
    assert rig.door.states()["ready"] == "done"
