"""Drivers: what a backend says about its client, and the runners that open, use and close the client.

A backend derives from [Driver][] and says how its client is opened and closed, and what its errors mean.
[make_runner][] returns the runner that does the rest, for sync or for async callers. [Options][] declares the options
of a store, and reads them from a URL and from keywords. Each name is loaded on first use.
"""

from __future__ import annotations

from praisonai_persistence._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from praisonai_persistence.drivers.asynchronous import AsyncDriverRunner
    from praisonai_persistence.drivers.driver import Deadline, Driver
    from praisonai_persistence.drivers.grpc import GrpcDriver
    from praisonai_persistence.drivers.http import HttpErrors
    from praisonai_persistence.drivers.modules import LateModule
    from praisonai_persistence.drivers.options import (
        ApiKeyOptions,
        Option,
        Options,
        OptionsStore,
        check_fields,
        client_option,
        matching,
        option,
    )
    from praisonai_persistence.drivers.running import make_runner
    from praisonai_persistence.drivers.services import FreshOptions, HttpxDriver, ServiceOptions, then
    from praisonai_persistence.drivers.synchronous import DriverRunner
    from praisonai_persistence.drivers.throttling import Pauses, ThrottledError

_MODULES = {
    "asynchronous": ("AsyncDriverRunner",),
    "driver": ("Deadline", "Driver"),
    "grpc": ("GrpcDriver",),
    "http": ("HttpErrors",),
    "modules": ("LateModule",),
    "options": (
        "ApiKeyOptions",
        "Option",
        "Options",
        "OptionsStore",
        "check_fields",
        "client_option",
        "matching",
        "option",
    ),
    "running": ("make_runner",),
    "services": ("FreshOptions", "HttpxDriver", "ServiceOptions", "then"),
    "synchronous": ("DriverRunner",),
    "throttling": ("Pauses", "ThrottledError"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ApiKeyOptions",
    "AsyncDriverRunner",
    "Deadline",
    "Driver",
    "DriverRunner",
    "FreshOptions",
    "GrpcDriver",
    "HttpErrors",
    "HttpxDriver",
    "LateModule",
    "Option",
    "Options",
    "OptionsStore",
    "Pauses",
    "ServiceOptions",
    "ThrottledError",
    "check_fields",
    "client_option",
    "make_runner",
    "matching",
    "option",
    "then",
]

__getattr__, __dir__ = lazy(globals(), _HOMES)
