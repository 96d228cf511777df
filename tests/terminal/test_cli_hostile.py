"""The command line on a besieged site: tables, text, JSON, logs that are followed, and errors, as a terminal gets them.

It prints plain text, so not one escape sequence and no control character may come out of it, whatever the form.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet_tui.backend.instances import ListInstances
from fleet_tui.backend.telemetry import PhaseReport
from tests.journeys.site import ROOT, Site
from tests.terminal.hostile import MARK
from tests.terminal.hostile_site import LINES, SHORT, Impostor, besieged, poison
from tests.terminal.sequences import NOTHING, is_foreign, read
from tests.terminal.terminal import Terminal
from tests.waiting import until

pytestmark = pytest.mark.slow

SEVERAL = """
import json, os, sys
from fleet_tui.cli import main
sys.stdin = open(os.devnull)
for words in json.load(open(sys.argv[1])):
    try:
        main(words)
    except SystemExit:
        pass
print("that was all", flush=True)
"""
"""Many commands in one program, which spares their imports. Nobody is there to be asked."""
READS = (
    "instance list", "instance list --wide", "instance show taken", "instance show NOISY", "instance logs taken --timestamps", "instance logs NOISY",
    "op list", "event list", "host list", "template list", "template show loud", "template render loud", "template export loud --network local",
    "vnet list", "vnet show local", "image list", "snapshot list taken", "user list", "audit list",
    "schedule list", "daemon status", "daemon logs", "zone list", "pod list", "cluster list", "vm list --wide", "offering list", "patch list",
    "host capacity", "maintain list", "physnet list", "network list", "network-offering list",
)  # fmt: skip


@pytest.fixture(scope="module")
def siege() -> Iterator[tuple[Site, Impostor]]:
    """Besieged and poisoned; one label stays as it is, so that a person can name it."""
    with besieged() as (site, taken):
        poison(site)
        yield site, taken


@contextmanager
def shell(site: Site, command: Sequence[str], size: tuple[int, int]) -> Iterator[Terminal]:
    environ = {"FLEET_HOME": str(site.home), "XDG_CONFIG_HOME": str(site.home / "none"), "FLEET_SITE": "", "PYTHONPATH": str(ROOT)}
    terminal = Terminal(command, size, **environ)
    try:
        yield terminal
    finally:
        terminal.close()


def commands(site: Site) -> list[list[str]]:
    """Reads in every form; what is refused, and dry runs, in two."""
    noisy = next(row.label for row in site.call(ListInstances()).instances if row.label.startswith("noisy"))
    reads = [[noisy if word == "NOISY" else word for word in line.split()] for line in READS]
    reads += [["op", "show", operation.id] for operation in site.operations()]
    file = SHORT.replace("/", "")
    others = [
        ["instance", "show", SHORT], ["instance", "show", "\udcff\udc80"], ["instance", "create", SHORT], ["instance", "create", "x", "--set", f"{SHORT}={SHORT}"],
        ["instance", "list", SHORT], ["op", "list", "--limit", SHORT], [SHORT], ["op", "retry", SHORT], ["image", "register", f"/{file}"],
        ["template", "put", SHORT], ["template", "edit", "loud", "--set", f"machine_type={SHORT}"], ["vnet", "create", SHORT, "--set", f"region={SHORT}"],
        ["template", "import", f"/{file}"], ["template", "clone", "loud", SHORT], ["vnet", "edit", "local", "--set", f"{SHORT}=x"],
        ["user", "put", SHORT, "--role", "monitor"], ["--site", file, "op", "list"],
        ["instance", "deprovision", noisy], ["instance", "delete", noisy], ["instance", "reprovision", noisy, "--dry-run"],
        ["instance", "provision", "taken", "--no-wait"],
    ]  # fmt: skip
    return [*reads, *others, *(["--output", form, *words] for form in ("text", "json") for words in reads), *(["--output", "json", *words] for words in others)]


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
def test_every_command_and_form(siege: tuple[Site, Impostor], size: tuple[int, int], tmp_path: Path) -> None:
    site, _ = siege
    words = [["--no-start", *command] for command in commands(site)]
    (tmp_path / "words").write_text(json.dumps(words if size[0] == 80 else words[: len(READS)]))
    with shell(site, [sys.executable, "-c", SEVERAL, str(tmp_path / "words")], size) as terminal:
        until(lambda: terminal.read() and b"that was all" in terminal.raw, 60.0, "the last command")
    found = read(bytes(terminal.raw), NOTHING)
    assert [bad for bad in found.foreign if bad != repr("\t")] == []  # between the fields of --output text
    assert "Traceback" not in found.text
    assert found.text.count(MARK) > 200
    if size[0] == 80:
        for wanted in ("there is no instance", "unrecognized arguments", "invalid choice", "was not confirmed", "cannot be saved", "is not a user name"):
            assert wanted in found.text


def test_logs_followed(siege: tuple[Site, Impostor]) -> None:
    site, taken = siege
    with shell(site, [*site.command("--no-start", "instance", "logs", "taken", "--follow", "--timestamps")], (100, 30)) as terminal:
        terminal.wait_for(MARK)
        taken.report([*(text.encode("utf-8", "replace").decode() for text in LINES.values()), f"the last word{SHORT}"])
        terminal.wait_for("the last word")
        terminal.press("\x03")
        terminal.wait_for("interrupted")
    found = read(bytes(terminal.raw), NOTHING)
    assert found.foreign == []


def test_operation_followed_and_waited_for(siege: tuple[Site, Impostor]) -> None:
    """Lines of the operation as narrated to a person on stderr, and its failure in the agent's words."""
    site, taken = siege
    follow = next(op.id for op in site.operations() if op.target.startswith("target") and not op.state.is_final)
    with shell(site, [*site.command("--no-start", "op", "follow", follow)], (100, 30)) as terminal:
        terminal.wait_for(MARK)
        taken.report([SHORT], phases=(PhaseReport(SHORT, "failed", 1.0, 2.0, SHORT),))
        terminal.wait_for("start-up failed")
        terminal.settle()
    assert read(bytes(terminal.raw), NOTHING).foreign == []


def test_pipes_get_json_that_is_ascii(siege: tuple[Site, Impostor]) -> None:
    site, _ = siege
    for words in ("instance show taken", "instance logs taken", "event list"):
        printed = subprocess.run(
            site.command("--no-start", *words.split()), env=site.environment, cwd=ROOT, capture_output=True, timeout=60, check=True
        ).stdout
        assert printed.isascii()
        assert not [c for c in printed.decode() if is_foreign(c)]
        assert MARK in json.dumps(json.loads(printed))


def test_the_reader_would_notice(siege: tuple[Site, Impostor]) -> None:
    site, _ = siege
    program = (
        "import re; from fleet_tui.backend import text; text._UNSAFE = re.compile('(?!)'); from fleet_tui.cli import main; "
        "main(['--no-start', 'instance', 'list', '--wide']); print('that was all')"
    )
    with shell(site, [sys.executable, "-c", program], (160, 48)) as terminal:
        for _ in range(40):
            terminal.read(0.1)
            if b"that was all" in terminal.raw:
                break
    assert read(bytes(terminal.raw), NOTHING).foreign
