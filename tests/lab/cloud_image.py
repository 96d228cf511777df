"""A cloud image: Debian with cloud-init and its NoCloud datasource, built once from packages and kept for later runs.

A disk with a boot loader, as any vendor's image is: a small FAT partition with syslinux, kernel and initrd, and the root file system. It is lean,
because the lab's guests are emulated: no package lists, no manuals, and of cloud-init's modules those that an instance needs. Nothing is mounted
while it is made, so it can be made wherever a lab can be.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from tests.lab.commands import LabError, finished, run

SUITE = "bookworm"
PACKAGES = (
    "linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "cloud-init", "iproute2", "iputils-ping", "e2fsprogs", "openssl",
    "ethtool", "python3-minimal", "kmod", "ca-certificates",
)  # fmt: skip
PROGRAMS = {
    "mmdebstrap": "mmdebstrap", "mkfs.ext4": "e2fsprogs", "mkfs.vfat": "dosfstools", "mcopy": "mtools", "syslinux": "syslinux", "sfdisk": "fdisk",
    "qemu-img": "qemu-utils",
}  # fmt: skip
MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
MIB = 1024**2
SECTOR = 512
BOOT_AT, BOOT_SIZE, ROOT_AT = 1 * MIB, 63 * MIB, 64 * MIB

INITRAMFS = "MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=1\nBUSYBOX=auto\nRESUME=none\n"
MODULES = "virtio_pci\nvirtio_blk\next4\ncrc32c\ncrc32c_generic\n"
CLOUD = """\
datasource_list: [NoCloud]
disable_root: true
ssh_deletekeys: false
preserve_hostname: false
system_info:
  distro: debian
  network: {renderers: [networkd]}
cloud_init_modules: [seed_random, bootcmd, write-files, set_hostname, update_hostname]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user, final-message]
"""
UDEV = 'ACTION=="add", SUBSYSTEM=="net", KERNEL=="e*", RUN+="/usr/sbin/ethtool -K $name tx off"\n'
"""The lab's switches run in user space and do not finish checksums that a sender leaves to its card."""
SYSLINUX = """\
DEFAULT linux
PROMPT 0
TIMEOUT 1
LABEL linux
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND root=LABEL=root ro console=ttyS0 quiet net.ifnames=0 mitigations=off nowatchdog systemd.show_status=0
"""
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
    "systemd-timesyncd.service", "cloud-init-hotplugd.socket", "getty@tty1.service", "systemd-networkd-wait-online.service",
    "man-db.timer", "systemd-update-utmp.service", "systemd-pstore.service",
)  # fmt: skip


def lacking() -> list[str]:
    """Packages that are missing on this machine for making one."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = {package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None}
    return sorted(found | (set() if MBR.exists() else {"syslinux-common"}))


def built(base: Path) -> Path:
    """The image, a qcow2, made in ``base`` under the name of its recipe unless it is there. A minute or two."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    image = base / f"cloud-{recipe}.qcow2"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "cloud.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            for old in base.glob("cloud-*.qcow2"):
                old.unlink()
            with tempfile.TemporaryDirectory(prefix="cloud-", dir=base) as work:
                _make(Path(work)).rename(image)
    return image


def _make(work: Path) -> Path:
    root, boot = work / "root", work / "boot.img"
    _install(root)
    kernel, initrd = next((root / "boot").glob("vmlinuz-*")), next((root / "boot").glob("initrd.img-*"))
    with boot.open("wb") as file:
        file.truncate(BOOT_SIZE)
    (work / "syslinux.cfg").write_text(SYSLINUX)
    run("mkfs.vfat", "-F", "16", "-n", "BOOT", "-h", BOOT_AT // SECTOR, boot)
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd.img"), (work / "syslinux.cfg", "syslinux.cfg")):
        run("mcopy", "-i", boot, source, f"::{name}")
    run("syslinux", "--install", boot)
    kernel.unlink()
    initrd.unlink()
    tree = work / "root.img"
    with tree.open("wb") as file:
        file.truncate(900 * MIB)
    run("mkfs.ext4", "-q", "-F", "-L", "root", "-O", "^has_journal", "-m", "0", "-d", root, tree, timeout=300)
    raw = work / "image.raw"
    with raw.open("wb") as file:
        file.truncate(ROOT_AT + 900 * MIB)
    run("sfdisk", "-q", raw, input=f"label: dos\nstart={BOOT_AT // SECTOR}, size={BOOT_SIZE // SECTOR}, type=6, bootable\nstart={ROOT_AT // SECTOR}, type=83\n")
    for part, at in ((boot, BOOT_AT), (tree, ROOT_AT)):
        run("dd", f"if={part}", f"of={raw}", "bs=1M", f"seek={at // MIB}", "conv=notrunc,sparse", timeout=300)
    run("dd", f"if={MBR}", f"of={raw}", "bs=440", "count=1", "conv=notrunc")
    image = work / "image.qcow2"
    run("qemu-img", "convert", "-O", "qcow2", raw, image, timeout=300)
    return image


def _install(root: Path) -> None:
    """Debian, from the mirrors that this machine itself uses."""
    sources = [str(path) for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*debian*.sources"))) if path.exists()]
    hooks = [
        f"--customize-hook=printf '%s' '{UDEV}' >\"$1/etc/udev/rules.d/70-checksums.rules\"",
        "--customize-hook=printf 'LABEL=root / ext4 noatime 0 1\\n' >\"$1/etc/fstab\"",
        "--customize-hook=echo localhost >\"$1/etc/hostname\"",
        "--customize-hook=: >\"$1/etc/machine-id\"",
        "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin \"$1\"/etc/resolv.conf",
        "--customize-hook=chroot \"$1\" systemctl enable systemd-networkd.service serial-getty@ttyS0.service",
        *(f"--customize-hook=ln -sf /dev/null \"$1/etc/systemd/system/{unit}\"" for unit in MASKED),
    ]
    with tempfile.TemporaryDirectory(prefix="cloud-files-") as scratch:
        given = Path(scratch)
        (given / "cloud.cfg").write_text(CLOUD)
        (given / "lean").write_text(INITRAMFS)
        (given / "modules").write_text(MODULES)
        command = [
            "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES)}",
            '--aptopt=APT::Install-Recommends "false"', "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--essential-hook=mkdir -p \"$1/etc/initramfs-tools/conf.d\"",
            f"--essential-hook=copy-in {given}/lean /etc/initramfs-tools/conf.d",
            f"--essential-hook=copy-in {given}/modules /etc/initramfs-tools",
            f"--customize-hook=copy-in {given}/cloud.cfg /etc/cloud/",
            *hooks, SUITE, str(root), *sources,
        ]  # fmt: skip
        done = finished(command, timeout=900, check=False)
    if done.returncode:
        raise LabError(f"mmdebstrap ended with {done.returncode}: {done.stderr.strip()[-800:]}")
