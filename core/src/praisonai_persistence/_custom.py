"""Stores that somebody wrote for PraisonAI's interfaces, whose methods take less than ours.

A class that overrides a method of an interface without one of the arguments that the interface adds gets, when the
class is made, a method around its own: callers may pass the argument, and it is done with the other methods of the
store. What is done this way is several calls and not one step. The methods stand in ``_custom_methods``.
"""

from __future__ import annotations

from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["EXTENDED", "append_each", "complete", "refuses_unknown_sessions"]

_OWN = "praisonai_persistence"
EXTENDED: dict[str, dict[str, tuple[str, ...]]] = {
    "conversation": {"update_session": ("expected_version",), "get_messages": ("before_seq", "after_seq")},
    "knowledge": {"search": ("with_embeddings",), "count": ("filters",)},
    "state": {"get": ("default",), "hget": ("default",), "incr": ("by",)},
}
"""Kind -> method -> the arguments that PraisonAI's method of that name does not have."""


def complete(cls: type[Any], kind: str, *, asynchronous: bool) -> None:
    """Put methods that take every argument around those of a new class that do not."""
    for name, arguments in EXTENDED[kind].items():
        function = getattr(cls, name)
        code = getattr(function, "__code__", None)
        if code is None or code.co_flags & 0x08:  # no plain function, or one that takes any keyword
            continue
        if arguments[0] in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            continue
        from praisonai_persistence import _custom_methods

        steps = getattr(_custom_methods, f"{kind}_{name}")(function)
        setattr(cls, name, _custom_methods.driven(steps, asynchronous=asynchronous, around=function))
        if (kind, name) == ("state", "get"):
            _as_text(cls, asynchronous=asynchronous)


def _as_text(cls: type[Any], *, asynchronous: bool) -> None:
    """Give a state store that was written for PraisonAI its JSON methods: such a store may keep nothing but text."""
    from praisonai_persistence import _custom_methods

    for name in ("get_json", "set_json"):
        inherited = getattr(cls, name)
        if inherited.__module__ == "praisonai_persistence.state":
            steps = getattr(_custom_methods, f"state_{name}")
            setattr(cls, name, _custom_methods.driven(steps, asynchronous=asynchronous, around=inherited))


def append_each(cls: type[Any], base: type[Any]) -> None:
    """Give a class that overrides ``add_message`` alone the interface's ``add_messages``, which calls it.

    What the class does with a message is meant for each, whoever writes it, by whatever call.
    """
    if "add_message" in vars(cls) and "add_messages" not in vars(cls):
        cls.add_messages = base.add_messages
        cls.capabilities = cls.capabilities - {"atomic_batch"}


def refuses_unknown_sessions(store: Any) -> bool:
    """Whether a conversation store surely raises ``SessionNotFoundError`` for a message of a session that is not there.

    Stores made of this project's classes do. Of others nobody knows: PraisonAI's own ones keep the message, and a
    session that nobody has made is then in no list. So whoever writes to them has to look first.
    """
    while type(store).__module__ == f"{_OWN}.bridge":
        store = store._store
    kind: Any = type(store)
    return _appends_our_way(kind)


@cache
def _appends_our_way(kind: Any) -> bool:
    found = (vars(cls).get("add_message") for cls in kind.__mro__ if cls.__module__.startswith(_OWN))
    return any(method and not getattr(method, "__isabstractmethod__", False) for method in found)
