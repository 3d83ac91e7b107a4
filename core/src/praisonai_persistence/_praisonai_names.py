"""Which module and which name of PraisonAI is what here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from praisonai_persistence._known import KNOWN
from praisonai_persistence._praisonai import BACKENDS, Backend, backend_of, by_class, by_module

__all__ = [
    "AROUND",
    "EXTRA",
    "FALLBACKS",
    "OWN_MODULES",
    "REPLACED",
    "absent",
    "absent_backend",
    "attribute",
    "backend_row",
    "installed_here",
    "nobodys",
    "target",
]

_OWN = "praisonai_persistence"
_PERSISTENCE = "praisonai.persistence"
REPLACED = {
    _PERSISTENCE: _OWN,
    f"{_PERSISTENCE}.conversation": f"{_OWN}.conversation",
    f"{_PERSISTENCE}.knowledge": f"{_OWN}.knowledge",
    f"{_PERSISTENCE}.state": f"{_OWN}.state",
    f"{_PERSISTENCE}.registry": f"{_OWN}.registry",
    f"{_PERSISTENCE}.factory": f"{_OWN}.registry",
    f"{_PERSISTENCE}.config": f"{_OWN}.config",
    f"{_PERSISTENCE}.orchestrator": f"{_OWN}.orchestrator",
    "praisonai.db": f"{_OWN}.compat._db",
    "praisonai.db.adapter": f"{_OWN}.compat._db",
    "praisonai.cli.features.persistence": f"{_OWN}.compat._command",
}
"""A module of PraisonAI -> the module of this project in its place."""

AROUND = frozenset({"praisonai.cli", "praisonai.cli.features"})
"""Packages of PraisonAI that are empty where it is not installed, around modules that are replaced."""

FALLBACKS = {
    f"{_PERSISTENCE}.hooks": f"{_OWN}.compat._hooks",
    f"{_PERSISTENCE}.hooks.agent_hooks": f"{_OWN}.compat._hooks",
    f"{_PERSISTENCE}.migrations": f"{_OWN}.compat._migrations",
    f"{_PERSISTENCE}.migrations.manager": f"{_OWN}.compat._migrations",
}
"""A module that stays PraisonAI's own where that is installed -> the one of this project where it is not."""

OWN_MODULES = {
    f"{_PERSISTENCE}._valkey_client": "the client of its Valkey stores",
    f"{_PERSISTENCE}.conversation._ops": "what its adapter and its orchestrator share",
    f"{_PERSISTENCE}.conversation._sql_base": "the base of its SQL stores",
    f"{_PERSISTENCE}.conversation._sqlite_base": "the base of its SQLite stores",
}
"""A module that is PraisonAI's own in any case -> what it is."""

_HOOKS = ("PersistentAgent", "create_persistent_session", "wrap_agent_with_persistence")
_DOCUMENT = f"{_OWN}.compat._records:KnowledgeDocument"
EXTRA: dict[str, dict[str, str]] = {
    _PERSISTENCE: {
        **{name: f"{_PERSISTENCE}.hooks:{name}" for name in _HOOKS},
        "PersistenceConfig": f"{_OWN}.compat._config:PersistenceConfig",
        "KnowledgeDocument": _DOCUMENT,
        "create_stores_from_config": f"{_OWN}.compat._config:create_stores_from_config",
    },
    f"{_PERSISTENCE}.factory": {"create_stores_from_config": f"{_OWN}.compat._config:create_stores_from_config"},
    f"{_PERSISTENCE}.orchestrator": {"KnowledgeDocument": _DOCUMENT},
    f"{_PERSISTENCE}.conversation.base": {
        "validate_identifier": f"{_OWN}.compat._config:validate_identifier_or_nothing"
    },
    f"{_PERSISTENCE}.knowledge.base": {
        "validate_dimension": f"{_OWN}.compat._config:validate_dimension",
        "validate_identifier": f"{_OWN}.compat._config:validate_identifier",
    },
    f"{_PERSISTENCE}.config": {
        name: f"{_OWN}.compat._config:{name}"
        for name in ("ENV_VARS", "PersistenceConfig", "get_env_var", "list_available_backends")
    },
}
"""A module of PraisonAI -> a name that its module here has not -> where it stands."""


def _kind_and_module(name: str) -> tuple[str, str]:
    package, _, module = name.rpartition(".")
    return package.removeprefix(f"{_PERSISTENCE}."), module


def backend_row(name: str) -> Backend | None:
    """Return the backend whose module this is."""
    kind, module = _kind_and_module(name)
    return by_module(kind, module)


def installed_here(kind: str, row: Backend) -> bool:
    """Whether a backend of this project that stands for PraisonAI's is installed."""
    from praisonai_persistence.registry import get_default_registry

    own = backend_of(kind, row)
    return own is not None and get_default_registry(kind).has(own)


def target(name: str) -> str | None:
    """Return the module of this project that takes the place of a module, installed or not, or None."""
    if name in REPLACED:
        return REPLACED[name]
    kind, module = _kind_and_module(name)
    if kind not in BACKENDS:
        return None
    row = by_module(kind, module)
    ours = module == "base" or module in KNOWN[kind] or (row is not None and backend_of(kind, row) is not None)
    return REPLACED[f"{_PERSISTENCE}.{kind}"] if ours else None


def absent(name: str) -> str | None:
    """Return what to say about a module of PraisonAI that nobody has here; None: PraisonAI has none of that name."""
    row = backend_row(name)
    if name in OWN_MODULES:
        what = OWN_MODULES[name]
    elif row is not None:
        what = f"the {_kind_and_module(name)[0]} backend {row.name!r}"
    else:
        return None
    return f"{name} is {what}, which is PraisonAI's own: pip install praisonai"


_SHORTEST = 5  # letters of a name of which something is said


def nobodys(name: str) -> str | None:
    """Return what to say of a name below a module of PraisonAI that nobody has there: who has it, or what was meant.

    None: there is nothing to say. Programs import made-up names on purpose, as in ``__import__(name, fromlist=["x"])``,
    and ask whether there is a module of some name; so only what looks like a name of a class is compared.
    """
    from praisonai_persistence._checks import nearest

    module, _, wanted = name.rpartition(".")
    if module not in REPLACED and module not in FALLBACKS:
        return None
    if len(wanted) < _SHORTEST or wanted in _offered(module):
        return None
    modules = dict.fromkeys((*REPLACED, *FALLBACKS))
    others = [other for other in modules if other != module and wanted in _offered(other)]
    if others:
        return f"there is no {wanted!r} in {module}; {others[0]} has it"
    if wanted == wanted.lower():
        return None
    near = nearest(wanted, _offered(module)) or nearest(wanted, {item for other in modules for item in _offered(other)})
    if near is None:
        return None
    where = next(other for other in (module, *modules) if near in _offered(other))
    return f"there is no {wanted!r} in {module}; did you mean {where}.{near}?"


def _offered(module: str) -> set[str]:
    """Return the public names of a module of PraisonAI, without those of the modules in it."""
    here = import_module(REPLACED.get(module) or FALLBACKS[module])
    kind = module.removeprefix(f"{_PERSISTENCE}.")
    rows = BACKENDS.get(kind, ())
    found = {*getattr(here, "__all__", dir(here)), *EXTRA.get(module, ())}
    found |= {row.store for row in rows}
    return {name for name in found if not name.startswith("_")}


def absent_backend(kind: str, name: str) -> str | None:
    """Return what to say about a backend of PraisonAI that nobody has here; None: PraisonAI has none of that name."""
    for row in BACKENDS.get(kind, ()):
        if name in row.names:
            return f"the {kind} backend {row.name!r} is PraisonAI's own: pip install praisonai"
    return None


def attribute(module: str, name: str) -> Any:
    """Return what a module of PraisonAI has, and the module in its place has not, or has in another form.

    Raises:
        AttributeError: nothing of that name.
        ImportError: it is not installed.
    """
    place = EXTRA.get(module, {}).get(name)
    if place is None and name == "KnowledgeDocument" and f"{module}.".startswith(f"{_PERSISTENCE}.knowledge."):
        place = _DOCUMENT  # every module of a backend has it
    if place is not None:
        home, _, own_name = place.partition(":")
        return getattr(import_module(home), own_name)
    package = module.removeprefix(f"{_PERSISTENCE}.").partition(".")[0]
    row = by_class(package, name) if module.startswith(f"{_PERSISTENCE}.") and package in BACKENDS else None
    if row is None:
        raise AttributeError(name)
    from praisonai_persistence.compat._stores import store_class

    if backend_of(package, row) is not None and installed_here(package, row):
        return store_class(package, row)
    own = f"{_PERSISTENCE}.{package}.{row.module}"
    if module != own:
        return getattr(import_module(own), name)
    return store_class(package, row)
