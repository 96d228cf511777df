"""Text with PEM blocks taken apart (RFC 7468, as forgiving as people's clipboards need); what is no such text is told how to become it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fleet_tui.backend.errors import Problem

_MOST_BLOCKS = 20
_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_ARMOUR = re.compile(r"(-----(?:BEGIN|END) [A-Z0-9 ]+-----)")
"""Set on lines of their own first: a form may have joined all lines into one."""

_BINARY = "it is binary; PEM is needed, which is text: give the file that begins with -----BEGIN"
_FROM_DER = {
    True: "`openssl pkey -inform DER -in FILE -out key.pem`", False: "`openssl x509 -inform DER -in FILE -out certificate.pem`",
}
_FROM_PKCS12 = {
    True: "`openssl pkcs12 -in FILE -nocerts -nodes -out key.pem`", False: "`openssl pkcs12 -in FILE -nokeys -out certificate.pem`",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One block. With a ``complaint`` it has no content."""

    number: int
    label: str
    der: bytes
    complaint: str = ""

    @property
    def name(self) -> str:
        return f"block {self.number} ({self.label})"


@dataclass(slots=True)
class Findings:
    """What is wrong, as it is found."""

    refusals: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def refuse(self, where: str, text: str) -> None:
        self.refusals.append(Problem(where, text))

    def warn(self, where: str, text: str) -> None:
        self.warnings.append(Problem(where, text))


def read(text: str, where: str, limit: int, found: Findings, is_key: bool = False) -> list[Block]:
    """The armoured blocks of a text; what is no such text is refused with the way to make it one."""
    if len(text) > limit:
        found.refuse(where, f"it has {len(text):,} characters; {limit:,} are taken")
        return []
    if complaint := _not_text(text, is_key):
        found.refuse(where, complaint)
        return []
    lines = ["".join(line.split()) if "-----" not in line else line.strip() for line in _ARMOUR.sub(r"\n\1\n", text.lstrip("\ufeff")).splitlines()]
    blocks: list[Block] = []
    outside = False
    at = 0
    while at < len(lines):
        begin = _BEGIN.fullmatch(lines[at])
        if begin is None:
            outside = outside or bool(lines[at])
            at += 1
            continue
        label, number = begin[1], len(blocks) + 1
        end = next((n for n in range(at + 1, len(lines)) if lines[n].startswith("-----")), len(lines))
        if end == len(lines) or lines[end] != f"-----END {label}-----":
            blocks.append(Block(number, label, b"", f"has no line -----END {label}-----: it was not copied whole"))
            at = end
            continue
        blocks.append(_block(number, label, lines[at + 1 : end]))
        at = end + 1
    if not blocks:
        found.refuse(where, "it has no PEM block: text from a line -----BEGIN …----- to a line -----END …----- is needed, both included")
    elif len(blocks) > _MOST_BLOCKS:
        found.refuse(where, f"it has {len(blocks)} blocks; {_MOST_BLOCKS} are taken")
        return []
    elif outside:
        found.warn(where, "there was text around the PEM blocks; only the blocks were taken")
    return blocks


def _block(number: int, label: str, body: Sequence[str]) -> Block:
    if any(":" in line for line in body):  # the headers of the old form of an encrypted key
        return Block(number, f"{label}, encrypted" if any("ENCRYPTED" in line for line in body) else label, b"")
    try:
        return Block(number, label, base64.b64decode("".join(body), validate=True))
    except binascii.Error:
        return Block(number, label, b"", "is not base64: it was changed on the way; copy it again from the file")


def _not_text(text: str, is_key: bool) -> str:
    """Why something without armour is no PEM; empty when it has some."""
    if _BEGIN.search(text):
        return ""
    try:
        data = text.encode("latin-1") if text[:1] == "0" and not text.isascii() else base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return "" if text.isascii() else _BINARY
    if data[:1] != b"\x30" or len(data) < 16:
        return "" if text.isascii() else _BINARY
    if _is_pkcs12(data):
        return f"it is a PKCS#12 file; PEM is needed: {_FROM_PKCS12[is_key]}"
    if text.isascii():
        return "its lines -----BEGIN …----- and -----END …----- are missing: copy the whole file"
    return f"it is in DER form; PEM is needed: {_FROM_DER[is_key]}"


def _is_pkcs12(data: bytes) -> bool:
    """PFX of RFC 7292: a sequence that begins with version 3."""
    length = data[1] if len(data) > 1 else 0
    start = 2 + (length & 0x7F if length & 0x80 else 0)
    return data[start : start + 3] == b"\x02\x01\x03"
