"""The command line in front of hostile hosts, guests and people: lists, single records and refusals in every form, and a guest's log as it grows.

``fleet vm console`` alone gives the terminal to the guest as it is, as ``ssh`` would: whoever runs it asked for that, so it is not among these.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal.hostile import MARK
from tests.terminal.hostile_premises import Premises, hostile_premises
from tests.terminal.hostile_site import SHORT
from tests.terminal.sequences import NOTHING, read
from tests.terminal.test_cli_hostile import SEVERAL, shell
from tests.waiting import until

pytestmark = pytest.mark.slow

READS = (
    "host list", "host list --wide", "host show HOST", "host show KEPT", "host capacity", "host capacity HOST", "host forecast HOST", "host forecast KEPT",
    "host session KEPT", "maintain list", "vm list", "vm list --wide", "vm show VM", "vm show STOPPED", "vm logs VM", "zone list", "zone show ZONE",
    "pod list", "pod show POD", "cluster list", "cluster show CLUSTER", "cluster capacity CLUSTER", "patch list", "offering list", "offering list --wide",
    "op list", "event list",
)  # fmt: skip


@pytest.fixture(scope="module")
def premises() -> Iterator[Premises]:
    with hostile_premises() as found:
        found.poison()
        yield found


def commands(premises: Premises) -> list[list[str]]:
    """Reads in every form; what is refused, and dry runs, in two. Things are named by their ids: their names are hostile."""
    named = {"HOST": premises.host.id, "KEPT": premises.kept.id, "VM": premises.vm.id, "STOPPED": premises.stopped.id, **premises.branches}
    reads = [[named.get(word, word) for word in line.split()] for line in READS]
    others = [
        ["host", "show", SHORT], ["vm", "show", SHORT], ["zone", "create", SHORT], ["offering", "create", SHORT], ["host", "note", named["KEPT"], SHORT],
        ["host", "edit", named["HOST"], "--tags", SHORT], ["vm", "edit", named["VM"], "--owners", SHORT], ["patch", "import", f"/{SHORT.replace('/', '')}"],
        ["vm", "stop", named["VM"]], ["vm", "destroy", named["VM"]], ["host", "remove", named["HOST"]], ["vm", "migrate", named["VM"], "--dry-run"],
        ["host", "maintain", named["HOST"], "--reason", SHORT, "--dry-run"], ["host", "maintain", named["HOST"], "--reason", SHORT],
        ["host", "session", SHORT], ["vm", "list", "--host", SHORT], ["vm", "logs", SHORT], ["cluster", "set-ratio", SHORT, "--cpu", "2"],
    ]  # fmt: skip
    return [*reads, *others, *(["--output", form, *words] for form in ("text", "json") for words in reads), *(["--output", "json", *words] for words in others)]


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
def test_every_command_and_form(premises: Premises, size: tuple[int, int], tmp_path: Path) -> None:
    words = [["--no-start", *command] for command in commands(premises)]
    (tmp_path / "words").write_text(json.dumps(words if size[0] == 80 else words[: len(READS)]))
    with shell(premises.site, [sys.executable, "-c", SEVERAL, str(tmp_path / "words")], size) as terminal:
        until(lambda: terminal.read() and b"that was all" in terminal.raw, 120.0, "the last command")
    found = read(bytes(terminal.raw), NOTHING)
    assert [bad for bad in found.foreign if bad != repr("\t")] == []  # between the fields of --output text
    assert "Traceback" not in found.text
    assert found.text.count(MARK) > 200
    if size[0] == 80:
        for wanted in ("there is no host", "there is no VM", "is not a tag", "was not confirmed"):
            assert wanted in found.text


def test_a_guests_log_followed(premises: Premises) -> None:
    with shell(premises.site, [*premises.site.command("--no-start", "vm", "logs", premises.vm.id, "--follow")], (100, 30)) as terminal:
        terminal.wait_for(MARK)
        terminal.wait_for(r"TICK \d+")
        terminal.press("\x03")
        terminal.wait_for("interrupted")
    assert read(bytes(terminal.raw), NOTHING).foreign == []
