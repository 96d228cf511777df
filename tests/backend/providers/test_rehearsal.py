"""Simulated agents say the same for the same seed, go through the ten phases, and say hostile things that come out harmless."""

from __future__ import annotations

import random

import pytest

from fleet_tui.backend.providers.faults import PHASES
from fleet_tui.backend.providers.rehearsal import FAILURES, HOSTILE, chatter, start_up
from fleet_tui.backend.telemetry.masking import Masker
from fleet_tui.backend.text import clean, is_clean

DOCUMENT = {
    "application": {"name": "hello-app", "version": "1.4.0"}, "port": 20001, "disk": {"size_gb": 50},
    "certificate": {"strategy": "self_signed", "common_name": "web", "sans": ["10.0.0.1"]},
    "actions": [
        {"kind": "run_tasks", "name": "tune", "stage": "after_install", "enabled": True, "parameters": {}},
        {"kind": "run_tasks", "name": "warm", "stage": "after_install", "enabled": False, "parameters": {}},
    ],
}


def texts(disk: dict[str, object]) -> str:
    return "\n".join(text for scene in start_up(DOCUMENT, disk, "s") for _, text in scene.lines)


def test_the_ten_phases_in_order_each_with_something_to_say() -> None:
    scenes = start_up(DOCUMENT, {}, "s")
    assert tuple(scene.phase for scene in scenes) == PHASES
    assert all(scene.lines for scene in scenes)
    assert scenes == start_up(DOCUMENT, {}, "s") != start_up(DOCUMENT, {}, "t")


def test_what_is_on_the_disk_decides_what_happens() -> None:
    assert "no file system" in texts({}) and "self-signed certificate made" in texts({})
    later = texts({"formatted": True, "certificate_fingerprint": "AA:BB", "application": "hello-app", "version": "1.3.0"})
    assert "AA:BB" in later and "upgrade from 1.3.0 to 1.4.0" in later and "mkfs" not in later


def test_actions_that_are_off_say_so_and_empty_stages_are_skipped() -> None:
    scenes = {scene.phase: scene for scene in start_up(DOCUMENT, {}, "s")}
    assert scenes["actions:before_install"].skipped and not scenes["actions:after_install"].skipped
    assert "warm: switched off" in scenes["actions:after_install"].lines[-1][1]


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_has_a_failure_with_its_cause_in_the_log(phase: str) -> None:
    reason, lines = FAILURES[phase]
    assert reason and any(level == "error" for level, _ in lines)


def test_hostile_lines_are_hostile_and_are_made_harmless() -> None:
    assert sum(not is_clean(text) for _, text in HOSTILE) >= 3
    masked = [clean(Masker().mask(text)) for _, text in HOSTILE]
    assert all(is_clean(text) for text in masked)
    assert not any("correct-horse" in text or "hunter22" in text for text in masked)


@pytest.mark.parametrize("label", ["web-07", "db-1", "ci-3", "mail-1", "cache-2", "something else"])
def test_applications_talk_at_every_level(label: str) -> None:
    lines = chatter(label, random.Random(1), 400)
    assert {level for level, _ in lines} == {"info", "warn", "error"}
    assert not any("{" in text or "}" in text for _, text in lines)
