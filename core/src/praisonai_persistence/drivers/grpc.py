"""Drivers of clients that speak gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from praisonai_persistence.drivers.driver import Driver

if TYPE_CHECKING:
    from praisonai_persistence.drivers.options import Options

__all__ = ["GrpcDriver"]


class GrpcDriver(Driver):
    """A client that speaks gRPC, whose ``close()`` says nothing to the server and does not wait.

    Args:
        options: of the store.
        asynchronous: whether the store is that of async callers. It has the sync client on threads, unless it was given
            an async one: of that, nothing can be closed any more once its event loop has ended.
    """

    forks: Literal["reopen", "refuse"] = "refuse"  # gRPC does not survive one
    lost: Literal["keep", "reopen"] = "reopen"
    """It goes on asking on a connection that is dead without a sign, for as long as TCP believes in it."""

    def __init__(self, options: Options, *, asynchronous: bool = False) -> None:
        super().__init__(options)
        self.asynchronous = asynchronous and "Async" in type(self.given).__name__

    def close(self, client: Any) -> Any:
        """See [Driver.close][]."""
        return client.close()

    def abandon(self, client: Any) -> None:
        """See [Driver.abandon][]."""
        client.close()
