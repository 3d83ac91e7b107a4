"""Raises at every place of a call where CPython 3.11 may deliver a signal, one place at a time.

Those are the places behind calls of C functions, at the entry of Python functions, and at jumps backwards.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_CHECKED = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD") if name in dis.opmap}
_PACKAGES = str(Path(__file__).resolve().parents[2])


class Interrupt(KeyboardInterrupt):
    """What the handler raises."""


def interrupted(call: Callable[[], Any], number: int, kind: type[BaseException] = Interrupt) -> BaseException | None:
    """Run a call, and raise at the place of that number, counted from 1, in this project's packages.

    Returns:
        What came out of the call; None: it has ended well, or has fewer places.
    """
    count = 0
    previous: dict[FrameType, int] = {}
    last: tuple[str, FrameType | None] = ("", None)

    def reached() -> None:
        nonlocal count
        count += 1
        if count == number:
            sys.settrace(None)
            raise kind

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal last
        if event == "opcode":
            before = previous.get(frame)
            previous[frame] = frame.f_code.co_code[frame.f_lasti]
            checked = last == ("opcode", frame) and before in _CHECKED
            last = ("opcode", frame)
            if checked:
                reached()
        elif event in {"return", "exception"}:
            last = (event, frame)
        return local

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal last
        last = ("call", frame)
        if not frame.f_code.co_filename.startswith(_PACKAGES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        reached()
        return local

    sys.settrace(trace)
    try:
        call()
    except BaseException as error:
        return error
    finally:
        sys.settrace(None)
    return None
