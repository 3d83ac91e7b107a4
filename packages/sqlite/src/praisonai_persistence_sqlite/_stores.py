"""What the stores of all three kinds are given."""

from __future__ import annotations

from praisonai_persistence_sqlite._location import locate
from praisonai_persistence_sqlite._runner import SQLiteRunner, SQLiteThreadRunner

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any, ClassVar

    from praisonai_persistence.integrity import Integrity

__all__ = ["AsyncChecked", "Checked", "Store"]

_LIMIT = 30.0  # seconds


class Store:
    """What all stores on a SQLite file are given.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` for memory, or a path that ends in
            ``.db``; parameters ``synchronous`` and ``lock_timeout``.
        path: the file's path, or ``:memory:``, instead of a URL.
        table_prefix: separates stores in one file.
        synchronous: ``FULL``: what was acknowledged survives a power failure. ``NORMAL``: it survives the death of the
            process; a power failure may take the last commits.
        lock_timeout: seconds to wait for other processes' write transactions.
        create_schema: False: no file and no tables are made, or brought up to date; they must be there.
        adopt_legacy: whether the first call takes over tables of PraisonAI itself that stand where this store's are
            to be (see ``adopt_legacy()``); only of conversations.

    Raises:
        ConfigurationError: neither or both of url and path, or an option that cannot be.
        InvalidIdentifierError: the prefix cannot be part of a table's name.
    """

    backend: ClassVar[str] = "sqlite"
    capabilities: frozenset[str]
    _make_steps: ClassVar[type[Any]]
    _threads: ClassVar[bool] = False

    def __init__(
        self,
        url: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        table_prefix: str = "praison_",
        synchronous: str = "FULL",
        lock_timeout: float = 60.0,
        create_schema: bool = True,
        adopt_legacy: bool = False,
    ) -> None:
        location = locate(url, path, synchronous, lock_timeout)
        if location.path is None:
            self.capabilities = type(self).capabilities - {"durable", "shared"}
        steps = self._make_steps(table_prefix)
        steps.migrations.adopt_on_connect(adopt_legacy)
        runner = SQLiteRunner(location, steps.migrations, create_schema=create_schema)
        super().__init__(steps, SQLiteThreadRunner(runner) if self._threads else runner)  # type: ignore[call-arg]


class Checked:
    """``check_integrity`` of ``praisonai_persistence.integrity``."""

    _runner: Any

    def check_integrity(self, seconds: float = _LIMIT) -> Integrity:
        """Have SQLite look through the file, for so many seconds at the most; nothing changes.

        Raises:
            ConnectionFailedError: the file cannot be opened.
            StoreClosedError: after ``close``.
        """
        return self._runner.check_integrity(seconds)  # type: ignore[no-any-return]


class AsyncChecked:
    """[Checked][] for async callers."""

    _runner: Any

    async def check_integrity(self, seconds: float = _LIMIT) -> Integrity:
        """See [Checked.check_integrity][]."""
        return await self._runner.check_integrity(seconds)  # type: ignore[no-any-return]
