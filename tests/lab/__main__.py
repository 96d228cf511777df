"""``python -m tests.lab``: a lab for a person."""

from __future__ import annotations

import argparse
import sys

from tests.lab import lab as labs
from tests.lab.commands import LabError

VERBS = {
    "off": "pull the plug", "on": "power on", "unplug": "management cable out", "plug": "management cable in", "stop-libvirtd": "end libvirtd",
    "start-libvirtd": "start libvirtd", "hang-libvirtd": "libvirtd stops answering", "resume-libvirtd": "libvirtd answers again",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="Real libvirt/QEMU hosts in namespaces of this machine.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("start", help="a lab that stays").add_argument("count", type=int, nargs="?", default=3)
    verbs.add_parser("stop", help="end the labs that stay")
    verbs.add_parser("status", help="how they stand")
    for name, words in VERBS.items():
        verbs.add_parser(name, help=words).add_argument("host", type=int)
    asked = parser.parse_args()
    if why := labs.why_not():
        print(why, file=sys.stderr)
        return 1
    try:
        return _do(asked)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1


def _do(asked: argparse.Namespace) -> int:
    standing = [lab for lab in labs.found() if (lab.folder / "owner").exists() and lab.is_standing]
    if asked.verb == "start":
        _describe(standing[0] if standing else labs.start(asked.count, standing=True))
    elif not standing:
        print("there is no lab; start one with: make lab", file=sys.stderr)
        return 1
    elif asked.verb == "stop":
        for lab in standing:
            lab.stop()
    elif asked.verb == "status":
        for lab in standing:
            _describe(lab)
    else:
        host = standing[0].hosts[asked.host - 1]
        host.on(standing=True) if asked.verb == "on" else getattr(host, asked.verb.replace("-", "_"))()
    return 0


def _describe(lab: labs.Lab) -> None:
    for host in lab.hosts:
        print(f"{host.name}  {host.address}  {'on' if host.pid else 'off'}  ssh -i {lab.key_file} root@{host.address}")
    print(f"key file   {lab.key_file}    password {lab.password}")
    print(f"shared     {lab.shared}    guest: {lab.boot.kernel} {lab.boot.initrd}\n")
    for host in lab.hosts:
        print(f"fleet host add {host.address} --cluster CLUSTER --user root --ssh-key {lab.key_file}")


if __name__ == "__main__":
    sys.exit(main())
