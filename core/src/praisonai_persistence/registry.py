"""The three registries: backend names, aliases and URL schemes -> factories.

A backend is an entry point of the group ``praisonai.conversation_stores``, ``praisonai.knowledge_stores`` or
``praisonai.state_stores``; its name is the backend's name, its object a factory ``(url=None, **options) -> store`` or
the store class. An alias, or a URL scheme, is an entry point of the same group with ``.aliases`` behind it, and belongs
to the entry of the same distribution with an equal object reference. So listing imports no plugin, only ``create``
does. A name is found in any case, as schemes of URLs are; one that is spelled exactly so comes first.

Entry points are read once for a process, on first use. What [StoreRegistry.register][] was told wins over them.
"""

from __future__ import annotations

import threading

from praisonai_persistence import _entry_points
from praisonai_persistence._declare import NamedTuple
from praisonai_persistence._forks import renew_in_child
from praisonai_persistence._registry_names import PraisonAINames, spelled
from praisonai_persistence.errors import (
    AmbiguousBackendError,
    BackendNotInstalledError,
    BrokenPluginError,
    ConfigurationError,
    PersistenceError,
    UnknownBackendError,
    UnknownOptionError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from praisonai_persistence.opening import (
        Stores,
        create_conversation_store,
        create_knowledge_store,
        create_state_store,
        create_stores_from_config,
        open_conversation_store,
        open_knowledge_store,
        open_state_store,
    )

__all__ = [
    "CONVERSATION_STORES",
    "KNOWLEDGE_STORES",
    "STATE_STORES",
    "BackendInfo",
    "StoreRegistry",
    "Stores",
    "create_conversation_store",
    "create_knowledge_store",
    "create_state_store",
    "create_stores_from_config",
    "get_default_registry",
    "open_conversation_store",
    "open_knowledge_store",
    "open_state_store",
    "plugin_attribute",
]


class BackendInfo(NamedTuple):
    """One installed backend, known without importing it.

    Attributes:
        name: its registered name.
        aliases: other names and URL schemes, sorted.
        distribution: what provides it, or the empty text for one that was registered at run time.
        version: of the distribution, or the empty text.
        reference: ``module:attribute`` of its factory, or the empty text.
    """

    name: str
    aliases: tuple[str, ...]
    distribution: str
    version: str
    reference: str


class _Registered:
    """A factory that was registered at run time."""

    distribution = version = reference = ""

    def __init__(self, name: str, factory: Callable[..., Any]) -> None:
        self.name = name
        self._factory = factory

    def load(self, kind: str) -> Callable[..., Any]:
        return self._factory


class _Installed(_entry_points.Provided):
    """An entry point."""

    def __init__(self, point: _entry_points.EntryPoint) -> None:
        self.name, self.reference, self.provider = point

    def load(self, kind: str) -> Callable[..., Any]:
        plugin = f"the {kind} backend {self.name!r} ({self.reference} of {self.distribution} {self.version})"
        try:
            factory = _entry_points.load(self.reference)
        except PersistenceError:
            raise
        except (Exception, SystemExit) as error:
            driver = _missing_module(error)
            own = self.reference.partition(":")[0].partition(".")[0].strip()
            if driver and driver.partition(".")[0] not in {own, "praisonai_persistence"}:
                raise BackendNotInstalledError(
                    f"{plugin} needs the module {driver!r}, which is not installed: pip install {self._with(driver)}"
                ) from error
            raise BrokenPluginError(f"{plugin} could not be loaded: {type(error).__name__}: {error}") from error
        if not callable(factory):
            raise BrokenPluginError(f"{plugin} is not callable: an entry point must name a factory or a class")
        return factory  # type: ignore[no-any-return]

    def _with(self, module: str) -> str:
        """Return what to install: the plugin, which brings its driver, with the extra that the driver belongs to."""
        import re

        driver = _entry_points.normalise(module.partition(".")[0])
        for requirement in self.provider.requirements:
            match = re.match(_OPTIONAL, requirement)
            if match and _entry_points.normalise(match[1]) == driver:
                return f'"{self.distribution}[{match[2]}]"'
        return self.distribution


_OPTIONAL = r"""([\w.-]+)[^;]*;.*\bextra\s*==\s*["']([\w.-]+)["']"""  # driver>=2; extra == "fast"


def _missing_module(error: BaseException) -> str:
    return (error.name or "") if isinstance(error, ModuleNotFoundError) else ""


class _Snapshot(NamedTuple):
    """What the entry points of a group say. Lists hold one entry for every distribution that claims the name."""

    entries: dict[str, list[_Installed]]
    aliases: dict[str, list[_Installed]]


def _read(group: str) -> _Snapshot:
    entries: dict[str, list[_Installed]] = {}
    owners: dict[tuple[_entry_points.Provider, str], _Installed] = {}
    for point in _entry_points.select(group):
        entry = _Installed(point)
        entries.setdefault(point.name, []).append(entry)
        owners.setdefault((point.provider, point.value), entry)
    aliases: dict[str, list[_Installed]] = {}
    for point in _entry_points.select(f"{group}.aliases"):
        owner = owners.get((point.provider, point.value))
        if owner is not None:
            aliases.setdefault(point.name, []).append(owner)
    return _Snapshot(entries, aliases)


class StoreRegistry(PraisonAINames):
    """The backends of one kind. Safe to use from any thread.

    Args:
        kind: ``conversation``, ``knowledge`` or ``state``.
        group: the entry-point group; None: only what ``register`` is told.
        entry_point_group: the same, by the name that PraisonAI has for it.

    Raises:
        ConfigurationError: two different groups.
    """

    def __init__(self, kind: str, group: str | None = None, *, entry_point_group: str | None = None) -> None:
        if None not in (group, entry_point_group) and group != entry_point_group:
            raise ConfigurationError("group and entry_point_group are two names of the same; give one")
        self.kind = kind
        self.group = entry_point_group if group is None else group
        self._lock = threading.RLock()
        self._registered: dict[str, _Registered] = {}
        self._registered_aliases: dict[str, str] = {}
        self._snapshot: _Snapshot | None = None
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def register(self, name: str, factory: Callable[..., Any], *, aliases: Iterable[str] = ()) -> None:
        """Add a backend, or replace the one of that name; it wins over installed plugins, their aliases included.

        Args:
            name: the backend's name.
            factory: a callable that takes options as keywords and returns a store.
            aliases: other names and URL schemes for it, beside those that it has already.

        Raises:
            ConfigurationError: a name that is empty or holds ``@``, ``:`` or ``/``, an alias that is the name of
                another registered backend, or a factory that is not callable.
        """
        if isinstance(aliases, str):
            raise ConfigurationError("aliases must be a sequence of texts, not one text")
        others = [alias for alias in aliases if alias != name]
        for item in (name, *others):
            if not _can_be_name(item):
                raise ConfigurationError(
                    f"{_shown(item)} cannot be a backend name: it is empty or holds '@', ':' or '/'"
                )
        if not callable(factory):
            raise ConfigurationError(f"the factory of {name!r} must be callable, not {type(factory).__name__}")
        entry = _Registered(name, factory)
        with self._lock:
            for alias in others:
                if alias in self._registered:
                    raise ConfigurationError(f"{alias!r} is a registered backend, it cannot be an alias of {name!r}")
            self._registered[name] = entry
            self._registered_aliases.pop(name, None)
            self._registered_aliases.update(dict.fromkeys(others, name))

    def create(self, name: str, **kwargs: Any) -> Any:
        """Return a new store of the backend; ``name`` may be an alias, or ``name@distribution``.

        Raises:
            UnknownBackendError: there is none of that name.
            BackendNotInstalledError: there is, but its plugin or its driver is not installed.
            AmbiguousBackendError: two distributions provide it.
            BrokenPluginError: its own code failed on import.
            ConfigurationError: it does not take these options.
        """
        return self._create(name, kwargs)

    def _create(self, name: str, options: dict[str, Any]) -> Any:
        """Do the same for options of any name; ``name`` is one."""
        entry = self._find(name)
        factory = self._adapted(entry.name, entry.load(self.kind), entry.distribution)
        _check_options(f"the {self.kind} backend {entry.name!r}", factory, options)
        return factory(**options)

    def list_registered(self) -> list[str]:
        """Return the names of all backends, sorted, without aliases."""
        with self._lock:
            return sorted({*self._registered, *self._visible(self._points().entries)})

    def list_aliases(self) -> dict[str, str]:
        """Return alias -> backend name, sorted by alias."""
        with self._lock:
            found = {alias: entries[0].name for alias, entries in self._visible(self._points().aliases).items()}
            return dict(sorted({**found, **self._registered_aliases}.items()))

    def backends(self) -> list[BackendInfo]:
        """Return every backend, sorted by name; one that two distributions provide stands there twice."""
        with self._lock:
            found: list[_Registered | _Installed] = [*self._registered.values()]
            for entries in self._visible(self._points().entries).values():
                found += entries
            owned: dict[_Registered | _Installed, set[str]] = {entry: set() for entry in found}
            for alias, name in self._registered_aliases.items():
                owned[self._registered[name]].add(alias)
            for alias, entries in self._visible(self._points().aliases).items():
                for entry in entries:
                    owned[self._registered.get(entry.name, entry)].add(alias)
        infos = [BackendInfo(e.name, tuple(sorted(owned[e])), e.distribution, e.version, e.reference) for e in found]
        return sorted(infos, key=lambda info: (info.name, info.distribution))

    def refresh(self) -> None:
        """Forget the entry points that were read, so that the next use reads them anew."""
        with self._lock:
            self._snapshot = None
            _entry_points.forget()

    def has(self, name: str) -> bool:
        """Whether there is a backend or an alias of that name, or ``name@distribution``."""
        return bool(self._lookup(name))

    def canonical(self, name: str) -> str:
        """Return the backend name that a name or alias stands for.

        Raises:
            UnknownBackendError: as for [create][StoreRegistry.create].
            AmbiguousBackendError: as for [create][StoreRegistry.create].
        """
        return self._find(name).name

    def attribute(self, name: str) -> Any:
        """Return the store class ``name`` of an installed plugin.

        Raises:
            AttributeError: no known plugin has it.
            BackendNotInstalledError: a known plugin, which is not installed, has it.
            AmbiguousBackendError: several plugins have it, and none of them is known.
        """
        from praisonai_persistence._known import KNOWN

        known = {reference: distribution for distribution, reference in KNOWN.get(self.kind, {}).values()}
        with self._lock:
            entries = [entry for found in self._points().entries.values() for entry in found]
        offered = {entry.reference: entry for entry in entries if entry.reference.partition(":")[2] == name}
        ours = [entry for reference, entry in offered.items() if reference in known] or list(offered.values())
        if len(ours) > 1:
            modules = " or ".join(entry.reference.partition(":")[0] for entry in ours)
            raise AmbiguousBackendError(f"{len(ours)} plugins have {name!r}: import it from {modules}")
        if ours:
            found = ours[0].load(self.kind)
            if isinstance(found, type):
                return found
        for reference, distribution in known.items():
            if reference.partition(":")[2] == name:
                raise BackendNotInstalledError(
                    f"{name} is not installed; it is in {distribution}: pip install {distribution}"
                )
        raise AttributeError(name)

    def _points(self) -> _Snapshot:
        if self._snapshot is None:
            self._snapshot = _read(self.group) if self.group else _Snapshot({}, {})
            self._complete(self._snapshot, _read)
        return self._snapshot

    def _visible(self, table: dict[str, list[_Installed]]) -> dict[str, list[_Installed]]:
        """Leave out the names that were registered at run time."""
        hidden = {*self._registered, *self._registered_aliases}
        return {name: entries for name, entries in table.items() if name not in hidden}

    def _lookup(self, name: str) -> list[_Registered] | list[_Installed]:
        """Return what a name or alias may stand for, one entry for each distribution."""
        plain, at, wanted = name.partition("@")
        found: dict[_entry_points.Provider, _Installed] = {}
        with self._lock:
            points = self._points()
            own_names = {*self._registered, *self._registered_aliases}
            plain = spelled(plain, {*own_names, *points.entries, *points.aliases})
            if not at:
                own = self._registered.get(self._registered_aliases.get(plain, plain))
                if own is not None:
                    return [own]
            for entry in [*points.entries.get(plain, ()), *points.aliases.get(plain, ())]:
                if not at and entry.name in self._registered:
                    return [self._registered[entry.name]]
                if not at or _entry_points.normalise(entry.distribution) == _entry_points.normalise(wanted):
                    found.setdefault(entry.provider, entry)
        return list(found.values())

    def _find(self, name: str) -> _Registered | _Installed:
        if not isinstance(name, str):
            raise UnknownBackendError(f"a backend's name must be text, not {type(name).__name__}")
        if "://" in name:
            raise UnknownBackendError(
                f"{_shown(name)} is a URL and no backend's name: open_{self.kind}_store(url) takes URLs"
            )
        entries = self._lookup(name)
        if len(entries) == 1:
            return entries[0]
        from praisonai_persistence._known import KNOWN

        plain, at, wanted = name.partition("@")
        plain = plain.lower()
        if entries:
            choices = " or ".join(repr(f"{plain}@{entry.distribution}") for entry in entries)
            raise AmbiguousBackendError(
                f"{len(entries)} distributions provide the {self.kind} backend {plain!r}: name one as {choices}, "
                f"or uninstall the others"
            )
        distribution, _ = KNOWN.get(self.kind, {}).get(plain, ("", ""))
        if distribution and (not at or _entry_points.normalise(wanted) == distribution):
            raise _not_installed(self.kind, plain, distribution)
        told = None if self.absent is None else self.absent(self.kind, plain)
        if told:
            raise BackendNotInstalledError(told)
        raise UnknownBackendError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        from praisonai_persistence._checks import nearest
        from praisonai_persistence._known import KNOWN

        available = self.list_registered()
        text = f"there is no {self.kind} backend {_shown(name)}"
        plain, at, _ = name.partition("@")
        providers = self._lookup(plain) if at else []
        if providers:
            return (
                f"{text}; {plain!r} is provided by {' and '.join(e.distribution or 'the program' for e in providers)}"
            )
        names = sorted({*available, *self.list_aliases(), *KNOWN.get(self.kind, {})})
        near = nearest(plain.lower(), names)
        hint = f" Did you mean {near!r}?" if near else ""
        return f"{text}.{hint} Installed: {', '.join(available) or 'none'}"


def _can_be_name(name: object) -> bool:
    return isinstance(name, str) and name != "" and not any(character in name for character in "@:/")


def _shown(name: object) -> str:
    """Return the repr of what should be a name; somebody may have given a URL with a password."""
    from praisonai_persistence.urls import mask

    if not isinstance(name, str) or not any(character in name for character in ":/?="):
        return repr(name)
    return repr(mask(name))


def _not_installed(kind: str, backend: str, distribution: str) -> BackendNotInstalledError:
    return BackendNotInstalledError(
        f"the {kind} backend {backend!r} is not installed; it is in {distribution}: pip install {distribution}"
    )


def _check_options(what: str, factory: Callable[..., Any], options: dict[str, Any], also: Iterable[str] = ()) -> None:
    """Refuse options that are not taken, with what was meant, which may be in ``also``; unread signatures decide."""
    if _surely_takes(factory, options):
        return
    import inspect

    from praisonai_persistence._checks import nearest

    try:
        signature = inspect.signature(factory)
    except Exception:  # noqa: BLE001  reading a signature may evaluate annotations, which may fail in any way
        return
    try:
        signature.bind(**options)
    except TypeError as error:
        named = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        takes = [name for name, parameter in signature.parameters.items() if parameter.kind in named]
        unknown = [name for name in options if name not in takes]
        near = next(filter(None, (nearest(name, [*takes, *also]) for name in unknown)), None)
        hint = f"; did you mean {near!r}?" if near else ""
        refused = UnknownOptionError if unknown else ConfigurationError
        raise refused(f"{what}: {error}; it takes: {', '.join(takes) or 'no options'}{hint}") from None


def _surely_takes(factory: Callable[..., Any], options: dict[str, Any]) -> bool:
    """Whether a function, or a class with a constructor and nothing unusual, takes these options.

    This spares a process that opens one store the import of ``inspect``. False says nothing: ``inspect`` decides.
    """
    function: Any = factory
    skipped = 0
    if isinstance(factory, type):
        made: Any = factory
        if type(made).__call__ is not type.__call__ or made.__new__ is not object.__new__:
            return False
        function, skipped = made.__init__, 1
    own = {**getattr(factory, "__dict__", {}), **getattr(function, "__dict__", {})}
    if type(function) is not type(_surely_takes) or "__wrapped__" in own or "__signature__" in own:
        return False
    return _takes(function, skipped, options)


def _takes(function: Any, skipped: int, options: dict[str, Any]) -> bool:
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    keyword = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if code.co_posonlyargcount > skipped or len(positional) < skipped:
        return False
    with_defaults = len(function.__defaults__ or ())
    needed = {
        *positional[skipped : len(positional) - with_defaults],
        *(name for name in keyword if name not in (function.__kwdefaults__ or {})),
    }
    takes_any = bool(code.co_flags & 0x08)  # inspect.CO_VARKEYWORDS
    known = {*positional[skipped:], *keyword}
    fits = options.keys() <= known or (takes_any and options.keys().isdisjoint(positional[:skipped]))
    return fits and needed <= options.keys()


CONVERSATION_STORES = StoreRegistry("conversation", "praisonai.conversation_stores")
KNOWLEDGE_STORES = StoreRegistry("knowledge", "praisonai.knowledge_stores")
STATE_STORES = StoreRegistry("state", "praisonai.state_stores")

_DEFAULTS = {registry.kind: registry for registry in (CONVERSATION_STORES, KNOWLEDGE_STORES, STATE_STORES)}


def get_default_registry(kind: str = "conversation") -> StoreRegistry:
    """Return the process-wide registry of a kind: ``conversation``, ``knowledge`` or ``state``.

    Raises:
        ConfigurationError: another kind.
    """
    try:
        return _DEFAULTS[kind]
    except KeyError:
        raise ConfigurationError(f"there is no kind {kind!r}; the kinds are {', '.join(_DEFAULTS)}") from None


def plugin_attribute(kind: str, module: str, name: str) -> Any:
    """Do ``__getattr__`` for the module of a kind: hand out a plugin's store class."""
    try:
        return _DEFAULTS[kind].attribute(name)
    except AttributeError:
        raise AttributeError(f"module {module!r} has no attribute {name!r}") from None


_IN_OPENING = frozenset(name for name in __all__ if name == "Stores" or name.startswith(("create_", "open_")))


def __getattr__(name: str) -> Any:
    if name not in _IN_OPENING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from praisonai_persistence import opening

    return getattr(opening, name)
