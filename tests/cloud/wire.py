"""How AWS is spoken to on the wire: which action a request asks for, and what a refusal looks like in the service's own form."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

_JSON = {"kms": "TrentService", "secretsmanager": "secretsmanager", "ssm": "AmazonSSM"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def service(self) -> str:
        found = re.search(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/", self.headers.get("Authorization", ""))
        return found[1] if found else ""

    @property
    def action(self) -> str:
        """``RunInstances``; of REST services the method with what it is about."""
        if target := self.headers.get("X-Amz-Target"):
            return target.rpartition(".")[2]
        if action := self.form.get("Action"):
            return action
        return f"{self.method} {self.path.partition('?')[0].rpartition('/')[2]}"

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)) if b"Action=" in self.body else {}

    @property
    def fields(self) -> dict[str, object]:
        """Of a JSON request."""
        found: dict[str, object] = json.loads(self.body or b"{}")
        return found

    def listed(self, name: str) -> list[str]:
        """``Name.1``, ``Name.2``, …"""
        return [value for key, value in self.form.items() if re.fullmatch(rf"{name}\.\d+", key)]


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    kind: str = "text/xml"

    @property
    def is_good(self) -> bool:
        return self.status < 300

    def tree(self) -> ET.Element:
        return ET.fromstring(self.body)


def refusal(request: Request, code: str, message: str, status: int = 400) -> Answer:
    if request.service in _JSON:
        return Answer(status, json.dumps({"__type": code, "message": message}).encode(), "application/x-amz-json-1.1")
    told = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if request.service == "ec2":
        return Answer(status, f"<Response><Errors><Error>{told}</Error></Errors><RequestID>r-1</RequestID></Response>".encode())
    return Answer(status, f"<ErrorResponse><Error><Type>Sender</Type>{told}</Error><RequestId>r-1</RequestId></ErrorResponse>".encode())


def items(tree: ET.Element, group: str) -> list[ET.Element]:
    """Entries of a list, wherever in the answer it is."""
    return [entry for parent in lists(tree, group) for entry in parent.findall("{*}item")]


def lists(tree: ET.Element, group: str) -> list[ET.Element]:
    return [element for element in tree.iter() if element.tag.rpartition("}")[2] == group]


def text(entry: ET.Element, path: str) -> str:
    found = _at(entry, path)
    return (found.text or "") if found is not None else ""


def put(entry: ET.Element, path: str, value: str) -> None:
    if (found := _at(entry, path)) is not None:
        found.text = value


def add(tree: ET.Element, name: str, value: str) -> None:
    """In the namespace of the answer."""
    ET.SubElement(tree, f"{tree.tag.partition('}')[0]}}}{name}" if tree.tag.startswith("{") else name).text = value


def _at(entry: ET.Element, path: str) -> ET.Element | None:
    return entry.find("/".join(f"{{*}}{part}" for part in path.split("/")))


def same_kind(answer: Answer, tree: ET.Element) -> Answer:
    if tree.tag.startswith("{"):
        ET.register_namespace("", tree.tag[1:].partition("}")[0])
    return Answer(answer.status, ET.tostring(tree, encoding="utf-8", xml_declaration=True), answer.kind)
