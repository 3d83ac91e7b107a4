"""Every place of a call where CPython may deliver a signal, and with it an exception from outside.

The interpreter looks for signals at the entry of a Python function (and where a generator goes on behind a ``yield``),
behind the call of a C function, and at a backward jump; nowhere else. [visit][] stops a call at one of these places and
does something there: raises, closes the store from another thread, calls it again. [NewThreads][] does something at
places of the threads that the store starts.
"""

from __future__ import annotations

import _thread
import contextlib
import dis
import inspect
import queue
import random
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

__all__ = ["HangError", "NewThreads", "Visit", "Watched", "Worker", "visit"]

T = TypeVar("T")

_CHECKING = frozenset(
    number
    for name, number in dis.opmap.items()
    if name.startswith("POP_JUMP_BACKWARD")
    or name
    in {
        "CALL",
        "CALL_KW",
        "CALL_FUNCTION",
        "CALL_FUNCTION_KW",
        "CALL_FUNCTION_EX",
        "CALL_METHOD",
        "JUMP_ABSOLUTE",
        "JUMP_BACKWARD",
    }
)
_LOCKS = frozenset({"httpcore._synchronization"})
"""Modules of drivers with a lock in Python, taken again by the driver's own handlers: after an exception within it, the
driver waits for itself. No store above it can do anything about that (L03)."""
_RESUME = dis.opmap.get("RESUME", -1)
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_LOOK_AHEAD = 40
"""How many code units the RESUME of a function, or behind a ``yield``, may be away."""


class Watched:
    """Which frames count.

    Args:
        store: the frames are those of the packages that its class and the bases of its class stand in, and of the core.
        drivers: those of everything else instead that is not the standard library: the driver's, but for ``_LOCKS``.
    """

    def __init__(self, store: Any, *, drivers: bool = False) -> None:
        self._drivers = drivers
        self._own = {cls.__module__.partition(".")[0] for cls in type(store).__mro__} - {"builtins", "abc", "typing"}
        self._known: dict[str, bool] = {}

    def __call__(self, frame: FrameType) -> bool:
        """Whether a frame is to be watched."""
        name = frame.f_globals.get("__name__", "")
        if name not in self._known:
            self._known[name] = self._counts(name)
        return self._known[name]

    def _counts(self, name: str) -> bool:
        top = name.partition(".")[0]
        if name.startswith("praisonai_persistence.testing") or name in _LOCKS:
            return False
        if top in self._own or top.startswith("praisonai_persistence"):
            return not self._drivers
        return self._drivers and bool(top) and top not in sys.stdlib_module_names and top != "__main__"


class Visit(NamedTuple):
    """What became of a call.

    Attributes:
        places: how many there were; up to the one that was visited, if it was.
        where: file, line and function of the visited place, or None when the call ended before it.
        result: what the call returned.
        error: what it raised.
    """

    places: int
    where: str | None
    result: Any
    error: BaseException | None


class _Tracer:
    def __init__(self, watched: Watched, number: int | None, act: Callable[[], None]) -> None:
        self._watched = watched
        self._number = number
        self._act = act
        self.places = 0
        self.where: str | None = None
        self._last: dict[FrameType, tuple[int, int]] = {}
        self._entered: set[FrameType] = set()
        self._code: dict[CodeType, bytes] = {}
        self._handlers: dict[CodeType, list[tuple[int, int, int]]] = {}

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Be the trace function of the thread: sees every frame begin."""
        code = frame.f_code
        if not code.co_flags & _GENERATORS and frame.f_back is not None:
            # A Python function was called: the signal is looked for at its entry, and not behind the call.
            self._last.pop(frame.f_back, None)
        if not self._watched(frame):
            return None
        frame.f_trace = self._local  # Python 3.13 asks for it before opcodes are asked for
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if self._looks(frame):
            self._entered.add(frame)
        return self._local

    def _bytes(self, code: CodeType) -> bytes:
        if code not in self._code:
            self._code[code] = code.co_code
        return self._code[code]

    def _looks(self, frame: FrameType) -> bool:
        if _RESUME < 0:  # before Python 3.11
            return True
        found = self._bytes(frame.f_code)
        start = max(frame.f_lasti, 0)
        for at in range(start, min(start + 2 * _LOOK_AHEAD, len(found)), 2):
            if found[at] == _RESUME:
                return found[at + 1] & 3 < 2  # 2 and 3: inside of `yield from` and `await`
        return False

    def _local(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            operation = self._bytes(frame.f_code)[frame.f_lasti]
            if operation != _RESUME:
                entered = frame in self._entered
                self._entered.discard(frame)
                last, at = self._last.get(frame, (-1, 0))
                self._last[frame] = operation, frame.f_lasti
                # A signal is raised by the call itself. Where the next instruction stands outside of the `try` or the
                # `with` of the call (`with lock: return f()`), raising there would be unfair: the lock would stay.
                if entered or (last in _CHECKING and self._same_handler(frame, at)):
                    self._place(frame)
        else:
            self._last.pop(frame, None)
            self._entered.discard(frame)
        return self._local

    def _same_handler(self, frame: FrameType, at: int) -> bool:
        code = frame.f_code
        if code not in self._handlers:
            parse = getattr(
                dis, "_parse_exception_table", None
            )  # Python 3.11 and later; before it, blocks are on a stack
            entries = parse(code) if parse is not None else ()
            self._handlers[code] = [(entry.start, entry.end, entry.target) for entry in entries]
        return self._handler(code, at) == self._handler(code, frame.f_lasti)

    def _handler(self, code: CodeType, at: int) -> int:
        return next((target for start, end, target in self._handlers[code] if start <= at < end), -1)

    def _place(self, frame: FrameType) -> None:
        self.places += 1
        if self.places == self._number:
            code = frame.f_code
            self.where = f"{'/'.join(code.co_filename.split('/')[-2:])}:{frame.f_lineno} in {code.co_name}"
            self._act()
            sys.settrace(None)


def visit(call: Callable[[], Any], watched: Watched, number: int | None, act: Callable[[], None]) -> Visit:
    """Make a call in this thread, and do ``act`` at its place of that number, counted from 1; with None only count.

    What ``act`` raises is raised there.
    """
    tracer = _Tracer(watched, number, act)
    result, error = None, None
    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # since Python 3.12 somebody must have asked for opcodes before `settrace`
    sys.settrace(tracer.trace)
    try:
        result = call()
    except BaseException as raised:  # it is the finding
        error = raised
    finally:
        sys.settrace(before)
    return Visit(tracer.places, tracer.where, result, error)


class NewThreads:
    """The threads that are started from now on: does something there where a function begins or ends.

    There the garbage collector may run a ``__del__``, on any thread.

    Args:
        watched: whose functions count.
        most: how often, for each [doing][NewThreads.doing].

    Attributes:
        places: where something was done.
    """

    def __init__(self, watched: Watched, most: int) -> None:
        self._watched = watched
        self._most = most
        self._left = 0
        self._chance = random.Random(most)
        self._act: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self.places = 0
        self._start = _thread.start_new_thread
        _thread.start_new_thread = self._started
        threading.setprofile(self._profile)

    def _started(self, function: Callable[..., Any], *arguments: Any) -> int:
        def run(*args: Any, **kwargs: Any) -> None:
            sys.setprofile(self._profile)
            function(*args, **kwargs)

        return self._start(run, *arguments)

    @contextlib.contextmanager
    def doing(self, act: Callable[[], None]) -> Iterator[None]:
        """Do something at places of these threads while this lasts."""
        self._left, self._act = self._most, act
        try:
            yield
        finally:
            self._left, self._act = 0, None

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        act = self._act
        if act is None or event not in {"call", "return"} or not self._watched(frame):
            return
        if self._chance.random() < 0.5 or not self._lock.acquire(False):
            return
        try:
            if self._left:
                self._left -= 1
                self.places += 1
                act()
        finally:
            self._lock.release()

    def end(self) -> None:
        """Leave the threads alone that are started from now on."""
        _thread.start_new_thread = self._start
        threading.setprofile(None)


class HangError(Exception):
    """A call did not end in time."""


class Worker:
    """A thread that makes one call after the other, and is given up when one does not end."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], _Outcome]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            call, outcome = self._calls.get()
            try:
                outcome.value = call()
            except BaseException as error:  # it is raised by `wait`
                outcome.error = error
            outcome.ended.set()
            del call, outcome

    def start(self, call: Callable[[], Any]) -> _Outcome:
        """Begin a call; ``wait(seconds)`` of what is returned gives what it returns or raises."""
        outcome = _Outcome()
        self._calls.put((call, outcome))
        return outcome

    def do(self, call: Callable[[], T], seconds: float) -> T:
        """Make a call.

        Raises:
            HangError: it has not ended after so many seconds.
        """
        value: T = self.start(call).wait(seconds)
        return value


class _Outcome:
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def wait(self, seconds: float) -> Any:
        if not self.ended.wait(seconds):
            raise HangError(f"no end after {seconds:.0f} seconds")
        if self.error is not None:
            raise self.error
        return self.value
