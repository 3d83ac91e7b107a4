"""The files of a new backend."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files as resources
from string import Template
from typing import TYPE_CHECKING, Any

from praisonai_persistence._new.planning import CORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from praisonai_persistence._new.planning import Plan

__all__ = ["files"]

_CAPABILITIES: dict[str, dict[str, tuple[str, ...]]] = {
    "entries": {
        "conversation": ("fork", "prefix", "rewrite", "search"),
        "knowledge": ("atomic_batch", "prefix"),
        "state": ("prefix",),
    },
    "document": {"conversation": ("fork", "prefix", "rewrite", "search"), "state": ("prefix",)},
    "vector": {"knowledge": ("prefix",)},
    "sql": {"conversation": ("fork", "prefix", "rewrite"), "state": ("prefix",)},
}
"""What the stand-in can beyond the required."""
_KINDS = {"conversation": "Conversations", "knowledge": "Knowledge", "state": "State"}
_USAGE = {
    "conversation": """\
from praisonai_persistence import ConversationMessage, ConversationSession, open_conversation_store

with open_conversation_store("$url") as store:
    store.upsert_session(ConversationSession("a-session"))
    store.add_message("a-session", ConversationMessage(role="user", content="Hello"))
    print(store.get_messages("a-session"))""",
    "knowledge": """\
from praisonai_persistence import KnowledgeDocument, open_knowledge_store

with open_knowledge_store("$url") as store:
    store.create_collection("animals", dimension=2)
    store.insert("animals", [KnowledgeDocument(id="cat", content="A cat", embedding=[0.9, 0.1])])
    print(store.search("animals", [1.0, 0.0], limit=1))""",
    "state": """\
from praisonai_persistence import open_state_store

with open_state_store("$url") as store:
    store.set("light", {"on": True}, ttl=60)
    print(store.get("light"))""",
}
_HOLDS = {
    "entries": "entries: dict[str, str | None] = {}",
    "document": "documents: dict[str, tuple[str, int]] = {}",
    "vector": "collections: dict[str, _Collection] = {}",
    "sql": 'connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)',
}
_SERVER_TESTS = """an engine
        # may need a database or a prefix. Then override the fixtures unreachable_spec and spec_through, too."""
_EMBEDDED_TESTS = """when the
        # engine makes this file or folder, add a fixture `place(self, tmp_path)` that returns tmp_path / "data", and
        # more tests apply."""
_ONE = r" *from [\w.]+ import (?:\([^)]*\)|[^\n(]+)\n"
_IMPORTS = re.compile(rf"^(?:{_ONE}){{2,}}", re.MULTILINE)
_IMPORT = re.compile(f"^{_ONE}", re.MULTILINE)


def files(made: Plan) -> dict[str, str]:
    """Every file of the distribution: its path to its text. The test of conformance is one of ``tests/``."""
    common = {"name": made.name, "dist": made.dist, "package": made.package, "Title": made.title, "Kinds": made.words}
    source = f"src/{made.package}"
    driver = _driver(made, common)
    texts = {
        "pyproject.toml": _pyproject(made, common),
        "README.md": _readme(made, common, driver),
        f"{source}/py.typed": "",
        f"{source}/__init__.py": _package(made, common),
        f"{source}/_driver.py": driver,
        f"{source}/_standin.py": _standin(made, common),
    }
    texts.update({f"{source}/{name}": text for name, text in _operations(made, common).items()})
    texts["tests/test_package.py"] = _unit_tests(made, common)
    texts["tests/test_conformance.py"] = _conformance(made, common)
    return {path: _sorted(text) if path.endswith(".py") else text for path, text in texts.items()}


# -------------------------------------------------------------------------------------------------------------- helpers


@cache
def _template(name: str) -> Template:
    return Template((resources(__package__) / "templates" / f"{name}.tmpl").read_text(encoding="utf-8"))


def _fill(template: str, **values: str) -> str:
    return _template(template).substitute(values)


def _sorted(text: str) -> str:
    """Sort the imports of each block by module, whatever the new package is called."""

    def block(found: re.Match[str]) -> str:
        return "".join(sorted((one[0] for one in _IMPORT.finditer(found[0])), key=_module))

    return _IMPORTS.sub(block, text)


def _module(line: str) -> str:
    return line.split()[1]


def _import(module: str, *names: str, indent: str = "") -> str:
    line = f"{indent}from {module} import {', '.join(sorted(names))}"
    if len(line) <= 120:
        return line
    inner = "".join(f"{indent}    {name},\n" for name in sorted(names))
    return f"{indent}from {module} import (\n{inner}{indent})"


def _quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def _of(kind: str, common: Mapping[str, str]) -> dict[str, str]:
    return {**common, "kind": kind, "Kind": kind.capitalize(), "Kinds": _KINDS[kind]}


def _url(made: Plan) -> str:
    return f"{made.name}://localhost/main" if made.server else f"{made.name}:///data"


# ---------------------------------------------------------------------------------------------------------- the project


def _pyproject(made: Plan, common: Mapping[str, str]) -> str:
    groups = []
    for kind in made.kinds:
        store = f"{made.title}{kind.capitalize()}Store"
        groups += [f'\n[project.entry-points."praisonai.{kind}_stores"]']
        groups += [f'async_{made.name} = "{made.package}:Async{store}"', f'{made.name} = "{made.package}:{store}"']
    needed = [f"{CORE}{made.pin}", *[f"{CORE}-sql{made.pin}"] * (made.base == "sql")]
    ours = made.clone is not None
    return (
        _fill(
            "pyproject.toml",
            **common,
            dependencies=_quoted(needed),
            licence='license = "MIT"\nlicense-files = ["LICENSE"]\n' if ours else "",
            authors='authors = [{ name = "PraisonAI persistence contributors" }]\n' if ours else "",
            testing="" if ours else f'optional-dependencies.testing = ["{CORE}[testing]{made.pin}"]\n',
            entry_points="\n".join(groups),
            tools="" if ours else _fill("tools", **common),
        ).rstrip("\n")
        + "\n"
    )


def _readme(made: Plan, common: Mapping[str, str], driver: str) -> str:
    abilities = _CAPABILITIES[made.base]
    declared = [
        f"- {kind}: {', '.join(f'`{item}`' for item in abilities[kind])}; all else is refused." for kind in made.kinds
    ]
    return _fill(
        "README.md",
        **common,
        usage=Template(_USAGE[made.kinds[0]]).substitute(url=_url(made)),
        options="\n".join(_options(made, driver)),
        declared="\n".join(declared),
    )


def _options(made: Plan, driver: str) -> Iterable[str]:
    """The table of the options that the driver's text declares."""
    from praisonai_persistence.drivers import Options, option

    start = driver.index(f"class {made.title}Options(")
    scope: dict[str, Any] = {"Options": Options, "option": option, "__name__": made.package}
    exec(driver[start : driver.index("\n\n\nclass ", start)], scope)  # noqa: S102 - a template of ours
    table: Iterable[str] = scope[f"{made.title}Options"].table()
    return table


# ---------------------------------------------------------------------------------------------------------- the package


def _package(made: Plan, common: Mapping[str, str]) -> str:
    kinds = [kind.capitalize() for kind in made.kinds]
    bases = [f"{prefix}Step{kind}Store" for kind in kinds for prefix in ("", "Async")]
    imports = [_import(f"{made.package}._driver", f"{made.title}Driver", f"{made.title}Options")]
    if made.base == "document":
        bases += [f"Document{kind}Steps" for kind in kinds]
        imports += [_import(f"{made.package}._engine", f"{made.title}Engine")]
    elif made.base == "sql":
        imports += [
            _import("praisonai_persistence_sql", *(f"SQL{kind}Steps" for kind in kinds)),
            _import(f"{made.package}._dialect", f"{made.title}Dialect"),
        ]
    else:
        imports += [_import(f"{made.package}.{kind.lower()}", f"{made.title}{kind}Steps") for kind in kinds]
    imports += [_import("praisonai_persistence.stores", *bases)]
    names = sorted(f"{prefix}{made.title}{kind}Store" for kind in kinds for prefix in ("", "Async"))
    head = _fill(
        "package.py",
        **common,
        typing="Any, ClassVar",
        imports="\n".join(imports),
        names="\n".join(f'    "{name}",' for name in sorted([*names, f"{made.title}Options"])),
    )
    return head + "".join(_store(made, common, kind) for kind in made.kinds)


def _store(made: Plan, common: Mapping[str, str], kind: str) -> str:
    Kind = kind.capitalize()  # noqa: N806 - as in the templates
    steps, call = f"{made.title}{Kind}Steps", f"{made.title}{Kind}Steps(prefix)"
    if made.base == "document":
        steps = f"Document{Kind}Steps"
        call = f'{steps}({made.title}Engine(), f"{{prefix}}{kind}")'
    elif made.base == "sql":
        steps = f"SQL{Kind}Steps"
        call = f"{steps}({made.title}Dialect(), prefix)"
    more = ", steps.migrations" * (made.base == "sql") + ", asynchronous=self._asynchronous" * made.native
    return _fill(
        "stores.py",
        **_of(kind, common),
        capabilities=_quoted(_CAPABILITIES[made.base][kind]),
        Steps=steps,
        steps=call,
        more=more,
        how="by the async client" if made.native else "operations run on threads",
    )


def _driver(made: Plan, common: Mapping[str, str]) -> str:
    standin = f"{made.package}._standin"
    imports = [_import(standin, "Client", *["AsyncClient"] * made.native, *["exists"] * (not made.server))]
    types = [
        _import("praisonai_persistence.drivers", "Deadline", indent="    "),
        _import("praisonai_persistence.errors", "PersistenceError", indent="    "),
    ]
    standard, begin, probe, parameters, arguments, settings = [], "", "", "", "", ""
    translated, drivers, client = (
        "None",
        ["Driver", "Options", *["option"] * made.server],
        "Any" if made.server else "Client",
    )
    if made.base == "entries":
        result = "Any" if made.native else "AbstractContextManager[Transaction]"
        begin = f"""
    def begin(self, client: {client}, *, write: bool) -> {result}:
        # One transaction for an operation: committed at its end, undone when an exception ends it.
        return client.transaction(){"  # type: ignore[no-any-return]" if made.server and not made.native else ""}
"""
        if not made.native:
            standard += ["    from contextlib import AbstractContextManager", ""]
            types += [_import(standin, "Transaction", indent="    ")]
    elif made.base == "sql":
        standard += ["    from contextlib import AbstractContextManager", ""]
        types += [
            _import("praisonai_persistence.steps", "Steps", indent="    "),
            _import("praisonai_persistence_sql", "Migrations", indent="    "),
        ]
        parameters, arguments = ", migrations: Migrations", "\n        migrations: of the store's tables."
        settings = "\n        self._migrations = migrations"
        settings += '\n        self.forks = "refuse"  # THE STAND-IN: a child cannot use its parent\'s SQLite in memory'
        begin = f"""
    def begin(self, client: {client}, *, write: bool) -> AbstractContextManager[Client]:
        # One transaction for an operation. A client that is a pool lends a connection here, so that callers need not
        # wait for each other.
        return client.transaction(write=write)  {"# type: ignore[no-any-return]" if made.server else ""}

    def perform(self, on: Client, request: Any) -> Any:
        return on.perform(request)
""".replace("  \n", "\n")
        probe = """
    def probe(self) -> Steps[None]:
        # The first connection of a store brings its tables up to date.
        return self._migrations.upgrade()
"""
    elif made.base == "vector":
        drivers += ["HttpErrors"]
        translated = 'HttpErrors(self.where).error(getattr(error, "code", None), error)'
        if not made.server:
            settings = '\n        self.turns = "writes"  # nobody writes between the look for ids and the insert'
    if made.native:
        parameters += ", *, asynchronous: bool"
        arguments += "\n        asynchronous: whether to use the async client."
        settings += "\n        self.asynchronous = asynchronous"
    imports += [_import("praisonai_persistence.drivers", *drivers)]
    text = _fill(
        "driver_server.py" if made.server else "driver_embedded.py",
        **common,
        standard="from typing import TYPE_CHECKING, Any",
        imports="\n".join(imports),
        type_imports="\n".join([*standard, *types]),
        packages=f'("{made.package}",)' if made.base == "vector" else "()",
        parameters=parameters,
        arguments=arguments,
        settings=settings,
        open="AsyncClient(place) if self.asynchronous else Client(place)" if made.native else "Client(place)",
        begin=begin,
        probe=probe,
        translated=translated,
    )
    body = text.partition("TYPE_CHECKING:")[2]
    return text if re.search(r"\bAny\b", body) else text.replace("TYPE_CHECKING, Any\n", "TYPE_CHECKING\n", 1)


_EXISTS = '''

def exists(place: str) -> bool:
    """Whether anybody has opened it."""
    return place in _places
'''


def _standin(made: Plan, common: Mapping[str, str]) -> str:
    names = {"entries": ("Client", "Transaction"), "vector": ("Client", "Point", "StandInError")}.get(
        made.base, ("Client",)
    )
    more = ["AsyncClient", *["AsyncTransaction"] * (made.base == "entries")] * made.native + ["exists"] * (
        not made.server
    )
    text = _fill(
        f"standin_{made.base}.py",
        **common,
        names=_quoted(sorted([*names, *more])),
        places=_fill("places.py", holds=_HOLDS[made.base], exists="" if made.server else _EXISTS),
        asyncio="import asyncio\n" * made.native,
        managers=", ".join([*["asynccontextmanager"] * made.native, "contextmanager"]),
        abcs=", ".join([*["AsyncIterator"] * made.native, "Iterator"]),
    )
    return text + (_fill(f"standin_{made.base}_async.py", **common) if made.native else "")


def _operations(made: Plan, common: Mapping[str, str]) -> dict[str, str]:
    if made.base == "document":
        return {"_engine.py": _fill("engine.py", **common)}
    if made.base == "sql":
        return {"_dialect.py": _fill("dialect.py", **common)}
    if made.base == "vector":
        imports = [
            _import(f"{made.package}._filters", "FilterCompiler"),
            _import(f"{made.package}._standin", "Point"),
        ]
        return {
            "_filters.py": _fill("filters.py", **common),
            "knowledge.py": _fill(
                "vector.py",
                **common,
                base="MarkedSteps" if made.server else "VectorSteps",
                shared=", shared=True" if made.server else "",
                writing=_fill("marked" if made.server else "unmarked"),
                collections="Mapping, Sequence" if made.server else "Sequence",
                imports="\n".join(imports),
            ),
        }
    imports = [_import(f"{made.package}._entries", "all_entries")]
    texts = {
        f"{kind}.py": _fill(f"{kind}_entries.py", **_of(kind, common), imports="\n".join(imports))
        for kind in made.kinds
    }
    return {"_entries.py": _fill("entries.py"), **texts}


# ------------------------------------------------------------------------------------------------------------ its tests


def _unit_tests(made: Plan, common: Mapping[str, str]) -> str:
    return _fill("test_package.py", **common, place=_url(made), kinds=_quoted(made.kinds))


def _conformance(made: Plan, common: Mapping[str, str]) -> str:
    suites = ", ".join(f"{kind.capitalize()}StoreSuite" for kind in made.kinds)
    text = _fill(
        "test_conformance.py",
        uuid="\nimport uuid\n" if made.server else "\nfrom pathlib import Path\n",
        suites=suites,
        **common,
    )
    more = {
        "fixture": "" if made.server else ", tmp_path: Path",
        "options": f'"url": f"{made.name}://{{uuid.uuid4().hex}}"' if made.server else '"path": str(tmp_path / "data")',
        "advice": _SERVER_TESTS if made.server else _EMBEDDED_TESTS,
    }
    return text + "".join(_fill("test_suite.py", **_of(kind, common), **more) for kind in made.kinds)
