"""Keys and certificates made by the openssl program, as administrators make them."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

_CONFIGURATION = """
[ca]
default_ca = us
[us]
dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}/new
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = optional
[authority]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
keyUsage = critical,keyCertSign,cRLSign
[server]
basicConstraints = critical,CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
extendedKeyUsage = serverAuth
{sans}
[req]
distinguished_name = nothing
[nothing]
"""


def openssl(*arguments: str | Path, data: bytes | None = None) -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Authority:
    """A root, an intermediate under it, and whatever they issue, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "new").mkdir(parents=True)
        (folder / "index.txt").touch()
        (folder / "serial").write_text("1000\n")
        self.root, self.root_key = folder / "root.crt", self.key("root")
        openssl("req", "-x509", "-new", "-key", self.root_key, "-subj", "/CN=Example Root", "-days", "3650", "-out", self.root)
        self.middle_key = self.key("middle")
        self.middle = self.issue("middle", self.middle_key, "Example Intermediate", by=(self.root, self.root_key), section="authority")

    def key(self, name: str, *how: str) -> Path:
        """EC P-256 unless told otherwise."""
        path = self.folder / f"{name}.key"
        openssl("genpkey", *(how or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")), "-out", path)
        return path

    def rsa(self, name: str, bits: int = 2048) -> Path:
        return self.key(name, "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")

    def issue(
        self, name: str, key: Path, common_name: str = "", *, sans: str = "", by: tuple[Path, Path] | None = None, begins_in: float = -1.0,
        days: float = 365.0, digest: str = "sha256", section: str = "server",
    ) -> Path:
        """A certificate for a key.

        Args:
            sans: as openssl writes them: ``DNS:web.example,IP:127.0.0.1``.
            begins_in: days from now; ``days`` later it ends.
        """
        path, request, config = self.folder / f"{name}.crt", self.folder / f"{name}.csr", self.folder / f"{name}.cnf"
        config.write_text(_CONFIGURATION.format(folder=self.folder, sans=f"subjectAltName = {sans}" if sans else ""))
        openssl("req", "-new", "-config", config, "-key", key, "-subj", f"/CN={common_name or name}", "-out", request)
        certificate, signer = by or (self.middle, self.middle_key)
        begin = datetime.now(timezone.utc) + timedelta(days=begins_in)
        openssl(
            "ca", "-batch", "-notext", "-config", config, "-in", request, "-cert", certificate, "-keyfile", signer, "-extensions", section,
            "-md", digest, "-startdate", f"{begin:%Y%m%d%H%M%SZ}", "-enddate", f"{begin + timedelta(days=days):%Y%m%d%H%M%SZ}", "-out", path,
        )
        return path

    def chain(self, leaf: Path, root: bool = False) -> str:
        """Leaf first, then what signs it."""
        return leaf.read_text() + self.middle.read_text() + (self.root.read_text() if root else "")
