"""Constructors and functions that tell which of their arguments was probably meant."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence._checks import nearest
from praisonai_persistence.errors import UnknownOptionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["named_arguments", "parameters"]

C = TypeVar("C", bound="Callable[..., Any]")


def parameters(method: Any) -> tuple[str, ...]:
    """Return the names of a method's parameters, without ``self``; ``inspect`` costs more than all else."""
    code = method.__code__
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]  # type: ignore[no-any-return]


def _known_to(made: Any) -> tuple[str, ...]:
    """Return what the constructor of an object takes, and those of its bases, to which it hands the rest."""
    own = [vars(base)["__init__"] for base in type(made).__mro__[:-1] if "__init__" in vars(base)]
    codes = [getattr(method, "__wrapped__", method) for method in own]
    found = [name for method in codes if hasattr(method, "__code__") for name in parameters(method)]
    return tuple(dict.fromkeys(name for name in found if not name.startswith("_")))


def named_arguments(what: C) -> C:
    """Let a class or a function name the nearest of its arguments, where it is given one that it has not.

    The error is also a ``TypeError``, as Python's own is.
    """
    is_class = isinstance(what, type)
    function: Any = what.__init__ if is_class else what
    code = function.__code__
    known = code.co_varnames[int(is_class) : code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(function)
    def checked(*args: Any, **arguments: Any) -> Any:
        for name in arguments:
            if name not in known:
                all_known = _known_to(args[0]) if is_class else known
                near = nearest(name, all_known)
                hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(all_known)}"
                who = type(args[0]).__name__ if is_class else what.__name__
                raise UnknownOptionError(f"{who} has no argument {name!r}; {hint}")
        return function(*args, **arguments)

    if not is_class:
        return checked  # type: ignore[return-value]
    cls: Any = what
    cls.__init__ = checked
    return what
