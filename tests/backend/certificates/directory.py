"""Let's Encrypt's own test directory (Pebble) with a DNS server of its own, on loopback; and a proxy before it that says it has had enough."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.backend.certificates.authority import Authority
from tests.waiting import until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Pebble:
    """A running directory.

    Args:
        http_port: where challenges are read, instead of 80.
        valid_s: how long what it issues is valid; Pebble's own five years when 0.
    """

    def __init__(self, folder: Path, http_port: int, valid_s: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ports = {name: free_port() for name in ("api", "management", "dns", "control", "tls", "proxy")}
        self.http_port = http_port
        authority = Authority(folder / "listener")
        self.ca = authority.root
        key = authority.key("api")
        leaf = authority.issue("api", key, "localhost", sans="DNS:localhost,IP:127.0.0.1", by=(authority.root, authority.root_key))
        self.listener = (leaf, key)
        self._configuration = folder / "pebble.json"
        self._configuration.write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.ports['api']}", "managementListenAddress": f"127.0.0.1:{self.ports['management']}",
            "certificate": str(leaf), "privateKey": str(key), "httpPort": http_port, "tlsPort": self.ports["tls"],
            "ocspResponderURL": "", "externalAccountBindingRequired": False, "domainBlocklist": ["blocked-domain.example"], **({"certificateValidityPeriod": valid_s} if valid_s else {}),
        }}))  # fmt: skip
        self._programs: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports['api']}/dir"

    @property
    def resolver(self) -> str:
        return f"127.0.0.1:{self.ports['dns']}"

    def start(self) -> None:
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        for words in (
            ["pebble-challtestsrv", "-defaultIPv4", "", "-defaultIPv6", "", "-dns01", self.resolver, "-http01", "", "-https01", "", "-tlsalpn01", "",
             "-management", f"127.0.0.1:{self.ports['control']}"],
            ["pebble", "-config", str(self._configuration), "-dnsserver", self.resolver, "-strict"],
        ):  # fmt: skip
            output = (self.folder / f"{words[0]}.out").open("ab")
            self._programs.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment))
            output.close()
        for port in (self.ports["api"], self.ports["management"], self.ports["control"]):
            until(lambda port=port: _answers(port), 20.0, f"port {port}")

    def stop(self) -> None:
        for program in self._programs:
            program.terminate()
        for program in self._programs:
            program.wait(timeout=20)
        self._programs = []

    def lead(self, domain: str, *addresses: str) -> None:
        """Give a domain its A records."""
        self._control("clear-a", {"host": f"{domain}."})
        if addresses:
            self._control("add-a", {"host": f"{domain}.", "addresses": list(addresses)})

    def root(self) -> str:
        """The root its certificates go back to, PEM."""
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(f"https://127.0.0.1:{self.ports['management']}/roots/0", timeout=10, context=context) as answer:
            return str(answer.read().decode())

    def words(self) -> str:
        return (self.folder / "pebble.out").read_text(errors="replace")

    def _control(self, verb: str, body: dict[str, object]) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['control']}/{verb}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass


@contextmanager
def pebble(folder: Path, http_port: int = 0, valid_s: int = 0) -> Iterator[Pebble]:
    if shutil.which("pebble") is None or shutil.which("pebble-challtestsrv") is None:
        pytest.skip("pebble is not installed (Debian package pebble)")
    found = Pebble(folder, http_port or free_port(), valid_s)
    try:
        found.start()
        yield found
    finally:
        found.stop()


class Limiter:
    """A proxy before the directory that refuses as long as it is told to, the way Let's Encrypt does."""

    def __init__(self, behind: Pebble) -> None:
        self.refusals = 0
        """New orders that are refused from now on."""
        self.refused = 0
        self.retry_after = "3600"
        limiter, port = self, behind.ports["api"]

        class Visit(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if limiter.refusals > 0 and "order" in self.path and self.command == "POST":
                    limiter.refusals -= 1
                    limiter.refused += 1
                    self._say(429, {"Content-Type": "application/problem+json", "Retry-After": limiter.retry_after}, json.dumps(
                        {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates already issued", "status": 429},
                    ).encode())  # fmt: skip
                    return
                link = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=ssl._create_unverified_context())
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "content-length")}
                link.request(self.command, self.path, body or None, headers)
                answer = link.getresponse()
                content = answer.read()
                kept = {name: value for name, value in answer.getheaders() if name.lower() not in ("connection", "content-length", "transfer-encoding")}
                self._say(answer.status, kept, content)
                link.close()

            do_GET = do_HEAD = do_POST

            def _say(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Visit)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, behind.listener))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}/dir"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
