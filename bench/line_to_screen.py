"""From a line written by an application to the same line on the screen, with a real instance, its real agent and a real console."""

from __future__ import annotations

import re
import shutil
import tarfile
import time
from pathlib import Path

from bench.sheet import Goal, Row
from bench.site import ROOT, Bench, Site, running, until
from fleet_tui.backend.instances import (
    CreateInstance,
    DeprovisionInstance,
    InstanceRecord,
    ProvisionInstance,
    RegisterImage,
    ShowInstance,
)
from fleet_tui.backend.instances.profiles import PutTemplate
from fleet_tui.backend.instances.states import InstanceState

NAME = "clockwork"
LINES = 40
SPEAK = '''

def speak() -> None:
    """For the measurement: a line with the time it was written at, now and then."""
    import random
    for number in range(1_000_000):
        time.sleep(random.uniform(0.15, 0.45))
        print(f"token {number} {time.time():.6f}", flush=True)


threading.Thread(target=speak, daemon=True).start()
'''


def measure(bench: Bench) -> list[Row]:
    with running() as site:
        _register(site, site.home / "bundle")
        _provision(site)
        try:
            times = _watch(site)
        finally:
            _deprovision(site)
    return [Row("agent line written to shown on screen", "ms", times, goal=Goal(400, "p95"), note=f"{len(times)} lines")]


def _register(site: Site, folder: Path) -> None:
    """The example application, made to speak."""
    shutil.copytree(ROOT / "examples" / "hello-app", folder)
    manifest = folder / "application.toml"
    manifest.write_text(manifest.read_text().replace('"hello-app"', f'"{NAME}"'))
    program = folder / "app.py"
    program.write_text(program.read_text().replace('\nif __name__ == "__main__":', f'{SPEAK}\nif __name__ == "__main__":'))
    bundle = folder.with_suffix(".tar")
    with tarfile.open(bundle, "w") as archive:
        archive.add(folder, ".")
    site.client.call(RegisterImage(str(bundle)))
    site.client.call(PutTemplate(label=NAME, application=NAME))


def _provision(site: Site) -> None:
    site.client.call(CreateInstance(label=NAME, template=NAME, request_id="bench-create"))
    site.client.call(ProvisionInstance(target=NAME, request_id="bench-provision"))
    until(lambda: _settled(site), 45.0, "the instance runs")
    if (state := _show(site).state) is not InstanceState.RUNNING:
        raise RuntimeError(f"the instance is {state.value}: {_show(site).failure}")


def _watch(site: Site) -> list[float]:
    """Milliseconds of each line that appears while the console shows the instance's log."""
    times: dict[int, float] = {}
    with site.console() as console:
        console.wait_for(NAME)
        console.press(":")
        console.settle(0.2, 2.0)
        console.press(*f"logs {NAME}", "enter")
        console.wait_for(rf"log . {NAME}[^\n]*following", 10.0)
        console.wait_for(r"token \d+ ")
        console.settle(0.1, 1.0)
        ahead = max(map(int, re.findall(r"token (\d+) ", console.text)))
        offset = time.time() - time.monotonic()
        for stamp, text in console.watch(30.0):
            for number, written in re.findall(r"token (\d+) (\d+\.\d{6})", text):
                if int(number) > ahead:
                    times.setdefault(int(number), (stamp + offset - float(written)) * 1000)
            if len(times) >= LINES:
                break
    if len(times) < LINES // 2:
        raise RuntimeError(f"only {len(times)} lines were seen")
    return list(times.values())


def _deprovision(site: Site) -> None:
    site.client.call(DeprovisionInstance(target=NAME, request_id="bench-deprovision", confirmed=True))
    until(lambda: _settled(site), 30.0, "the instance is gone")


def _settled(site: Site) -> bool:
    found = _show(site)
    return not found.operation and not found.state.is_transitional and found.state is not InstanceState.NEW


def _show(site: Site) -> InstanceRecord:
    found: InstanceRecord = site.client.call(ShowInstance(NAME))
    return found
