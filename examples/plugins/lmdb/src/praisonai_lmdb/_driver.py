"""What the stores in LMDB can be given, and how its client is opened and closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence.drivers import Driver, Options, option
from praisonai_persistence.drivers.folders import make_folder
from praisonai_persistence.errors import BackendError, ConnectionFailedError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import lmdb

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError

__all__ = ["LMDBDriver", "LMDBOptions"]


class LMDBOptions(Options):
    """What the stores in LMDB can be given."""

    title = "LMDB"
    schemes = ("lmdb", "async_lmdb")
    folders = True

    map_size = option(2**36, "count", "bytes that the data may take at the most", url=True)


class LMDBDriver(Driver):
    """LMDB in a folder. Everything that is not said here is said by ``Driver``.

    Args:
        options: of the store.
    """

    imports = ("lmdb",)
    packages = ("lmdb",)
    turns = "writes"  # LMDB's own lock of writers waits without a look at interrupts
    forks = "refuse"  # a child must not touch an environment that its parent has opened, nor open it again

    def __init__(self, options: LMDBOptions) -> None:
        self.where = options.where
        # Stores of this process on one path share a client, and it is opened anew when the path was removed.
        self.place = self.path = options.path
        self._folder, self._map_size = options.path or "", options.map_size

    def open(self, deadline: Deadline) -> lmdb.Environment:
        import lmdb

        make_folder(self._folder)
        try:
            return lmdb.open(self._folder, map_size=self._map_size, max_readers=1024, mode=0o600)
        except (OSError, lmdb.Error) as error:
            raise ConnectionFailedError(f"{self.where} cannot be opened: {type(error).__name__}") from error

    def close(self, client: lmdb.Environment) -> None:
        client.close()

    def begin(self, client: lmdb.Environment, *, write: bool) -> AbstractContextManager[lmdb.Transaction]:
        return client.begin(write=write)

    def translate(self, error: Exception) -> PersistenceError | None:
        import lmdb

        if isinstance(error, lmdb.MapFullError):
            return BackendError(f"{self.where} is full: open it with a map_size above {self._map_size}")
        return None
