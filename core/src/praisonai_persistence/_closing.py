"""What can be opened by ``with`` and ``async with``, and cannot be copied."""

from __future__ import annotations

from abc import ABC, abstractmethod

from praisonai_persistence.errors import UnsupportedOperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn, SupportsIndex

    from typing_extensions import Self


class Single:
    """What holds connections, locks, or a password: it is never pickled or copied."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        """Refuse to be pickled, copied or deep-copied: all three ask here.

        Raises:
            UnsupportedOperationError: always.
        """
        raise UnsupportedOperationError(
            f"a {type(self).__name__} cannot be pickled or copied: it owns connections, or knows a "
            "password; pass on how to open it, and open another one there"
        )


class Closing(Single, ABC):
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


class _Awaited(Single, ABC):
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
