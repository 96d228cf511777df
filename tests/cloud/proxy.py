"""Stands before moto and adds what moto does not do: what makes AWS hard to be right with.

Client tokens are honoured, lists come in pages, calls are throttled, states take their time, what was just made may not be seen yet, volumes and
network cards have one holder, what was attached tells whether it goes with its machine, volumes rest after a change, disabled keys do nothing,
permissions are missing, answers get lost. And volumes have content: a folder each.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import shutil
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

from tests.cloud.wire import Answer, Request, add, items, lists, put, refusal, same_kind, text

_SETS = {
    "DescribeInstances": "reservationSet", "DescribeVolumes": "volumeSet", "DescribeNetworkInterfaces": "networkInterfaceSet",
    "DescribeSnapshots": "snapshotSet", "DescribeSecurityGroups": "securityGroupInfo", "DescribeSubnets": "subnetSet",
}
_HELD = ("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey")
_CODES = {"pending": "0", "running": "16", "shutting-down": "32", "stopping": "64"}


def _is_change(request: Request) -> bool:
    return not request.action.startswith(("Describe", "Get", "List", "GET")) and request.form.get("DryRun") != "true"


@dataclass
class Passing:
    """A state that lasts for some more looks."""

    state: str
    looks: int


class Proxy:
    """What it adds is off until switched on by its attributes; all of it may be changed while it runs.

    Args:
        moto: port it stands before.
        content: folder that holds a folder for each volume and snapshot.
    """

    def __init__(self, moto: int, content: Path) -> None:
        self.content = content
        self.page = 0
        """Entries in one page; 0 for all."""
        self.throttle_every = 0
        """Each so-many-th call is refused."""
        self.lag = 0
        """Looks for which a change of state is still under way."""
        self.unseen = 0
        """Looks for which what was made is not there yet."""
        self.denied: set[str] = set()
        """Actions such as ``ec2:RunInstances``."""
        self.failing: dict[str, list[tuple[str, str]]] = {}
        """Action, with ``/dry`` for its rehearsal -> refusals to come, each a code and a message."""
        self.lost: Counter[str] = Counter()
        """Actions whose next answers get lost, though they were done."""
        self.disabled: set[str] = set()
        """Keys."""
        self.done: Callable[[str], bool] = lambda action: False
        """Told of each change right after it was made; true loses its answer. Whoever asked may be dead by then."""
        self.calls: Counter[str] = Counter()
        self.throttled = self.pages = 0
        self._moto = moto
        self._lock = threading.RLock()
        self._kept: dict[tuple[str, str], tuple[str, Answer]] = {}
        self._passing: dict[str, Passing] = {}
        self._hidden: Counter[str] = Counter()
        self._changed: dict[str, Passing] = {}
        """Volumes that were changed -> the size they had, for as long as it is still told."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def calm(self) -> None:
        """Nothing is added any more but client tokens and holders, which are always right."""
        self.page = self.throttle_every = self.lag = self.unseen = 0
        for rules in (self.denied, self.failing, self.lost, self.disabled):
            rules.clear()

    # --- one call ------------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer | None:
        """``None``: it was done, and the answer is lost."""
        with self._lock:
            action = f"{request.service}:{request.action}"
            self.calls[action] += 1
            if self.throttle_every and self.calls.total() % self.throttle_every == 0:
                self.throttled += 1
                code = "RequestLimitExceeded" if request.service == "ec2" else "ThrottlingException"
                return refusal(request, code, "Request limit exceeded.", 503 if request.service == "ec2" else 400)
            if action in self.denied:
                code = "UnauthorizedOperation" if request.service == "ec2" else "AccessDeniedException"
                return refusal(request, code, f"You are not authorized to perform: {action} on this resource", 403)
            if coming := self.failing.get(f"{action}/dry" if request.form.get("DryRun") == "true" else action):
                return refusal(request, *coming.pop(0))
            if (strict := self._refused(request)) is not None:
                return strict
            found = self._once(request) if request.service == "ec2" else self._forward(request)
            if found.is_good and request.service == "ec2":
                found = self._seen(request, found)
            if found.is_good and _is_change(request) and self.done(action):
                return None
            if found.is_good and self.lost[action] > 0:
                self.lost[action] -= 1
                return None
            return found

    def _once(self, request: Request) -> Answer:
        """The same client token gives the same answer; with other parameters it is refused."""
        token = request.form.get("ClientToken", "")
        if not token or request.form.get("DryRun") == "true":
            return self._done(request)
        digest = hashlib.sha256(urlencode(sorted(request.form.items())).encode()).hexdigest()
        known = self._kept.get((request.action, token))
        if known is not None:
            if known[0] != digest:
                return refusal(request, "IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used before")
            return known[1]
        found = self._done(request)
        if found.is_good:
            self._kept[request.action, token] = (digest, found)
        return found

    def _done(self, request: Request) -> Answer:
        found = self._forward(request)
        if found.is_good and request.form.get("DryRun") != "true":
            self._effect(request, found)
        return found

    def _forward(self, request: Request) -> Answer:
        body = request.body
        if request.service == "ec2":
            # Pages are made here; moto knows none.
            form = {key: value for key, value in request.form.items() if key not in ("NextToken", "MaxResults")}
            if "UserData.Value" in form:  # which moto takes to be encoded twice
                form["UserData.Value"] = base64.b64encode(form["UserData.Value"].encode()).decode()
            body = urlencode(form).encode()
        link = http.client.HTTPConnection("127.0.0.1", self._moto, timeout=60)
        try:
            headers = {key: value for key, value in request.headers.items() if key.lower() not in ("content-length", "host", "connection", "expect")}
            link.request(request.method, request.path, body, {**headers, "Host": f"127.0.0.1:{self._moto}"})
            answer = link.getresponse()
            return Answer(answer.status, answer.read(), answer.getheader("Content-Type") or "text/xml")
        finally:
            link.close()

    # --- what moto lets pass -----------------------------------------------------------------------------------------------

    def _refused(self, request: Request) -> Answer | None:
        if request.service == "kms" and request.action in _HELD:
            used = {str(request.fields.get(name, "")) for name in ("KeyId", "SourceKeyId", "DestinationKeyId")}
            if bad := [key for key in self.disabled if any(key in name for name in used)]:
                return refusal(request, "DisabledException", f"{bad[0]} is disabled.")
        if request.action == "AttachVolume":
            return self._attach_refused(request)
        if request.action == "ModifyVolume" and (before := self._changed.get(request.form["VolumeId"])) is not None:
            if before.looks > 0:
                return refusal(request, "IncorrectModificationState", f"Cannot modify volume {request.form['VolumeId']}: it is in state 'modifying'")
            return refusal(request, "VolumeModificationRateExceeded", "You've reached the maximum modification rate per volume limit")
        if request.action == "RunInstances":
            for name in [value for key, value in request.form.items() if key.endswith(".NetworkInterfaceId")]:
                card = self._described(request, "DescribeNetworkInterfaces", "NetworkInterfaceId", name, "networkInterfaceSet")
                if card is not None and text(card, "attachment/instanceId") and request.form.get("ClientToken", "") not in self._tokens():
                    return refusal(request, "InvalidNetworkInterface.InUse", f"Interface: [{name}] in use.")
        return None

    def _tokens(self) -> set[str]:
        return {token for _, token in self._kept}

    def _attach_refused(self, request: Request) -> Answer | None:
        form = request.form
        volume = self._described(request, "DescribeVolumes", "VolumeId", form["VolumeId"], "volumeSet")
        instance = self._described(request, "DescribeInstances", "InstanceId", form["InstanceId"], "instancesSet")
        if volume is None or instance is None:
            return None
        if items(volume, "attachmentSet"):
            return refusal(request, "VolumeInUse", f"{form['VolumeId']} is already attached to an instance")
        if text(instance, "instanceState/name") not in ("running", "stopped") or self._is_passing(form["InstanceId"]):
            return refusal(request, "IncorrectState", f"Instance '{form['InstanceId']}' is not 'running'.")
        if text(volume, "availabilityZone") != text(instance, "placement/availabilityZone"):
            return refusal(request, "InvalidVolume.ZoneMismatch", "The volume is not in the same availability zone as the instance")
        devices = [text(entry, "deviceName") for entry in items(instance, "blockDeviceMapping")]
        if form["Device"] in devices:
            return refusal(request, "InvalidParameterValue", f"Invalid value '{form['Device']}' for unixDevice. Attachment point is already in use")
        return None

    def _is_passing(self, name: str) -> bool:
        return name in self._passing and self._passing[name].looks > 0

    def _described(self, request: Request, action: str, name: str, value: str, group: str) -> ET.Element | None:
        body = urlencode({"Action": action, "Version": "2016-11-15", f"{name}.1": value}).encode()
        found = self._forward(Request("POST", "/", request.headers, body))
        return next(iter(items(found.tree(), group)), None) if found.is_good else None

    # --- what comes of it ----------------------------------------------------------------------------------------------------

    def _effect(self, request: Request, found: Answer) -> None:
        form, action, tree = request.form, request.action, found.tree()
        if action == "CreateVolume":
            made = text(tree, "volumeId")
            source = self.content / form["SnapshotId"] if form.get("SnapshotId") else None
            if source is not None and source.is_dir():
                shutil.copytree(source, self.content / made, symlinks=True)
            else:
                (self.content / made).mkdir(parents=True)
            self._begin(made, "creating")
        elif action == "CreateSnapshot":
            made = text(tree, "snapshotId")
            shutil.copytree(self.content / form["VolumeId"], self.content / made, symlinks=True)
            self._begin(made, "pending")
        elif action in ("DeleteVolume", "DeleteSnapshot"):
            shutil.rmtree(self.content / (form.get("VolumeId") or form["SnapshotId"]), ignore_errors=True)
        elif action == "RunInstances":
            for entry in items(tree, "instancesSet"):
                self._begin(text(entry, "instanceId"), "pending")
        elif action == "CreateNetworkInterface":
            self._hidden[text(tree, "networkInterface/networkInterfaceId")] = self.unseen
        elif action in ("StopInstances", "StartInstances", "TerminateInstances"):
            state = {"StopInstances": "stopping", "StartInstances": "pending", "TerminateInstances": "shutting-down"}[action]
            for name in request.listed("InstanceId"):
                self._passing[name] = Passing(state, self.lag)
        elif action == "AttachVolume":
            self._passing[form["VolumeId"]] = Passing("attaching", self.lag)
        elif action == "ModifyVolume":
            self._changed[form["VolumeId"]] = Passing(text(tree, "volumeModification/originalSize"), self.lag)
        elif action == "DetachVolume":
            self._passing[form["VolumeId"]] = Passing("in-use", self.lag)

    def _begin(self, name: str, state: str) -> None:
        self._hidden[name] = self.unseen
        self._passing[name] = Passing(state, self.lag)

    def _seen(self, request: Request, found: Answer) -> Answer:
        """A list as somebody sees it who asks too early, in pages."""
        group = _SETS.get(request.action)
        if group is None and request.action != "DescribeVolumesModifications":
            return found
        tree = found.tree()
        if request.action == "DescribeVolumes":
            self._tell_fate(request, tree)
            self._tell_size(tree)
        if group is None:
            for entry in items(tree, "volumeModificationSet"):
                put(entry, "modificationState", "modifying" if self._changed[text(entry, "volumeId")].looks > 0 else "optimizing")
            return same_kind(found, tree)
        for kind, name, state in (("instancesSet", "instanceId", "instanceState/name"), ("volumeSet", "volumeId", "status"), ("snapshotSet", "snapshotId", "status")):
            for entry in items(tree, kind):
                self._disguise(entry, text(entry, name), kind, state)
        names = {"reservationSet": "instancesSet/item/instanceId", "volumeSet": "volumeId", "networkInterfaceSet": "networkInterfaceId"}
        by_name = any(key.endswith("Id.1") for key in request.form)
        for parent in lists(tree, group):
            for entry in list(parent):
                name = text(entry, names[group]) if group in names else ""
                if name and self._hidden[name] > 0:
                    self._hidden[name] -= 1
                    parent.remove(entry)
                    if by_name:
                        kind = {"reservationSet": "InvalidInstanceID", "volumeSet": "InvalidVolume"}.get(group, "InvalidNetworkInterfaceID")
                        return refusal(request, f"{kind}.NotFound", f"The ID '{name}' does not exist")
            if self.page and not by_name:
                self._cut(request, tree, parent)
        return same_kind(found, tree)

    def _tell_fate(self, request: Request, tree: ET.Element) -> None:
        """Whether what is attached goes when its machine goes, as the machine has it; what goes with one is listed first."""
        for attachment in items(tree, "attachmentSet"):
            instance = self._described(request, "DescribeInstances", "InstanceId", text(attachment, "instanceId"), "instancesSet")
            disks = items(instance, "blockDeviceMapping") if instance is not None else []
            fates = {text(disk, "ebs/volumeId"): text(disk, "ebs/deleteOnTermination") for disk in disks}
            add(attachment, "deleteOnTermination", fates.get(text(attachment, "volumeId"), "false"))
        for parent in lists(tree, "volumeSet"):
            parent[:] = sorted(parent, key=lambda entry: text(entry, "attachmentSet/item/deleteOnTermination") != "true")

    def _tell_size(self, tree: ET.Element) -> None:
        """What is being changed has its old size for a while."""
        for entry in items(tree, "volumeSet"):
            before = self._changed.get(text(entry, "volumeId"))
            if before is not None and before.looks > 0:
                before.looks -= 1
                put(entry, "size", before.state)

    def _disguise(self, entry: ET.Element, name: str, kind: str, state: str) -> None:
        passing = self._passing.get(name)
        if passing is None:
            return
        if passing.looks <= 0:
            del self._passing[name]
            return
        passing.looks -= 1
        if passing.state == "attaching":
            for attachment in items(entry, "attachmentSet"):
                put(attachment, "status", "attaching")
        else:
            put(entry, state, passing.state)
            if kind == "instancesSet":
                put(entry, "instanceState/code", _CODES[passing.state])

    def _cut(self, request: Request, tree: ET.Element, parent: ET.Element) -> None:
        entries = list(parent)
        first = int(request.form.get("NextToken", "page-0").partition("-")[2])
        for entry in (*entries[:first], *entries[first + self.page:]):
            parent.remove(entry)
        if first + self.page < len(entries):
            self.pages += 1
            add(tree, "nextToken", f"page-{first + self.page}")

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = proxy.answer(Request(self.command, self.path, dict(self.headers.items()), body))
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_DELETE = _do

            def log_message(self, *words: object) -> None:
                pass

        return Handler
