"""Packages whose names are loaded on first use (PEP 562)."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing typing would take longer than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["lazy"]


def lazy(namespace: dict[str, Any], homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``.

    Args:
        namespace: the package's ``globals()``; its ``__all__`` is complete when the first name is looked up.
        homes: of each public name, the module inside the package that has it.
    """
    package = namespace["__name__"]

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = f"{package}.{homes[name]}"
        __import__(home)  # importlib is not loaded yet
        value = namespace[name] = getattr(sys.modules[home], name)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*namespace, *namespace["__all__"]})

    return __getattr__, __dir__
