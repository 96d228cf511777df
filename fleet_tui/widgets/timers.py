"""A timer that goes off once, whatever the load."""

from __future__ import annotations

from collections.abc import Callable

from textual.message_pump import MessagePump
from textual.timer import Timer


def once(node: MessagePump, delay_s: float, callback: Callable[[], object]) -> Timer:
    """Have ``callback`` called by ``node`` after so many seconds.

    The framework's own ``set_timer`` leaves out what it finds late: a program that the scheduler held up between two looks at the clock never
    hears of a short timer, and whoever waits for it waits for ever. It is started only once it has been told to leave nothing out.
    """
    timer = node.set_timer(delay_s, callback, pause=True)
    timer._skip = False
    timer.resume()
    return timer
