"""PraisonAI's import paths, served by this project; importing this module is the opt-in.

    import praisonai_persistence.compat
    from praisonai.persistence.conversation import AsyncPostgresConversationStore
    from praisonaiagents import Agent, db

or, for a program that is not to be changed, ``python -m praisonai_persistence.compat program.py``.

From then on, in this process:

* ``praisonai.persistence``, with its ``conversation``, ``knowledge``, ``state``, ``registry``, ``factory``, ``config``
  and ``orchestrator``, and ``praisonai.db`` are this project's. If the distribution praisonai is installed, everything
  else in it stays its own.
* so is what ``db(...)`` of praisonaiagents makes, because that asks ``praisonai.db`` for it.
* with praisonai-persistence-json installed, ``DefaultSessionStore``, ``HierarchicalSessionStore`` and
  ``get_default_session_store`` of ``praisonaiagents.session`` are this project's; they keep the same files.

No file of another distribution is written. Objects that were taken from the replaced modules before stay what they are.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import ModuleType
from typing import TYPE_CHECKING, Any

from praisonai_persistence._known import KNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["install"]

_OWN = "praisonai_persistence"
_ROOT = "praisonai"
_REPLACED = {
    "praisonai.persistence": _OWN,
    "praisonai.persistence.conversation": f"{_OWN}.conversation",
    "praisonai.persistence.knowledge": f"{_OWN}.knowledge",
    "praisonai.persistence.state": f"{_OWN}.state",
    "praisonai.persistence.registry": f"{_OWN}.registry",
    "praisonai.persistence.factory": f"{_OWN}.registry",
    "praisonai.persistence.config": f"{_OWN}.config",
    "praisonai.persistence.orchestrator": f"{_OWN}.orchestrator",
    "praisonai.db": f"{_OWN}.compat._db",
    "praisonai.db.adapter": f"{_OWN}.compat._db",
}
_SESSIONS = ("DefaultSessionStore", "HierarchicalSessionStore", "get_default_session_store")
_PATCHED = {
    "praisonaiagents.session": _SESSIONS,
    # Its stores stay what they are there, for others of its classes derive from them.
    "praisonaiagents.session.store": _SESSIONS[2:],
}


def _target(name: str) -> str | None:
    """Return the module of this project that takes the place of a module, or None."""
    found = _REPLACED.get(name)
    if found is not None:
        return found
    package, _, module = name.rpartition(".")
    kind = package.removeprefix("praisonai.persistence.")
    if package in _REPLACED and kind in KNOWN and (module == "base" or module in KNOWN[kind]):
        return _REPLACED[package]
    return None


class _Alias(ModuleType):
    """A module whose names are those of another one."""

    _target: ModuleType

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        try:
            return getattr(self._target, name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._target)})


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
    """Makes the package around the replaced modules where praisonai is not installed."""

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
        self._inner.exec_module(module)
        _patch(module)

    def __getattr__(self, name: str) -> Any:  # get_source and the like, for tracebacks
        return getattr(self._inner, name)


class _Finder(MetaPathFinder):
    """First in line: finds the replaced modules, and those that get this project's classes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        own = _target(fullname)
        if own is not None:
            is_package = fullname.count(".") < 3 and fullname in _REPLACED
            return spec_from_loader(fullname, _AliasLoader(own), is_package=is_package)
        if fullname in _PATCHED and _has_sessions():
            for finder in sys.meta_path:
                found = None if finder is self else finder.find_spec(fullname, path, target)
                if found is not None:
                    found.loader = _PatchLoader(found.loader)
                    return found
        return None


class _Last(MetaPathFinder):
    """Last in line: nobody has praisonai itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, _EmptyLoader(), is_package=True) if fullname == _ROOT else None


def _has_sessions() -> bool:
    return find_spec("praisonai_persistence_json") is not None


def _patch(module: ModuleType) -> None:
    sessions = import_module(f"{_OWN}.sessions")
    for name in _PATCHED[module.__name__]:
        setattr(module, name, getattr(sessions, name))


def install() -> None:
    """Do what importing this module has done already; calling it again is harmless."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        sys.meta_path.append(_Last())
    for name, module in list(sys.modules.items()):
        if name.startswith(("praisonai.persistence", "praisonai.db")) and not isinstance(module, _Alias):
            del sys.modules[name]
            package, _, attribute = name.rpartition(".")
            sys.modules.get(package, module).__dict__.pop(attribute, None)
        elif name in _PATCHED and _has_sessions():
            _patch(module)


install()
