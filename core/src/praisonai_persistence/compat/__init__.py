"""PraisonAI's import paths, served by this project; importing this module is the opt-in.

    import praisonai_persistence.compat
    from praisonai.persistence.conversation import AsyncPostgresConversationStore
    from praisonaiagents import Agent, db

or, for a program that is not to be changed, ``python -m praisonai_persistence.compat program.py``.

From then on, in this process:

* ``praisonai.persistence``, with its ``conversation``, ``knowledge``, ``state``, ``registry``, ``factory``, ``config``
  and ``orchestrator``, and ``praisonai.db`` are this project's. If the distribution praisonai is installed, everything
  else in it stays its own.
* stores are constructed as PraisonAI's are, by their classes and by the registries, which take our options as well. The
  registries have PraisonAI's own backends, too, where it is installed and nobody here has one of that name.
* so is what ``db(...)`` of praisonaiagents makes, because that asks ``praisonai.db`` for it.
* with praisonai-persistence-json installed, the session stores of ``praisonaiagents.session`` are this project's:
  ``DefaultSessionStore``, ``HierarchicalSessionStore``, ``SqliteSessionStore``, ``SqliteTranscriptStore``,
  ``get_default_session_store`` and ``get_hierarchical_session_store``, with the records that they return; they keep the
  same files. These records are found in the modules that define them, too, by whoever imports them there. A store that
  a program puts into ``session.store._default_store`` is used. Other classes of that package stay as they are; a
  release that has no protocols of session stores gets ours.
* ``Agent`` takes ``db=``, ``session_id=``, ``user_id=`` and ``conversation_store=``, and keeps conversations in SQLite
  with ``memory=True``, whatever the release of praisonaiagents takes by itself.

No file of another distribution is written. Objects that were taken from the replaced modules before stay what they are.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, spec_from_loader
from types import ModuleType
from typing import TYPE_CHECKING, Any

from praisonai_persistence import _praisonai_names as _names
from praisonai_persistence._praisonai import BACKENDS
from praisonai_persistence._registry_names import PraisonAINames
from praisonai_persistence.registry import get_default_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["install"]

_OWN = "praisonai_persistence"
_ROOT = "praisonai"
_AGENT = "praisonaiagents.agent.agent"
_AGENTS_SESSION = "praisonaiagents.session"
_PATCHED = {
    _AGENTS_SESSION: (
        "CompactionCheckpoint",
        "DefaultSessionStore",
        "ExtendedSessionData",
        "HierarchicalSessionStore",
        "SessionData",
        "SessionMessage",
        "SessionSnapshot",
        "SqliteSessionStore",
        "SqliteTranscriptStore",
        "get_default_session_store",
        "get_hierarchical_session_store",
    ),
    f"{_AGENTS_SESSION}.store": ("DefaultSessionStore", "get_default_session_store"),
    f"{_AGENTS_SESSION}.sqlite_store": ("SqliteSessionStore",),
    f"{_AGENTS_SESSION}.sqlite_transcript_store": ("SqliteTranscriptStore",),
    f"{_AGENTS_SESSION}.hierarchy": ("HierarchicalSessionStore", "get_hierarchical_session_store"),
}
"""A module of praisonaiagents -> the names that are this project's in it."""
_SHOWN = {
    f"{_AGENTS_SESSION}.store": ("CompactionCheckpoint", "SessionData", "SessionMessage"),
    f"{_AGENTS_SESSION}.hierarchy": ("ExtendedSessionData", "SessionSnapshot"),
    f"{_AGENTS_SESSION}.protocols": ("ImportReport", "SessionHit", "SessionSummary"),
}
"""A module of praisonaiagents -> the records that are this project's for whoever imports them from it."""
_theirs: dict[str, Any] = {}
"""PraisonAI's own ``DefaultSessionStore``, once it is replaced: other classes of its package derive from it."""


class _Alias(ModuleType):
    """A module whose names are those of another one."""

    _target: ModuleType

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        try:
            return _names.attribute(self.__name__, name)
        except AttributeError:
            pass
        try:
            return getattr(self._target, name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._target), *_names.EXTRA.get(self.__name__, ())})


class _AliasLoader(Loader):
    def __init__(self, target: str) -> None:
        self._target = target

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Alias(spec.name)
        module._target = import_module(self._target)
        module.__doc__ = module._target.__doc__
        return module

    def exec_module(self, module: ModuleType) -> None:
        return


class _EmptyLoader(Loader):
    """Makes the packages around the replaced modules where praisonai is not installed."""

    def create_module(self, spec: ModuleSpec) -> None:
        return

    def exec_module(self, module: ModuleType) -> None:
        return


class _PatchLoader(Loader):
    """Loads a module as it is, and then puts this project's classes into it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._inner.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        store = sys.modules.get(f"{_AGENTS_SESSION}.store")
        if store is not None:
            store.__dict__.update(_theirs)
        try:
            if module.__name__.startswith(_AGENTS_SESSION):
                with import_module(f"{_OWN}.compat._shown").inside():
                    self._inner.exec_module(module)
            else:
                self._inner.exec_module(module)
        finally:
            if store is not None and _theirs:
                _patch(store)
        _patch(module)

    def __getattr__(self, name: str) -> Any:  # get_source and the like, for tracebacks
        return getattr(self._inner, name)


class _Finder(MetaPathFinder):
    """First in line: finds the replaced modules, and those that get this project's classes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        own = _names.target(fullname)
        if own is not None and not _stays(fullname, path):
            return _alias(fullname, own, path)
        if fullname == _AGENT or (
            fullname.startswith(_AGENTS_SESSION) and fullname.count(".") <= 2 and _has_sessions()
        ):
            for finder in sys.meta_path:
                found = None if finder is self else finder.find_spec(fullname, path, target)
                if found is not None:
                    found.loader = _PatchLoader(found.loader)
                    return found
        return None


class _Last(MetaPathFinder):
    """Last in line: nobody has praisonai itself, or what stays its own."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _ROOT or fullname in _names.AROUND:
            return spec_from_loader(fullname, _EmptyLoader(), is_package=True)
        if fullname in _names.FALLBACKS:
            return _alias(fullname, _names.FALLBACKS[fullname], path)
        told = _names.absent(fullname)
        if told is not None:
            # ``from module import name`` looks for a module of that name at last, and would pass over what is said of
            # the very name. What is missing is the distribution.
            raise ModuleNotFoundError(told, name=_ROOT)
        told = _names.nobodys(fullname)
        if told is not None:
            raise ModuleNotFoundError(told)
        below = ".".join(fullname.split(".")[:2])
        if below.startswith(f"{_ROOT}.") and below not in _names.REPLACED and _is_made_up(sys.modules.get(_ROOT)):
            own = (
                f"{fullname} is none of the modules that this project has; it may be PraisonAI's: pip install praisonai"
            )
            # A class in ``from praisonai import PraisonAI``; modules are asked for by programs that can do without.
            raise ModuleNotFoundError(
                own, name=_ROOT if fullname == below and below[len(_ROOT) + 1].isupper() else fullname
            )
        return None


def _is_made_up(module: ModuleType | None) -> bool:
    """Whether a package is only there because something in it is replaced."""
    return isinstance(getattr(module, "__loader__", None), _EmptyLoader)


def _alias(name: str, own: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Return an alias; if it is a package, what is in its folder and has no alias can be imported from it."""
    is_package = name.count(".") < 3 and (name in _names.REPLACED or name in _names.FALLBACKS)
    spec = spec_from_loader(name, _AliasLoader(own), is_package=is_package)
    if spec is not None and is_package:
        folders = [os.path.join(folder, name.rpartition(".")[2]) for folder in path or ()]
        spec.submodule_search_locations = [folder for folder in folders if os.path.isdir(folder)]
    return spec


def _stays(name: str, path: Sequence[str] | None) -> bool:
    """Whether a backend's module stays PraisonAI's, because the backend is not installed here, and is there."""
    row = _names.backend_row(name)
    kind = name.split(".")[-2]
    if row is None or name in _names.REPLACED or _names.installed_here(kind, row):
        return False
    return PathFinder.find_spec(name, path) is not None


def _has_sessions() -> bool:
    return find_spec("praisonai_persistence_json") is not None


def _patch(module: ModuleType) -> None:
    if module.__name__ == _AGENT:
        import_module(f"{_OWN}.compat._agents").adapt(module)
        return
    sessions = import_module(f"{_OWN}.compat._sessions")
    for name in _PATCHED.get(module.__name__, ()):
        own = getattr(sessions, name)
        if name == "DefaultSessionStore" and module.__name__ != _AGENTS_SESSION:
            found = module.__dict__.get(name)
            if found is not None and found is not own:
                _theirs[name] = found
        setattr(module, name, own)
    import_module(f"{_OWN}.compat._shown").show(module, _SHOWN.get(module.__name__, ()))
    if module.__name__ == _AGENTS_SESSION and find_spec(f"{_AGENTS_SESSION}.protocols") is None:
        protocols = import_module(f"{_OWN}.session_protocols")
        module.__dict__.update({name: getattr(protocols, name) for name in protocols.__all__})


def install() -> None:
    """Do what importing this module has done already; calling it again is harmless."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    sys.meta_path.append(_Last())
    PraisonAINames.adapt = staticmethod(_adapted)
    PraisonAINames.further = staticmethod(_further)
    PraisonAINames.absent = staticmethod(_names.absent_backend)
    for kind in BACKENDS:
        get_default_registry(kind).refresh()
    for name, module in list(sys.modules.items()):
        if name.startswith(("praisonai.persistence", "praisonai.db")) and not isinstance(module, _Alias):
            del sys.modules[name]
            package, _, attribute = name.rpartition(".")
            sys.modules.get(package, module).__dict__.pop(attribute, None)
        elif name == _AGENT or (name in {*_PATCHED, *_SHOWN} and _has_sessions()):
            _patch(module)


def _adapted(kind: str, name: str, factory: Any) -> Any:
    from praisonai_persistence.compat._stores import adapted

    return adapted(kind, name, factory)


def _further(kind: str, entries: dict[str, list[Any]], aliases: dict[str, list[Any]]) -> None:
    from praisonai_persistence.compat._own_backends import complete

    complete(kind, entries, aliases)


install()
