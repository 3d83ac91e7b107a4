"""Store classes that are constructed as PraisonAI's are, and are those of this project otherwise.

A class is made when it is asked for: it derives from the class of the installed backend, takes every parameter of
PraisonAI's constructor by position and by name, every option of our own by name, and has PraisonAI's further methods.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import warnings
import zlib
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence._checks import nearest
from praisonai_persistence._custom_methods import driven
from praisonai_persistence._praisonai import BACKENDS, ENVIRONMENT, MEANINGS, NO_MEANING, Backend, backend_of
from praisonai_persistence.compat._attributes import attributes, keep
from praisonai_persistence.errors import CollectionNotFoundError, ConfigurationError
from praisonai_persistence.registry import get_default_registry
from praisonai_persistence.urls import parse_url, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from praisonai_persistence.steps import Steps

__all__ = ["IgnoredArgumentWarning", "adapted", "store_class"]


class IgnoredArgumentWarning(UserWarning):
    """An argument of PraisonAI's constructor that means nothing here; each is told once."""


_PLACES = ("url", "path", "host", "client", "pool", "connection_factory", "unix_socket")
"""Options each of which says where a store is."""
_SERVER = ("host", "port", "database", "user")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_told: set[tuple[str, str]] = set()


def store_class(kind: str, row: Backend) -> Any:
    """Return the class that stands for PraisonAI's; the backend's factory itself where that is no class.

    Raises:
        BackendNotInstalledError: the backend, or its driver, is not installed.
    """
    registry = get_default_registry(kind)
    return adapted(kind, row.name, registry._find(backend_of(kind, row) or row.name).load(kind))


def adapted(kind: str, name: str, factory: Any) -> Any:
    """Return the class for the factory of an installed backend; the factory itself where PraisonAI has no such name."""
    if (kind, name) == ("state", "memory"):
        from praisonai_persistence.compat._memory import FileMemoryStateStore as factory  # noqa: N813
    row = next((row for row in BACKENDS.get(kind, ()) if name in row.names), None)
    if row is None or not isinstance(factory, type):
        return factory
    return _class(kind, row, factory)


@functools.cache
def _class(kind: str, row: Backend, base: Any) -> Any:
    own = _options(base)
    options = list(own)

    # PraisonAI's own tables are what such a program expects to go on with.
    always = {"adopt_legacy": True} if kind == "conversation" and "adopt_legacy" in options else {}

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        given = _from_environment(row, _bound(row, args, kwargs, options))
        base.__init__(self, **{**always, **_translated(row, given, options)})
        keep(self, row, given)
        if not given.get("auto_create_tables", True) and "create_schema" not in options:
            self.expect_existing()

    parameters = row.parameters
    named = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=d) for n, d in parameters.items()]
    named += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=item.default)
        for name, item in own.items()
        if name not in parameters
    ]
    module = f"praisonai.persistence.{kind}.{row.module}"
    space = {
        "__init__": construct,
        "__module__": module,
        "__qualname__": row.store,
        "__doc__": f"{base.__doc__ or base.__name__}\n\nConstructed as PraisonAI's ``{row.store}`` is.",
        "__signature__": inspect.Signature(named),
        **attributes(row, base),
        **_methods(kind, row, base),
    }
    return type(base)(row.store, (base,), space)


# -------------------------------------------------------------------------------------------------------- constructors


def _options(base: Any) -> dict[str, inspect.Parameter]:
    """Return what a constructor takes, also what it hands on to those of its bases as keywords."""
    found: dict[str, inspect.Parameter] = {}
    constructors = [cls.__init__ for cls in base.__mro__[1:] if "__init__" in vars(cls)]
    for constructor in (base, *constructors):
        parameters = inspect.signature(constructor).parameters.values()
        named = {item.name: item for item in parameters if item.kind in _NAMED and item.name != "self"}
        found = {**named, **found}
        if not any(item.kind is item.VAR_KEYWORD for item in parameters):
            break
    return found


def _bound(row: Backend, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: list[str]) -> dict[str, Any]:
    """Return the arguments by name, without those that are None."""
    names = list(row.parameters)
    if len(args) > len(names):
        raise TypeError(f"{row.store}() takes {len(names)} arguments by position, not {len(args)}")
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name in given:
            raise TypeError(f"{row.store}() got {name!r} by position and by name")
        if name not in options and name not in names:
            known = [*names, *(option for option in options if option not in names)]
            near = nearest(name, known)
            raise TypeError(
                f"{row.store}() has no argument {name!r}; "
                + (f"did you mean {near!r}?" if near else f"it takes {', '.join(known)}")
            )
        given[name] = value
    return {name: value for name, value in given.items() if value is not None}


def _from_environment(row: Backend, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with those that PraisonAI's constructor takes from the environment."""
    variables = ENVIRONMENT.get(row.store, {})
    if any(name in given and name not in row.parameters for name in _PLACES):
        return given  # the place is given in words of ours
    found = {name: os.environ.get(variable) or default for name, (variable, default) in variables.items()}
    return {**{name: value for name, value in found.items() if value is not None}, **given}


def _translated(row: Backend, given: dict[str, Any], options: list[str]) -> dict[str, Any]:
    """Return what our constructor takes for the arguments of PraisonAI's."""
    defaults = row.parameters
    given = _agreeing(row, given)
    found: dict[str, Any] = {}
    for name, value in given.items():
        meant = MEANINGS.get(name)
        here = name if name in options else meant if meant in options else None
        if here is None:
            if name != "auto_create_tables" and name not in _DECIDED and value != defaults.get(name):
                _tell(row, name)
            continue
        if name == "api_mode" and value == defaults.get(name):
            continue  # it means what is meant when nothing is said, and that is another one here
        if name == "prefix" and here == "table_prefix":
            if value == defaults.get(name):
                continue
            own = _identifier(value)
        else:
            own = value
        if here in found and found[here] != own:
            raise ConfigurationError(f"{row.store}: {here!r} was given twice, with different values")
        found[here] = own
    return _placed(row, given, found)


_WEB = frozenset({"supabase", "turso", "upstash"})
"""Backends whose constructors here take such a URL as it is."""
_OF_URL = {"host": "host", "port": "port", "user": "username", "username": "username", "password": "password"}
"""A parameter -> the part of a URL that says the same."""


def _agreeing(row: Backend, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments without those that a URL says as well: as PraisonAI has it, what the URL says counts.

    Raises:
        ConfigurationError: one of them says something else, and was not just left as it is.
    """
    url, defaults = given.get("url"), row.parameters
    if not isinstance(url, str) or "url" not in defaults or defaults["url"] is not None:
        return given
    try:
        parsed = parse_url(url)
    except ConfigurationError:
        return given  # the store says what is wrong with it
    stated = {name: getattr(parsed, part) for name, part in _OF_URL.items()}
    stated["database"] = stated["db"] = parsed.path.strip("/")
    found = dict(given)
    for name in [name for name in found if name in defaults and name in stated]:
        said = stated[name]
        if said not in (None, "") and str(said) != str(found[name]) and found[name] != defaults[name]:
            raise ConfigurationError(f"{row.store}: url and {name} contradict each other; give one of them")
        if said not in (None, "") or found[name] == defaults[name]:
            del found[name]
    return found


_DECIDED = frozenset({"persistent"})
"""Parameters that decide about the place."""


def _tell(row: Backend, name: str) -> None:
    if (row.store, name) not in _told:
        _told.add((row.store, name))
        why = NO_MEANING.get(name, "it has no meaning here")
        warnings.warn(f"{row.store}: {name} is ignored: {why}", IgnoredArgumentWarning, stacklevel=5)


def _identifier(prefix: Any) -> Any:
    """Return a ``table_prefix`` for a prefix of keys: an identifier, of different prefixes different ones."""
    if not isinstance(prefix, str) or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{,30}", prefix):
        return prefix
    plain = re.sub(r"[^A-Za-z0-9]+", "_", prefix).strip("_")[:19]
    return f"p_{plain}_{zlib.crc32(prefix.encode('utf-8', 'surrogatepass')):08x}_"


def _placed(row: Backend, given: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Put in where the store is, in the words of our URLs, and PraisonAI's default where nothing says it."""
    defaults = row.parameters
    path = found.get("path")
    if isinstance(path, str) and "://" in path:
        if "url" in found:
            raise ConfigurationError(f"{row.store}: url and path were given, and both are URLs")
        found["url"] = found.pop("path")
    if isinstance(defaults.get("url"), str) and not any(name in found for name in _PLACES):
        found["url"] = defaults["url"]
    url = found.get("url")
    if isinstance(url, str) and "://" not in url and "path" in defaults and "path" not in found:
        found["path"] = found.pop("url")  # as the factories there hand it on
    elif isinstance(url, str) and scheme_of(url) in {"http", "https"} and row.name not in _WEB:
        found["url"] = f"{row.name}://{url.partition('://')[2].rstrip('/')}"
        if scheme_of(url) == "https":
            found["ssl" if row.name == "chroma" else "https"] = True
    if given.get("persistent") is False and "host" not in found:
        found.pop("path", None)
    if "password" in defaults and found.get("password") == "":
        del found["password"]
    if "path" in defaults and "host" not in found:
        found.pop("port", None)  # of a server that there is not
    if "local_path" in defaults and "url" in found and found.get("path") == defaults["local_path"]:
        del found["path"]  # of a replica there, which there is not here
    somewhere = any(name in found for name in _PLACES if name != "host")
    if somewhere or row.ours == "memory":
        return found
    if "path" in defaults and "host" not in found:
        default = defaults["path"]
        found.update({"url": f"{row.name}://"} if default is None else {"path": default})
    elif "local_path" in defaults:
        found["path"] = defaults["local_path"]
    elif "host" in defaults:
        found.update({name: defaults[name] for name in _SERVER if defaults.get(name) is not None and name not in found})
    return found


# ------------------------------------------------------------------------------------------------------------- methods


def _methods(kind: str, row: Backend, base: Any) -> dict[str, Callable[..., Any]]:
    asynchronous = inspect.iscoroutinefunction(base.close)
    made: dict[str, Callable[..., Any]] = {"init": _async_init if asynchronous else _init}
    if kind == "conversation":
        made["get_messages"] = driven(_paged(base), asynchronous=asynchronous)
        made["clear_session"] = _async_clear_session if asynchronous else _clear_session
    if kind == "knowledge" and not asynchronous:
        made["delete_collection"] = _deleting(base)
    if kind == "state":
        made["scan_prefix"] = _scanning(base)
    if "async_*" in row.extras:
        made.update({f"async_{name}": _renamed(name) for name in _AWAITED[kind]})
    return made


_AWAITED = {
    "conversation": (
        *("create_session", "get_session", "update_session", "delete_session", "list_sessions"),
        *("add_message", "get_messages", "delete_messages", "close"),
    ),
    "state": ("get", "set", "delete", "exists", "list_keys", "clear", "close"),
}


def _init(self: Any) -> None:
    """Connect now."""
    self.connect()


async def _async_init(self: Any) -> None:
    """Connect now."""
    await self.connect()


def _clear_session(self: Any, session_id: str) -> bool:
    """Delete all messages of a session; return whether there were any."""
    found: int = self.delete_messages(session_id)
    return found > 0


async def _async_clear_session(self: Any, session_id: str) -> bool:
    """Delete all messages of a session; return whether there were any."""
    found: int = await self.delete_messages(session_id)
    return found > 0


def _renamed(name: str) -> Callable[..., Any]:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await getattr(self, name)(*args, **kwargs)

    method.__name__, method.__doc__ = f"async_{name}", f"Do the same as ``{name}``."
    return method


def _page(found: list[Any], limit: int | None, offset: int) -> list[Any]:
    return found[payload.check_count(offset, "offset") :][
        : None if limit is None else payload.check_count(limit, "limit")
    ]


def _paged(base: Any) -> Callable[..., Any]:
    def get_messages(
        self: Any,
        session_id: str,
        limit: int | None = None,
        before: float | None = None,
        after: float | None = None,
        offset: int | None = None,
        **cursors: int | None,
    ) -> Steps[Any]:
        """Return messages, oldest first; with ``offset`` a page, counted from the oldest, else the latest ``limit``."""
        if offset is None:
            return (yield base.get_messages(self, session_id, limit, before, after, **cursors))
        return _page((yield base.get_messages(self, session_id, None, before, after, **cursors)), limit, offset)

    return get_messages


def _scanning(base: Any) -> Callable[..., Any]:
    def scan_prefix(self: Any, prefix: str, batch: int = 500) -> Any:
        """Iterate over the keys that begin with a prefix; how many are read at once is the store's business."""
        payload.check_count(batch, "batch")
        return base.scan_prefix(self, prefix)

    return scan_prefix


def _deleting(base: Any) -> Callable[..., Any]:
    def delete_collection(self: Any, name: str) -> bool:
        """Remove the collection with all its documents; return whether it existed."""
        try:
            base.delete_collection(self, name)
        except CollectionNotFoundError:
            return False
        return True

    return delete_collection
