"""The guest: Debian's cloud kernel and a busybox, 28 MB downloaded once, nothing installed. Ready two seconds after its start.

``tick=``, ``dirty=``, ``write``, ``addr=`` and ``ping=`` on its kernel command line are described in ``guest-init.sh``. It needs 80 MiB; use 96.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import LabError, run

INIT = Path(__file__).with_name("guest-init.sh")
MODULES = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "failover", "net_failover",
    "virtio_net", "virtio_balloon", "evdev", "button",
)  # fmt: skip
KERNEL_PACKAGE, BUSYBOX_PACKAGE = "linux-image-cloud-amd64", "busybox-static"


@dataclass(frozen=True, slots=True)
class Boot:
    """What a guest is started from."""

    kernel: Path
    initrd: Path

    @property
    def exists(self) -> bool:
        return self.kernel.exists() and self.initrd.exists()


def built(base: Path) -> Boot:
    """The guest, made in a folder under ``base`` that is named by its recipe, unless it is there."""
    recipe = hashlib.sha256(INIT.read_bytes() + repr(MODULES).encode()).hexdigest()[:12]
    folder = base / f"guest-{recipe}"
    boot = Boot(folder / "vmlinuz", folder / "initrd.gz")
    base.mkdir(parents=True, exist_ok=True)
    with (base / "guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not boot.exists:
            with tempfile.TemporaryDirectory(prefix="guest-", dir=base) as work:
                made = _make(Path(work))
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(made, folder)
    return boot


def _make(work: Path) -> Path:
    depends = run("apt-cache", "depends", KERNEL_PACKAGE)
    package = next((line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image-")), "")
    if not package:
        raise LabError(f"{KERNEL_PACKAGE} is not in the package lists; run apt-get update")
    run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, BUSYBOX_PACKAGE, cwd=work, timeout=300)
    for archive in work.glob("*.deb"):
        run("dpkg-deb", "--extract", archive, work / "packages")
    packages, out, root = work / "packages", work / "out", work / "root"
    for folder in ("bin", "proc", "sys", "dev", "etc", "modules"):
        (root / folder).mkdir(parents=True)
    out.mkdir()
    shutil.copy(next(packages.rglob("bin/busybox")), root / "bin" / "busybox")
    for module in MODULES:
        for found in packages.rglob(f"{module}.ko"):
            shutil.copy(found, root / "modules")
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    shutil.copy(next((packages / "boot").glob("vmlinuz-*")), out / "vmlinuz")
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    run("cpio", "--quiet", "--create", "--format=newc", "--file", work / "initrd", input=names, cwd=root)
    run("gzip", "-9n", work / "initrd")
    os.rename(work / "initrd.gz", out / "initrd.gz")
    return out
