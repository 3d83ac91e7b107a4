"""The runner that fits a driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers.synchronous import DriverRunner

if TYPE_CHECKING:
    from praisonai_persistence.drivers.driver import Driver

__all__ = ["make_runner"]


def make_runner(driver: Driver, *, asynchronous: bool = False, threads: int = 8) -> Any:
    """Return the runner for a driver's client, and for sync or async callers.

    Args:
        driver: says how to open the client. For async callers one with a sync client works on threads.
        asynchronous: whether the callers are async.
        threads: how many operations may run at the same time, for async callers of a sync client.

    Returns:
        A [DriverRunner][], an [AsyncDriverRunner][], or a [ThreadRunner][] around the former.
    """
    if not asynchronous:
        return DriverRunner(driver)
    if driver.asynchronous:
        from praisonai_persistence.drivers.asynchronous import AsyncDriverRunner

        return AsyncDriverRunner(driver)
    from praisonai_persistence.stores.runners import ThreadRunner

    return ThreadRunner(DriverRunner(driver), threads)
