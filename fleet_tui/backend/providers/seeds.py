"""What a machine on our own hosts is born with: a small disk for cloud-init's NoCloud datasource, with the agent, its orders and the bundle.

At each boot cloud-init runs what stands in its user data (``bootcmd``): it makes the agent a unit of systemd, once, and starts it. The unit takes
agent, orders and bundle over from the seed whenever their one-time token is a new one; with the old one the agent goes on by itself.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fleet_tui.agent import processes
from fleet_tui.backend.errors import InternalError, NotFound, WrongState
from fleet_tui.backend.providers import BootConfiguration
from fleet_tui.backend.providers.addresses import Card
from fleet_tui.backend.providers.archive import agent_archive
from fleet_tui.backend.text import clean

PLACE = "/var/lib/fleet/machine"
"""The agent's folder on the machine."""
LABEL = "CIDATA"
_BUILD_S = 300.0
_SETTLE = f"""\
set -e
mkdir -p {PLACE}
chmod 700 {PLACE}
cp /run/fleet-seed/fleet/arrive.sh {PLACE}/arrive.sh
cmp -s /run/fleet-seed/fleet/fleet-agent.service /etc/systemd/system/fleet-agent.service || {{
  cp /run/fleet-seed/fleet/fleet-agent.service /etc/systemd/system/fleet-agent.service
  systemctl daemon-reload
}}
systemctl enable fleet-agent.service 2>/dev/null
systemctl start --no-block fleet-agent.service
"""
_ARRIVE = f"""\
set -e
cd {PLACE}
mkdir -p /run/fleet-orders
mount -o ro "$(blkid -L {LABEL})" /run/fleet-orders
orders=$(sha256sum </run/fleet-orders/fleet/agent.json)
if [ "$(cat orders.sha256 2>/dev/null)" != "$orders" ]; then
  for name in agent.pyz bundle.tar agent.json; do
    if [ -e /run/fleet-orders/fleet/$name ]; then
      cp /run/fleet-orders/fleet/$name .arriving
      chmod 600 .arriving
      sync .arriving
      mv .arriving $name
    fi
  done
  echo "$orders" >orders.sha256
fi
umount /run/fleet-orders
"""
_UNIT = """\
[Unit]
Description=fleet agent
After=systemd-networkd.service

[Service]
ExecStartPre=/bin/sh {place}/arrive.sh
ExecStart=/usr/bin/python3 -I -S {place}/agent.pyz {place}
{environment}
Restart=on-failure
RestartSec=15
KillMode=process
TimeoutStopSec=180

[Install]
WantedBy=multi-user.target
"""
_SEED = "/run/fleet-seed"
_MOUNT = f'mkdir -p {_SEED} && mount -o ro "$(blkid -L {LABEL})" {_SEED} && sh {_SEED}/fleet/settle.sh; umount {_SEED}'


def seed(configuration: BootConfiguration, label: str, card: Card, bundle: str, data_serial: str, workshop: Path | None = None) -> bytes:
    """The seed as an ISO 9660 image.

    Args:
        label: of the instance; becomes its host name as far as it can.
        bundle: path of the application's bundle here; empty for none.
        data_serial: by which the data disk is found there; empty for none.
        workshop: folder where it is built, of this daemon alone; what a killed one left there, a one-time token among it, goes when the next begins.

    Raises:
        NotFound: the bundle is gone.
        WrongState: the program that makes such images is not installed.
    """
    program = shutil.which("xorriso")
    if program is None:
        raise WrongState("the seed of a machine cannot be made: xorriso is not installed", hint="apt-get install xorriso", state="no-xorriso")
    if bundle and not Path(bundle).is_file():
        raise NotFound(f"the application bundle {bundle} is gone", hint="register the image again")
    if workshop is not None:
        workshop.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fleet-seed-", dir=workshop) as scratch:
        folder, image = Path(scratch) / "seed", Path(scratch) / "seed.iso"
        (folder / "fleet").mkdir(parents=True)
        for name, content in _documents(configuration, label, card, data_serial).items():
            (folder / name).write_text(content, encoding="utf-8")
        (folder / "fleet" / "agent.pyz").write_bytes(agent_archive())
        if bundle:
            shutil.copyfile(bundle, folder / "fleet" / "bundle.tar")
        _build(program, folder, image)
        return image.read_bytes()


def _documents(configuration: BootConfiguration, label: str, card: Card, data_serial: str) -> Mapping[str, str]:
    """JSON is YAML, which is what cloud-init reads."""
    orders = {
        "machine": configuration.machine, "token": configuration.token, "door": configuration.door, "ca_pem": configuration.ca_pem,
        "data_serial": data_serial,
    }
    marks = processes.marks(configuration.machine, Path(PLACE))
    environment = "\n".join(f'Environment="{name}={value}"' for name, value in {**marks, "HOME": PLACE}.items())
    return {
        "meta-data": json.dumps({"instance-id": configuration.machine, "local-hostname": _host_name(label)}),
        "user-data": f"#cloud-config\n{json.dumps({'bootcmd': [['sh', '-c', _MOUNT]]})}\n",
        "network-config": json.dumps(card.as_netplan()),
        "fleet/agent.json": json.dumps(orders),
        "fleet/settle.sh": _SETTLE,
        "fleet/arrive.sh": _ARRIVE,
        "fleet/fleet-agent.service": _UNIT.format(place=PLACE, environment=environment),
    }


def _build(program: str, folder: Path, image: Path) -> None:
    command = [program, "-as", "genisoimage", "-quiet", "-output", str(image), "-volid", LABEL, "-joliet", "-rational-rock", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_BUILD_S)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise InternalError(f"the seed of a machine could not be made: {problem}") from problem
    if done.returncode:
        words = clean(done.stderr.decode(errors="replace").strip().splitlines()[-1] if done.stderr.strip() else "it gave no reason", 200)
        raise InternalError(f"the seed of a machine could not be made: {words}", hint="look at the room in the daemon's state directory")


def _host_name(label: str) -> str:
    """A label as a host name: letters, digits and dashes (RFC 1123)."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in label.lower()).strip("-")
    return plain[:63].strip("-") or "instance"
