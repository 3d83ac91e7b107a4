"""What can be opened by ``with`` and ``async with``."""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Closing(ABC):
    """``with`` ends in ``close``."""

    @abstractmethod
    def close(self) -> None:
        """Release what was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Awaited(ABC):
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._release()

    @abstractmethod
    async def _release(self) -> None: ...


class AsyncClosing(_Awaited):
    """``async with`` ends in ``close``."""

    @abstractmethod
    async def close(self) -> None:
        """Release what was opened."""

    async def _release(self) -> None:
        await self.close()


class EitherClosing(Closing, _Awaited):
    """``with`` ends in ``close``, and ``async with`` in ``aclose``."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release what was opened, awaited."""

    async def _release(self) -> None:
        await self.aclose()
