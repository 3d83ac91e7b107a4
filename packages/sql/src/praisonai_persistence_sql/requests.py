"""What an SQL step may ask its runner for."""

from __future__ import annotations

from praisonai_persistence._declare import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Alone", "Execute", "ExecuteMany", "Fetch", "Patiently", "Request", "Snapshot", "Undo", "repeatable"]


class Fetch(NamedTuple):
    """Run a statement that returns rows; the answer is a list of tuples."""

    sql: str
    parameters: Sequence[Any] | Mapping[str, Any] = ()


class Alone(NamedTuple):
    """Run a statement that is a transaction of its own, in one round trip; the answer is a list of tuples.

    What it changed is durable, and visible, when it answers. So it may only be the first request of a write operation,
    which then either returns, or goes on when the statement changed nothing or failed: what follows is another
    transaction; or a later one, whose failure the operation ignores. For engines and drivers whose connections
    understand it.
    """

    sql: str
    parameters: Sequence[Any] = ()


class Execute(NamedTuple):
    """Run a statement; the answer is how many rows it changed."""

    sql: str
    parameters: Sequence[Any] = ()


class ExecuteMany(NamedTuple):
    """Run a statement once for each set of parameters; the answer is None."""

    sql: str
    parameters: Sequence[Sequence[Any]] = ()


class Snapshot(NamedTuple):
    """Let everything that a ``@reads`` operation reads from here on be of one moment; the answer is None.

    A write operation has that anyway. Only operations of several queries need it.
    """


class Undo(NamedTuple):
    """Undo all that the operation did so far; what it asks for next is another transaction. The answer is None.

    For engines whose connections understand it.
    """


class Patiently(NamedTuple):
    """Let the rest of this write operation take its time: neither server nor client ends it early. The answer is None.

    For what takes long for good reasons: migrations, adoption, building an index. For engines whose connections
    understand it.
    """


Request = Fetch | Alone | Execute | ExecuteMany | Snapshot | Undo | Patiently


def repeatable(function: F) -> F:
    """Mark a write operation that may be done twice: when the connection broke, nobody knows whether it was done."""
    function.repeatable = True  # type: ignore[attr-defined]
    return function
