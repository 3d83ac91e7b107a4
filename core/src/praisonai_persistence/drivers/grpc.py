"""Drivers of clients that speak gRPC."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from praisonai_persistence.drivers.driver import Driver
from praisonai_persistence.errors import ConnectionFailedError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.drivers.driver import Deadline
    from praisonai_persistence.drivers.options import Options

__all__ = ["GrpcDriver"]


class GrpcDriver(Driver):
    """A client that speaks gRPC, whose ``close()`` says nothing to the server and does not wait.

    Args:
        options: of the store.
        asynchronous: whether the store is that of async callers. It has the sync client on threads, unless it was given
            an async one: of that, nothing can be closed any more once its event loop has ended.
    """

    forks: Literal["reopen", "close", "refuse"] = "refuse"  # gRPC does not survive one
    lost: Literal["keep", "reopen"] = "reopen"
    """It goes on asking on a connection that is dead without a sign, for as long as TCP believes in it."""

    def __init__(self, options: Options, *, asynchronous: bool = False) -> None:
        super().__init__(options)
        self.asynchronous = asynchronous and "Async" in type(self.given).__name__

    def connected(self, channel: Any, place: str, deadline: Deadline) -> None:
        """Wait until a channel has its connection. Clients repeat requests on one that has none, some for a minute.

        Args:
            channel: of gRPC, for sync clients.
            place: where it leads, for the error.
            deadline: of ``open``.

        Raises:
            ConnectionFailedError: nobody answers there.
        """
        import grpc  # type: ignore[import-untyped]

        # A request that waits for the connection; what the server answers does not matter. gRPC's own future for this
        # has a thread that fails when the channel is closed.
        try:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=deadline.left(), wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}:
                raise ConnectionFailedError(
                    f"{self.where} does not answer by gRPC at {place}: check the host and the port of gRPC"
                ) from None

    def fails_at_once(self, stub: Any, *methods: str) -> None:
        """Let requests fail when nobody listens. Clients repeat these with pauses that no deadline bounds.

        Args:
            stub: of gRPC, for sync clients; its methods are replaced.
            methods: their names.
        """
        import grpc

        def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
            def request(*args: Any, **kwargs: Any) -> Any:
                try:
                    return method(*args, **kwargs)
                except grpc.RpcError as error:
                    if error.code() != grpc.StatusCode.UNAVAILABLE:
                        raise
                    raise ConnectionFailedError(f"{self.where} cannot be reached by gRPC") from None

            return request

        for name in methods:
            setattr(stub, name, wrapped(getattr(stub, name)))

    def check_version(self, title: str, said: str, oldest: tuple[int, int]) -> None:
        """Refuse a server that lacks what the store needs, before anything is asked of it.

        Args:
            title: the server's, for the error.
            said: its version, as it says it: ``1.39.0``, ``v2.6.4``. Where it says no numbers, nothing is refused.
            oldest: the first version that has it.

        Raises:
            UnsupportedOperationError: it is older.
        """
        numbers = re.match(r"v?(\d+)\.(\d+)", said)
        if numbers is not None and (int(numbers[1]), int(numbers[2])) < oldest:
            least = ".".join(map(str, oldest))
            raise UnsupportedOperationError(
                f"{self.where} is {title} {numbers[1]}.{numbers[2]}; {least} or later is needed: upgrade the server"
            )

    def close(self, client: Any) -> Any:
        """See [Driver.close][]."""
        return client.close()

    def abandon(self, client: Any) -> None:
        """See [Driver.abandon][]."""
        client.close()
