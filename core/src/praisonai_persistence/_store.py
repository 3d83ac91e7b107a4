"""What the stores of all three kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from praisonai_persistence._closing import AsyncClosing, Closing
from praisonai_persistence.errors import UnsupportedOperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, ClassVar, NoReturn


class BaseStore(ABC):
    """What sync and async stores share: the declaration of what the engine can."""

    kind: ClassVar[str]
    """``conversation``, ``knowledge`` or ``state``."""
    backend: ClassVar[str] = ""
    """The registered name, for messages and reports."""
    capabilities: frozenset[str] = frozenset()
    """What this store can beyond the required; the names stand in the module of its kind."""

    def expect_existing(self) -> None:
        """Make nothing from now on where nothing is, also on async stores: a plain call, before the first other one.

        Stores that cannot be told apart from empty ones, because they make nothing before the first write, have
        nothing to do here. All others raise ``StoreNotFoundError`` with every call, and ``SchemaError`` where tables
        are older, as long as nobody has made them. ``open_conversation_store(url, must_exist=True)`` and its kin call
        this.
        """
        return

    def _unsupported(self, operation: str, capability: str) -> NoReturn:
        raise UnsupportedOperationError(
            f"{self.backend or type(self).__name__} cannot {operation}: it lacks the capability {capability!r}; "
            f"backends that have it declare it in their 'capabilities' (sqlite does)"
        )


class SyncStore(BaseStore, Closing):
    """Connecting, closing, ``with``."""

    def connect(self) -> None:
        """Connect now rather than with the first call. Calling it again is harmless.

        Raises:
            ConnectionFailedError: the engine cannot be reached or refuses us.
            StoreClosedError: the store was closed.
        """
        return

    @abstractmethod
    def close(self) -> None:
        """Release what the store opened, and nothing that was handed in. Calling it again is harmless.

        Any other call after it raises ``StoreClosedError``.
        """


class AsyncStore(BaseStore, AsyncClosing):
    """Connecting, closing, ``async with``; the async twin of [SyncStore][]."""

    async def connect(self) -> None:
        """See [SyncStore.connect][]."""
        return

    @abstractmethod
    async def close(self) -> None:
        """See [SyncStore.close][]."""


def declare(cls: type[Any], base: type[Any], capability: str, methods: Sequence[str]) -> None:
    """Add a capability to a class that has methods of its own in the place of the interface's defaults."""
    if capability not in cls.capabilities and all(getattr(cls, name) is not getattr(base, name) for name in methods):
        cls.capabilities = cls.capabilities | {capability}
