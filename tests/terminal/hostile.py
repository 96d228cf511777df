"""Text that attacks a terminal or the framework, and what of it must never be sent."""

from __future__ import annotations

MARK = "Zq7"
"""Stands in every payload, so that a test can see that the text around it was painted."""

PAYLOADS = {
    "clear screen": f"{MARK}\x1b[2J\x1b[1;1Hgone",
    "clipboard, ended by BEL": f"{MARK}\x1b]52;c;ZXZpbA==\x07 after",
    "clipboard, ended by ST": f"{MARK}\x1b]52;c;ZXZpbA==\x1b\\ after",
    "hyperlink": f"{MARK}\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "window title": f"{MARK}\x1b]0;owned\x07",
    "question": f"{MARK}\x1b[6n\x1b[c\x05",
    "C1 introducer": f"{MARK}\x9b31mred\x9d52;c;ZXZpbA==\x9c",
    "controls": f"{MARK}\x00\x07\x08\x0b\x0c\r\x0e\x0f\x1f\x7fend",
    "newlines": f"{MARK}\n\r\n\x85\u2028\u2029end",
    "bidi": f"{MARK}\u202egnp.exe\u202c\u2066x\u2069\u200f",
    "zero width": f"{MARK}a\u200bb\u200cc\u200dd\u2060e\ufefff\u00ad",
    "tags": f"{MARK}\U000e0041\U000e0042\U000e007f",
    "closing markup": f"{MARK}[/nope]",
    "action markup": f"{MARK}[@click=app.quit]quit[/] [bold red]x[/] [link=http://evil.example]y[/link]",
    "tabs": f"{MARK}\ta\tb\t",
    "wide": f"{MARK}漢字かな\u0301\u0301\u0301 ok",
    "lone surrogate": f"{MARK}\udce9\udcff",
    "megabyte": f"{MARK}" + "A\x1b]52;c;ZXZpbA==\x07" * 55_000,
}

NEVER_SENT = (
    "\x1b[2J\x1b[1;1Hgone", "\x1b]", "52;c;ZXZpbA==\x07", "ZXZpbA==\x1b\\", "\x1b]8", "\x1b[6n",
    "\x9b", "\x9d", "\x9c", "\x85", "\x00", "\x05", "\x0b", "\x0c", "\x0e", "\x0f", "\x1f", "\x7f",
    "\u202e", "\u202c", "\u2066", "\u2069", "\u200f", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad",
    "\u2028", "\u2029", "\U000e0041", "\U000e0042", "\U000e007f",
)  # fmt: skip
"""Sequences that the console itself never has a reason to send."""


MOUSE_POINTER = b"\x1b]22;default\x07"
"""The one operating system command that Textual sends by itself, at its start."""


def found_in(raw: bytes) -> list[str]:
    """Which of the sequences are in what was sent to a terminal."""
    raw = raw.replace(MOUSE_POINTER, b"")
    return [bad for bad in NEVER_SENT if bad.encode() in raw]
