"""From a store's options to its directory."""

from __future__ import annotations

import os
from typing import Any

from praisonai_persistence._checks import SECONDS, is_seconds
from praisonai_persistence._paths import local_path
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_prefix
from praisonai_persistence.urls import file_path
from praisonai_persistence_json._files import Directory, file_stem

__all__ = ["check_switch", "check_timeout", "open_directory"]


def open_directory(
    url: Any, path: Any, table_prefix: Any, lock_timeout: Any, sync: Any, private: Any = True
) -> Directory:
    """Return the directory that the options of a store mean; nothing on the disk is touched.

    Raises:
        ConfigurationError: an option that cannot be used.
    """
    prefix = check_prefix(table_prefix)
    check_timeout(lock_timeout)
    check_switch(sync, "sync")
    check_switch(private, "private")
    if (url is None) == (path is None):
        raise ConfigurationError("give either url='json:///relative', or 'json:////absolute', or path='directory'")
    place = local_path(_path_of(url) if path is None else path, "path")
    folder = file_stem(prefix) if prefix else "no-prefix"  # no prefix holds a hyphen
    return Directory(os.path.join(place, folder), lock_timeout, sync, private)


def check_timeout(value: Any) -> None:
    """Refuse what is no time to wait.

    Raises:
        ConfigurationError: it is no number above 0, or beyond a thousand million.
    """
    if not is_seconds(value):
        raise ConfigurationError(f"lock_timeout must be {SECONDS}")


def check_switch(value: Any, what: str) -> None:
    """Refuse what does not say yes or no.

    Raises:
        ConfigurationError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what} must be True or False")


def _path_of(url: Any) -> str:
    place, parameters = file_path(url, ("json", "async_json"))
    if parameters:
        raise ConfigurationError(f"a json URL takes no parameters, not {', '.join(sorted(parameters))}")
    return place
