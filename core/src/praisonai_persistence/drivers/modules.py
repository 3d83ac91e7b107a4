"""Modules of a client that take long to import, and that only some calls need."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LateModule"]


class LateModule:
    """Stands for a module, which is imported when something of it is used for the first time.

    It is made where the module would be imported: ``models = LateModule("qdrant_client.models")``. Once used, an
    attribute costs what it costs with the module itself.

    Args:
        name: of the module. If it may be missing, the driver names it in its ``imports``: the error then says what to
            install.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copies and inspects objects asks for these
            raise AttributeError(name)
        __import__(self._name)
        value = getattr(sys.modules[self._name], name)
        setattr(self, name, value)
        return value
