"""What the pools of both drivers have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence_pg.errors import Errors, refuses_settings
from praisonai_persistence_sql import SilentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence_pg.settings import Settings

__all__ = ["OwnConnections", "silent"]


def silent(where: str, seconds: float, *, sent: bool) -> SilentError:
    """Return the error for a server that did not answer.

    Args:
        where: the server, without secrets.
        seconds: it was waited for.
        sent: whether a request was under way.
    """
    return SilentError(f"PostgreSQL at {where} did not answer within {seconds:g} seconds", sent=sent)


class OwnConnections(Errors):
    """Connections of our own: the part of such a pool that is the same, sync and async, mixed in before it.

    Args:
        settings: how to connect.
        connect: makes a connection instead, where the caller handed that in.
        min_size: opened with the first.
        max_size: how many there may be at a time.
        timeout: seconds to wait for one.
    """

    kind: ClassVar[Any]
    """Of connection: wraps the driver's."""

    def __init__(
        self, settings: Settings, connect: Callable[[], Any] | None, *, min_size: int, max_size: int, timeout: float
    ) -> None:
        super().__init__(settings.where)
        self._settings = settings
        self._factory = connect
        self._min_size = min_size
        self._worked = False
        self._lender = self._make_lender(max_size=max_size, timeout=timeout)

    def _make_lender(self, **limits: Any) -> Any:
        """Return the sync or async lender; its connections are of ``kind``."""
        raise NotImplementedError

    def _refuses_settings(self, error: Exception) -> bool:
        """Whether it is a pooler that refused the settings of a session; from now on it is treated as one."""
        if self._settings.pooler or not refuses_settings(str(error)):
            return False
        self._settings = self._settings.for_pooler()
        return True

    def _question(self, process: int) -> str | None:
        """Return a statement which fails where a pooler answers, by a division by zero; None: nothing to find out.

        Args:
            process: number of the server's process, as the connection was told: a pooler makes one up.
        """
        if self._factory is not None or not self._settings.look_for_pooler:
            return None
        return f"SELECT 1 / (pg_backend_pid() = {process})::int"

    def _answered(self, *, pooler: bool) -> None:
        """Remember what was found out."""
        how = self._settings
        self._settings = how.for_pooler() if pooler else replace(how, look_for_pooler=False)

    def _no_answer(self) -> Exception:
        """Return what to raise when nobody answers to an attempt to connect."""
        error = silent(self._where, self._settings.connect_timeout, sent=False)
        return error if self._worked else ConnectionFailedError(str(error))
