"""A small web page that says who it is: name, version, uptime, and what it remembers on its data disk."""

from __future__ import annotations

import html
import os
import signal
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = os.environ.get("FLEET_APP_NAME", "hello-app")
VERSION = os.environ.get("FLEET_APP_VERSION", "development")
LABEL = os.environ.get("FLEET_LABEL", "nobody's")
MEMORY = Path(os.environ.get("FLEET_DATA", ".")) / "hello"
STARTED = time.monotonic()

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{name} {version}</title>
<style>
  body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem; color: #1c2733 }}
  dt {{ color: #5b6b7b }} dd {{ margin: 0 0 .6rem }}
</style>
<h1>Hello from {label}</h1>
<dl>
  <dt>Application</dt><dd>{name}</dd>
  <dt>Version</dt><dd>{version}</dd>
  <dt>Uptime</dt><dd>{uptime}</dd>
  <dt>Served over</dt><dd>{scheme}</dd>
  <dt>First seen</dt><dd>{first_seen}</dd>
  <dt>Visits</dt><dd>{visits}</dd>
  <dt>History</dt><dd>{history}</dd>
</dl>
</html>
"""


class Memory:
    """What outlives the machine: a count of visits, on the data disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def visit(self) -> int:
        with self._lock:
            count = int(self.read("visits") or "0") + 1
            fresh = self._folder / ".visits.new"
            fresh.write_text(f"{count}\n", encoding="ascii")
            fresh.replace(self._folder / "visits")
        return count

    def read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""


class Site(ThreadingHTTPServer):
    """HTTP, or HTTPS when there is a certificate. The handshake is left to each visitor's own thread."""

    daemon_threads = True
    request_queue_size = 64
    tls: ssl.SSLContext | None = None
    memory = Memory(MEMORY)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        connection.settimeout(10.0)
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        print(f"visitor {client_address}: {sys.exc_info()[1]}", flush=True)


class Page(BaseHTTPRequestHandler):
    """``/`` is the page, ``/healthz`` says ok."""

    server: Site

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(200, "text/plain", "ok\n")
        elif self.path == "/":
            self._answer(200, "text/html", self._page())
        else:
            self._answer(404, "text/plain", "there is nothing here\n")

    def _page(self) -> str:
        memory = self.server.memory
        words = {
            "name": NAME, "version": VERSION, "label": LABEL, "uptime": uptime(time.monotonic() - STARTED),
            "scheme": "https" if self.server.tls else "http", "visits": str(memory.visit()),
            "first_seen": memory.read("first-seen") or "just now", "history": memory.read("history").replace("\n", ", "),
        }
        return PAGE.format(**{name: html.escape(word) for name, word in words.items()})

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        if self.path != "/healthz":
            print(f"{self.client_address[0]} {self.command} {self.path} {code}", flush=True)


def uptime(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute:02} min {second:02} s"


def main() -> None:
    MEMORY.mkdir(parents=True, exist_ok=True)
    site = Site((os.environ.get("FLEET_ADDRESS", "127.0.0.1"), int(os.environ.get("FLEET_PORT", "8080"))), Page)
    certificate, key = os.environ.get("FLEET_CERTIFICATE"), os.environ.get("FLEET_KEY")
    if certificate and key:
        site.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        site.tls.load_cert_chain(certificate, key)

    def leave(number: int, frame: object) -> None:
        # shutdown() waits for the loop this handler interrupts, so it must be another thread's.
        threading.Thread(target=site.shutdown).start()

    def read_certificate(number: int, frame: object) -> None:
        if site.tls and certificate and key:
            site.tls.load_cert_chain(certificate, key)
            print("certificate read again", flush=True)

    signal.signal(signal.SIGHUP, read_certificate)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    print(f"{NAME} {VERSION} serves {LABEL} on port {site.server_port} over {'https' if site.tls else 'http'}", flush=True)
    site.serve_forever(poll_interval=0.1)
    site.server_close()
    print("good-bye", flush=True)


if __name__ == "__main__":
    main()
