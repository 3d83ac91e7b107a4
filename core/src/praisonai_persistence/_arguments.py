"""Constructors that tell which of their arguments was probably meant."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

from praisonai_persistence._checks import nearest
from praisonai_persistence.errors import UnknownOptionError

__all__ = ["named_arguments", "parameters"]

C = TypeVar("C", bound=type)


def parameters(method: Any) -> tuple[str, ...]:
    """Return the names of a method's parameters, without ``self``; ``inspect`` costs more than all else."""
    code = method.__code__
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]  # type: ignore[no-any-return]


def named_arguments(cls: C) -> C:
    """Let a class name the nearest of its arguments, where its constructor is given one that it has not.

    The error is also a ``TypeError``, as Python's own is.
    """
    construct: Any = cls.__init__  # type: ignore[misc]
    known = parameters(construct)

    @functools.wraps(construct)
    def checked(self: Any, *args: Any, **arguments: Any) -> None:
        for name in arguments:
            if name not in known:
                near = nearest(name, known)
                hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(known)}"
                raise UnknownOptionError(f"{cls.__name__} has no argument {name!r}; {hint}")
        construct(self, *args, **arguments)

    cls.__init__ = checked  # type: ignore[misc]
    return cls
