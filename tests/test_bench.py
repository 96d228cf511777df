"""The bench itself: its modules load, its table says what it should, its probe times what a program prints. No figure is taken here."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import pytest

import bench
from bench import FIGURES, __main__, programs
from bench.probe import Probe
from bench.sheet import Goal, Row, Sheet, p95, skipped

ECHO = """
import os, tty
tty.setraw(0)
os.write(1, b"ready")
while True:
    os.write(1, b"<" + os.read(0, 1) + b">")
"""


@pytest.mark.parametrize("name", [*FIGURES, *(f"programs.{found.name}" for found in pkgutil.iter_modules(programs.__path__))])
def test_each_module_loads(name: str) -> None:
    module = importlib.import_module(f"{bench.__name__}.{name}")
    assert "." in name or callable(module.measure)


def test_the_table_puts_figure_yardstick_goal_and_verdict_side_by_side() -> None:
    sheet = Sheet()
    sheet.add([
        Row("start", "ms", [300, 310, 900], "one label", [160], Goal(2, "ratio")),
        Row("keys", "ms", [1.5] * 30 + [12.0], goal=Goal(10, "p95")),
        Row("memory", "MB", [81.26], goal=Goal(80), note="after both lists"),
        skipped("kill", "the tests are not here"),
    ])  # fmt: skip
    lines = sheet.text().splitlines()
    assert lines[0].split() == ["figure", "ours:", "median", "/", "p95", "yardstick:", "median", "/", "p95", "ratio", "goal"]
    assert lines[2].split() == ["start", "310", "/", "900", "ms", "160", "one", "label", "1.94", "<=", "2", "x", "ok"]
    assert lines[3].split() == ["keys", "1.50", "/", "1.50", "ms", "-", "-", "p95", "<=", "10", "ms", "ok"]
    assert lines[4].split()[-6:] == ["80", "MB", "MISS", "after", "both", "lists"]
    assert lines[5].split()[-6:] == ["skipped", "the", "tests", "are", "not", "here"]
    assert not sheet.all_reached


def test_a_figure_that_cannot_be_measured_is_a_row_that_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_bench: object) -> list[Row]:
        raise TimeoutError("fleetd did not answer")

    monkeypatch.setattr(importlib.import_module("bench.kill"), "measure", broken)
    assert __main__.main(["kill"]) == 1
    assert "FAILED  TimeoutError: fleetd did not answer" in capsys.readouterr().out


def test_the_95th_percentile_is_exceeded_by_one_in_twenty() -> None:
    assert p95([float(n) for n in range(1, 101)]) == 96.0
    assert p95([7.0]) == 7.0


def test_the_probe_stamps_what_arrives() -> None:
    with Probe([sys.executable, "-c", ECHO], size=(40, 5)) as probe:
        assert probe.wait_for("ready") >= probe.started_at
        answer = probe.key("k", b"<k>")
        assert answer.first is not None and answer.complete is not None
        assert 0 < answer.first <= answer.complete
        assert answer.bytes == 3
        assert probe.key("z", b"nothing", timeout=0.2).complete is None
        assert probe.usage.memory_mb()[0] > 1
    assert probe.usage.memory_mb() == (0.0, 0.0)
