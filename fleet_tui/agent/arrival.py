"""The first program on a machine in a cloud: reads its orders, brings agent and application in through the door, and starts the agent.

A file for itself: it is what the machine is given at its birth, so it can import nothing of ours. At the first boot it makes itself a unit of
systemd; at each later one it asks the cloud's metadata service for its orders again, for they change with every start.

``FLEET_MACHINE_ROOT`` names another folder than the machine's own; then nothing outside of it is touched, no unit made and no disk looked for.
"""

import base64
import glob
import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlsplit

ROOT = os.environ.get("FLEET_MACHINE_ROOT", "")
PLACE = ROOT or "/var/lib/fleet/machine"
PROGRAM, UNIT = "/opt/fleet/arrival.py", "/etc/systemd/system/fleet-agent.service"
METADATA = "169.254.169.254"
PATIENCE_S = 900.0
ORDERS = "FLEET_ORDERS = "
UNIT_TEXT = """[Unit]
Description=fleet agent
After=network-online.target cloud-init.service
Wants=network-online.target
[Service]
ExecStart=%s %s
Restart=on-failure
RestartSec=5
KillMode=process
[Install]
WantedBy=multi-user.target
"""


def say(text):
    print("fleet: " + text, flush=True)


def orders_of(text):
    """What the cloud was told about this machine: one line of JSON in its user data."""
    lines = [line for line in text.splitlines() if line.startswith(ORDERS)]
    return json.loads(lines[0][len(ORDERS):])


def metadata(method, path, headers):
    link = http.client.HTTPConnection(METADATA, timeout=10)
    try:
        link.request(method, path, headers=headers)
        answer = link.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise OSError("the metadata service answers %d" % answer.status)
        return body
    finally:
        link.close()


def user_data():
    token = metadata("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"})
    return metadata("GET", "/latest/user-data", {"X-aws-ec2-metadata-token": token})


class UnixConnection(http.client.HTTPConnection):
    path = ""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def connections(orders):
    """A connection to each place of the door; nobody is believed but who has a certificate of the fleet's authority."""
    for one in orders["door"].split():
        if one.startswith("unix:"):
            for path in sorted(glob.glob(one[5:])):
                link = UnixConnection("localhost", timeout=60)
                link.path = path
                yield link
            continue
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=orders["ca_pem"])
        place = urlsplit(one)
        yield http.client.HTTPSConnection(place.hostname, place.port, timeout=60, context=context)


def ask(orders, part, offset):
    failure = "the door is nowhere"
    for link in connections(orders):
        try:
            body = json.dumps({"machine": orders["machine"], "token": orders["token"], "part": part, "offset": offset})
            link.request("POST", "/v1/agent.fetch", body, {"Content-Type": "application/json", "Fleet-Agent": orders["machine"]})
            answer = link.getresponse()
            reply = json.loads(answer.read().decode())
            if answer.status == 200:
                return reply["result"]
            failure = reply.get("error", {}).get("message", "status %d" % answer.status)
            if answer.status in (401, 404):
                sys.exit("fleet: the door refuses us: " + failure)
        except (OSError, ValueError, http.client.HTTPException) as error:
            failure = str(error) or type(error).__name__
        finally:
            link.close()
    raise OSError(failure)


def fetch(orders, part, target):
    """All of it, checked, or nothing; tried for a while, for the door may come up after us. What has come is not asked for again."""
    deadline, pause = time.monotonic() + PATIENCE_S, 1.0
    handle, name = tempfile.mkstemp(prefix=".arriving.", dir=PLACE)
    try:
        with os.fdopen(handle, "wb") as file:
            digest, offset = hashlib.sha256(), 0
            while True:
                try:
                    told = ask(orders, part, offset)
                    content, size = base64.b64decode(told["content"]), told["size"]
                    if not content and offset < size:
                        raise OSError("a part of it is empty")
                    file.seek(offset)
                    file.write(content)
                    digest.update(content)
                    offset += len(content)
                    if offset < size:
                        continue
                    if size and digest.hexdigest() != told["sha256"]:
                        digest, offset = hashlib.sha256(), 0
                        raise OSError("what came is not what was sent")
                    file.truncate(offset)
                    file.flush()
                    os.fsync(handle)
                    break
                except OSError as error:
                    if time.monotonic() > deadline:
                        sys.exit("fleet: %s did not arrive: %s" % (part, error))
                    say("%s did not arrive yet (%s); next try in %.0f s" % (part, error, pause))
                    time.sleep(pause)
                    pause = min(15.0, pause * 2)
        os.rename(name, target)
    finally:
        if os.path.exists(name):
            os.unlink(name)


def settle(text):
    """Become a unit, so that each boot begins here, with the orders of that boot."""
    os.makedirs(os.path.dirname(PROGRAM), exist_ok=True)
    with open(PROGRAM, "w", encoding="utf-8") as file:
        file.write("".join(line for line in text.splitlines(True) if not line.startswith(ORDERS)))
    with open(UNIT, "w", encoding="utf-8") as file:
        file.write(UNIT_TEXT % (sys.executable, PROGRAM))
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "enable", "--now", "--no-block", "fleet-agent.service"], check=True)


def is_known(orders):
    """Whether the agent was through its hello with this token before: then it goes on by itself."""
    try:
        with open(os.path.join(PLACE, "agent-state.json"), encoding="utf-8") as file:
            state = json.load(file)
    except (OSError, ValueError):
        return False
    return bool(state.get("key")) and state.get("token_sha256") == hashlib.sha256(orders["token"].encode()).hexdigest()


def main(text):
    if text and not ROOT:
        settle(text)
        return
    orders = orders_of(text or user_data())
    os.makedirs(PLACE, mode=0o700, exist_ok=True)
    if not is_known(orders):
        fetch(orders, "agent", os.path.join(PLACE, "agent.pyz"))
        fetch(orders, "bundle", os.path.join(PLACE, "bundle.tar"))
        given = {name: orders[name] for name in ("machine", "token", "door", "ca_pem")}
        given["data_serial"] = "" if ROOT else orders["volume"]
        handle, name = tempfile.mkstemp(prefix=".agent.json.", dir=PLACE)
        with os.fdopen(handle, "w") as file:
            json.dump(given, file)
        os.rename(name, os.path.join(PLACE, "agent.json"))
    marks = {"FLEET_MACHINE": orders["machine"], "FLEET_MACHINE_FOLDER": PLACE, "HOME": PLACE}
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ", "TMPDIR") if name in os.environ}
    python = shutil.which("python3") or sys.executable
    os.execve(python, [python, "-I", "-S", os.path.join(PLACE, "agent.pyz"), PLACE], dict(kept, **marks))


if __name__ == "__main__":
    with open(os.path.abspath(__file__), encoding="utf-8") as own:
        lines = own.read()
    main(lines if any(line.startswith(ORDERS) for line in lines.splitlines()) else "")
