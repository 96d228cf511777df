"""A certificate and its key pasted into the form, as bytes of a terminal of 80x24: they arrive whole, and of the key nothing comes back.

A real daemon, a real console in a pseudo-terminal, and material that the daemon judges: one character lost would be refused.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.identity import ListAudit
from tests.backend.certificates.authority import Authority
from tests.journeys.site import Site, site
from tests.journeys.test_certificates import network
from tests.terminal.terminal import Terminal

pytestmark = pytest.mark.slow

ESC, SAVE, FROM_FILE, CLEAR = "\x1b[27u", "\x0f", "\x07", "\x15"
BEGIN_PASTE, END_PASTE = "\x1b[200~", "\x1b[201~"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "ca")


@pytest.fixture(scope="module")
def ground() -> Iterator[Site]:
    with site(flags=("--site", "paris")) as found:
        network(found, "given", "per_instance", http_mode="redirect")
        found.create("web", network="given")
        found.create("shop", network="given")
        yield found


def material(ca: Authority, name: str) -> tuple[str, str]:
    """A chain of some 4 KB, and the key of its first certificate."""
    its_key = ca.rsa(name)
    certificate = ca.issue(name, its_key, f"{name}.example", sans=",".join(f"DNS:{n}.{name}.example" for n in range(125)))
    chain, key = ca.chain(certificate), its_key.read_text()
    assert len(chain) > 4000
    return chain, key


def console(ground: Site) -> Terminal:
    start = "from fleet_tui.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    environment = {"FLEET_HOME": str(ground.home), "XDG_CONFIG_HOME": str(ground.home / "none"), "FLEET_SITE": ""}
    return Terminal([sys.executable, "-c", start, "--no-start"], (80, 24), **environment)


def step(terminal: Terminal, *keys: str, shows: str) -> str:
    for key in keys:
        terminal.press(key)
        terminal.settle(0.2)
    return terminal.wait_for(shows)


def paste(terminal: Terminal, text: str) -> None:
    """As terminals do: between marks, lines ended by carriage returns."""
    terminal.press(BEGIN_PASTE + text.replace("\n", "\r") + END_PASTE)
    terminal.settle(0.3)


def is_told(key: str, said: str) -> bool:
    """Whether anything of a key's private part is in what was said: of its later lines, for the first hold the modulus, as certificates do."""
    return any(line[n : n + 16] in said for line in key.splitlines()[10:-2] for n in range(0, len(line) - 15, 8))


def said_by(ground: Site) -> str:
    """Everything that the daemon wrote or tells: database, logs, audit, replies."""
    files = [path for path in ground.home.rglob("*") if path.is_file() and path.stat().st_size < 50_000_000]
    told = [repr(ground.call(request)) for request in (i.ShowSettings("web"), i.ShowSsl("web"), i.ShowInstance("web"), ListAudit(limit=1000))]
    return "\n".join([*(path.read_bytes().decode("latin-1") for path in files), *told])


def saved(ground: Site, label: str, chain: str) -> None:
    settings = ground.call(i.ShowSettings(label))
    assert settings.values["ssl.certificate_pem"].split() == chain.split()
    assert settings.values["ssl.private_key_pem"].startswith("public-key:")


def test_both_are_pasted_and_saved(ground: Site, ca: Authority) -> None:
    chain, key = material(ca, "web")
    terminal = console(ground)
    try:
        terminal.wait_for("link ok")
        step(terminal, ":", "web", "enter", shows=r"instances › web")
        step(terminal, "right", "right", shows=r"own certificate \(network given\)")
        step(terminal, "e", "\t", shows=r"Certificate: PEM")
        paste(terminal, chain)
        terminal.wait_for(rf"\d certificates, {len(chain):,} B")
        step(terminal, "\t", shows=r"Private key: PEM")
        paste(terminal, key)
        terminal.wait_for(rf"RSA 2048, {len(key):,} B")
        step(terminal, SAVE, shows=r"Private key +set")
        saved(ground, "web", chain)
        assert not is_told(key, bytes(terminal.raw).decode("latin-1")), "nothing of the key was ever sent to the terminal"
        assert not is_told(key, said_by(ground)), "nor is it anywhere but sealed"
        assert is_told(key, key), "which the look would have found"
        terminal.press("q", "q", "q", "q")
    finally:
        terminal.close()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room on the line for a file's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_both_are_taken_from_files_and_a_wrong_key_is_said_beside_its_field(ground: Site, ca: Authority, short: Path) -> None:
    chain, key = material(ca, "shop")
    _, other = material(ca, "other")
    for name, text in (("chain.pem", chain), ("shop.key", key), ("other.key", other)):
        (short / name).write_text(text)
    terminal = console(ground)
    try:
        terminal.wait_for("link ok")
        step(terminal, ":", "shop", "enter", shows=r"instances › shop")
        step(terminal, "right", "right", shows=r"own certificate \(network given\)")
        step(terminal, "e", "\t", FROM_FILE, CLEAR, f"{short}/ch", "\t", shows=rf"<{short}/chain\.pem")
        step(terminal, "enter", shows=rf"certificates, {len(chain):,} B")
        step(terminal, "\t", FROM_FILE, CLEAR, f"{short}/oth", "\t", shows=rf"<{short}/other\.key")
        step(terminal, "enter", shows=rf", {len(other):,} B")
        step(terminal, SAVE, shows=r"✗ the private key does not belong")
        step(terminal, FROM_FILE, CLEAR, f"{short}/none", "enter", shows=r"there is no such file")
        step(terminal, FROM_FILE, CLEAR, f"{short}/shop", "\t", shows=rf"<{short}/shop\.key")
        step(terminal, "enter", shows=rf", {len(key):,} B")
        step(terminal, SAVE, shows=r"Private key +set")
        saved(ground, "shop", chain)
        assert not any(is_told(one, bytes(terminal.raw).decode("latin-1")) for one in (key, other))
        terminal.press("q", "q", "q", "q")
    finally:
        terminal.close()
