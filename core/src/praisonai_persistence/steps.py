"""One logic for sync and async.

An operation on a store is written once, as a generator: it yields what it wants done (a query, a command, a call on a
vendor's client) and gets the answer back at the yield. [run][] drives it with a plain function, [run_async][] with a
coroutine function; both are loops of a few lines. An exception of the driver is raised inside the generator at its
yield, so an operation may catch it like any other code.

An operation says whether it changes anything, so that the engine's runner knows which transaction it wants:
``@reads`` or ``@writes`` on the method.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Any, TypeVar

    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., Any])

    Steps = Generator[Any, Any, T]
    """An operation: yields requests, is sent their answers, returns a ``T``."""

__all__ = ["Pause", "Steps", "done", "is_write", "reads", "run", "run_async", "writes"]


def __getattr__(name: str) -> Any:
    if name != "Steps":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Annotations are not evaluated, so only who imports the name outside of ``TYPE_CHECKING`` needs it.
    from collections.abc import Generator
    from typing import Any, TypeVar

    return globals().setdefault("Steps", Generator[Any, Any, TypeVar("T")])  # type: ignore[misc]


class Pause:
    """A request that every runner performs: to wait before the operation goes on.

    Args:
        seconds: how long.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def reads(function: F) -> F:
    """Mark an operation that changes nothing."""
    function._writes = False  # type: ignore[attr-defined]
    return function


def writes(function: F) -> F:
    """Mark an operation that may change something: all of it happens, or nothing."""
    function._writes = True  # type: ignore[attr-defined]
    return function


def is_write(operation: Callable[..., Any]) -> bool:
    """Whether an operation is marked ``@writes``. One that is not marked at all counts as a write, to be safe."""
    return bool(getattr(operation, "_writes", True))


def done(value: T) -> Steps[T]:
    """Return an operation that asks for nothing and returns ``value``."""
    yield from ()  # makes this function a generator
    return value


def run(steps: Steps[T], perform: Callable[[Any], Any]) -> T:
    """Drive ``steps`` to its end; ``perform`` does one request and returns the answer."""
    try:
        request = next(steps)
        while True:
            try:
                answer = perform(request)
            except Exception as error:  # noqa: BLE001 - it is the step's to handle
                request = steps.throw(error)
            else:
                request = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def run_async(steps: Steps[T], perform: Callable[[Any], Awaitable[Any]]) -> T:
    """[run][] for a coroutine function."""
    try:
        request = next(steps)
        while True:
            try:
                answer = await perform(request)
            except Exception as error:  # noqa: BLE001 - it is the step's to handle
                request = steps.throw(error)
            else:
                request = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
