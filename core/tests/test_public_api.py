"""What ``import praisonai_persistence`` gives, and what it costs; the store classes that its modules hand out."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import praisonai_persistence
from praisonai_persistence import (
    AmbiguousBackendError,
    BackendNotInstalledError,
    BrokenPluginError,
    conversation,
    errors,
    knowledge,
    state,
    stores,
)
from praisonai_persistence._known import KNOWN
from praisonai_persistence.memory import AsyncMemoryStateStore, MemoryConversationStore, MemoryKnowledgeStore

if TYPE_CHECKING:
    from conftest import Site

KINDS = {"conversation": conversation, "knowledge": knowledge, "state": state}
PACKAGE = Path(praisonai_persistence.__file__).parent

# ------------------------------------------------------------------------------------------------------------ the names


def test_every_public_name_is_there_and_documented() -> None:
    names = praisonai_persistence.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert len(names) == len(set(names)) > 40
    assert set(names) <= set(dir(praisonai_persistence))
    for name in names:
        assert getattr(praisonai_persistence, name).__doc__, name
    assert getattr(praisonai_persistence, names[0]) is getattr(praisonai_persistence, names[0])


@pytest.mark.parametrize("module", [praisonai_persistence, stores], ids=lambda module: module.__name__)
def test_the_lazy_names_are_those_that_type_checkers_see(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        f"{node.module}.{alias.name}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    lazy = {f"{module.__name__}.{home}.{name}" for name, home in module._HOMES.items()}
    assert seen == lazy
    assert set(module._HOMES) == set(module.__all__) <= set(dir(module))


def test_what_only_async_callers_need_is_not_imported_for_others() -> None:
    code = """
import sys
from praisonai_persistence import stores
from praisonai_persistence.stores.batching import Batching
for name in stores.__all__:
    getattr(stores, name)
print(sorted({"asyncio", "concurrent.futures", "urllib.parse"}.intersection(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_all_errors_are_public() -> None:
    assert set(errors.__all__) <= set(praisonai_persistence.__all__)
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.PersistenceError)


@pytest.mark.parametrize("name", ["Nothing", "_HIDDEN", "PersistenceErrors"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'praisonai_persistence' has no attribute '{name}'"):
        getattr(praisonai_persistence, name)
    with pytest.raises(ImportError, match=f"cannot import name '{name}'"):
        exec(f"from praisonai_persistence import {name}")


def test_the_version_is_that_of_the_distribution() -> None:
    assert praisonai_persistence.__version__ == importlib.metadata.version("praisonai-persistence")


# ----------------------------------------------------------------------------------------- the store classes of plugins


def test_classes_of_the_core_and_of_installed_plugins_are_handed_out(site: Site) -> None:
    assert conversation.MemoryConversationStore is MemoryConversationStore
    assert knowledge.MemoryKnowledgeStore is MemoryKnowledgeStore
    assert state.AsyncMemoryStateStore is AsyncMemoryStateStore
    code = "class HandedStore: pass\ndef make(): pass\n"
    site.install(
        "handed",
        {"state": {"handed": "handed_plugin:HandedStore", "made": "handed_plugin:make"}},
        {"handed_plugin": code},
    )
    from praisonai_persistence.state import HandedStore

    assert HandedStore is importlib.import_module("handed_plugin").HandedStore
    for module, name in ((conversation, "HandedStore"), (knowledge, "HandedStore"), (state, "make")):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute '{name}'"):
            getattr(module, name)


def test_classes_of_our_own_plugins() -> None:
    sqlite = pytest.importorskip("praisonai_persistence_sqlite")
    from praisonai_persistence.conversation import AsyncSQLiteConversationStore, SQLiteConversationStore
    from praisonai_persistence.knowledge import SQLiteKnowledgeStore
    from praisonai_persistence.state import SQLiteStateStore

    assert SQLiteConversationStore is sqlite.SQLiteConversationStore
    assert AsyncSQLiteConversationStore is sqlite.AsyncSQLiteConversationStore
    assert SQLiteKnowledgeStore is sqlite.SQLiteKnowledgeStore
    assert SQLiteStateStore is sqlite.SQLiteStateStore


@pytest.mark.parametrize(
    ("kind", "name", "distribution"),
    [
        (kind, reference.partition(":")[2], distribution)
        for kind, backends in KNOWN.items()
        for distribution, reference in dict.fromkeys(backends.values())
    ],
)
def test_a_class_of_a_known_plugin_that_is_not_installed(
    bare_site: Site, kind: str, name: str, distribution: str
) -> None:
    with pytest.raises(ImportError) as caught:
        exec(f"from praisonai_persistence.{kind} import {name}")
    assert type(caught.value) is BackendNotInstalledError
    assert str(caught.value) == f"{name} is not installed; it is in {distribution}: pip install {distribution}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_nobody_has(kind: str) -> None:
    with pytest.raises(ImportError, match="cannot import name 'NoSuchStore'"):
        exec(f"from praisonai_persistence.{kind} import NoSuchStore")
    with pytest.raises(AttributeError, match=f"module 'praisonai_persistence.{kind}' has no attribute 'NoSuchStore'"):
        KINDS[kind].NoSuchStore  # noqa: B018
    assert not hasattr(KINDS[kind], "_private")
    assert not hasattr(KINDS[kind], "__wrapped__")


def test_a_class_of_a_plugin_that_is_broken(site: Site) -> None:
    site.install(
        "half", {"state": {"half": "half_plugin:HalfStore"}}, {"half_plugin": "raise RuntimeError('on purpose')"}
    )
    with pytest.raises(
        BrokenPluginError, match=r"\(half_plugin:HalfStore of half 1.0\) could not be loaded: RuntimeError: on"
    ):
        state.HalfStore  # noqa: B018


def test_a_class_that_two_plugins_have(site: Site) -> None:
    for number in (1, 2):
        module = f"rival_{number}"
        site.install(
            f"rival-{number}",
            {"state": {f"rival{number}": f"{module}:RivalStore"}},
            {module: "class RivalStore: pass\n"},
        )
    with pytest.raises(
        AmbiguousBackendError, match=r"2 plugins have 'RivalStore': import it from rival_[12] or rival_[12]"
    ):
        state.RivalStore  # noqa: B018


def test_a_plugin_cannot_take_the_place_of_a_known_one(site: Site) -> None:
    sqlite = pytest.importorskip("praisonai_persistence_sqlite")
    site.install("usurper", {"state": {"a": "usurper:SQLiteStateStore"}}, {"usurper": "class SQLiteStateStore: pass\n"})
    assert state.SQLiteStateStore is sqlite.SQLiteStateStore


# ------------------------------------------------------------------------------------------------------------ the costs

LIST = """
from praisonai_persistence import CONVERSATION_STORES, KNOWLEDGE_STORES, STATE_STORES
for registry in (CONVERSATION_STORES, KNOWLEDGE_STORES, STATE_STORES):
    names, aliases = registry.list_registered(), registry.list_aliases()
"""
MODULES = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"


@pytest.fixture
def python(tmp_path: Path) -> Any:
    """Run code in a new interpreter that sees 30 more plugins, none of which can be imported."""
    plugins = tmp_path / "plugins"
    for number in range(30):
        module, info = f"fake_plugin_{number}", plugins / f"fake_plugin_{number}-1.0.dist-info"
        info.mkdir(parents=True)
        (plugins / f"{module}.py").write_text("raise RuntimeError('a plugin was imported')\n")
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: fake-plugin-{number}\nVersion: 1.0\n\n" + "text\n" * 300
        )
        lines = []
        for kind in KINDS:
            lines += [
                f"[praisonai.{kind}_stores]",
                f"fake{number} = {module}:Store",
                f"async_fake{number} = {module}:Async",
            ]
            lines += [f"[praisonai.{kind}_stores.aliases]", f"alias{number} = {module}:Store"]
        (info / "entry_points.txt").write_text("\n".join(lines))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode"),  # compiled as an installed package is
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("COVERAGE_PROCESS_START", None)

    def run(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE)
        return done.stdout.decode()

    return run


def new_modules(python: Any, code: str) -> set[str]:
    return set(json.loads(python(code + MODULES))) - set(json.loads(python(MODULES)))


def test_importing_takes_nothing_along(python: Any) -> None:
    found = new_modules(python, "import praisonai_persistence")
    assert found - set(sys.stdlib_module_names) == {"praisonai_persistence", "praisonai_persistence._lazy"}


def test_listing_imports_no_plugin_and_no_driver(python: Any) -> None:
    code = LIST + "    backends = registry.backends()\n    print(len(names), len(aliases), len(backends))"
    counts = [tuple(map(int, line.split())) for line in python(code).splitlines()]
    assert len(counts) == 3
    assert all(names >= 62 and aliases >= 30 and backends == names for names, aliases, backends in counts), counts
    found = new_modules(python, LIST + "    registry.backends()\n")
    own = {name for name in found if name.partition(".")[0] == "praisonai_persistence"}
    assert {name.partition(".")[0] for name in found - own} <= set(sys.stdlib_module_names)
    assert own <= {
        "praisonai_persistence",
        "praisonai_persistence._declare",
        "praisonai_persistence._entry_points",
        "praisonai_persistence._forks",
        "praisonai_persistence._lazy",
        "praisonai_persistence._registry_names",
        "praisonai_persistence.errors",
        "praisonai_persistence.registry",
    }


def test_everything_public_takes_nothing_along_but_the_standard_library(python: Any) -> None:
    found = new_modules(python, "from praisonai_persistence import *\nimport praisonai_persistence.memory")
    assert {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names) == {"praisonai_persistence"}


@pytest.mark.parametrize("code", ["import praisonai_persistence", LIST], ids=["import", "list"])
def test_what_takes_long_to_import_is_not_loaded(python: Any, code: str) -> None:
    slow = {
        "asyncio",
        "dataclasses",
        "email",
        "importlib.metadata",
        "inspect",
        "logging",
        "re",
        "typing",
        "urllib.parse",
    }
    assert not new_modules(python, code) & slow
