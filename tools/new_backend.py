"""Writes a new backend: a distribution that installs, registers, and passes the conformance kit on a stand-in.

    python tools/new_backend.py mydb --kinds state                  packages/mydb of this repository
    python tools/new_backend.py mydb --kinds state --into FOLDER    a project of its own in FOLDER

What is to be replaced by the engine is marked as THE STAND-IN. docs/plugins.md explains the rest.
"""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import repo

sys.path.append(str(repo.ROOT / "core" / "src"))

from praisonai_persistence import get_default_registry
from praisonai_persistence._known import KNOWN

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = 24
"""Characters of a name: with more, lines of the templates become too long."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_DIST = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_.][A-Za-z0-9]+)*")
_TITLE = re.compile(r"[A-Z][A-Za-z0-9]*")

CAPABILITIES = {
    "conversation": ("fork", "prefix", "search"),
    "knowledge": ("atomic_batch", "prefix"),
    "state": ("prefix",),
}
"""What the stand-in can beyond the required."""
KINDS_IN_WORDS = {"conversation": "Conversations", "knowledge": "Knowledge", "state": "State"}
USAGE = {
    "conversation": """\
from praisonai_persistence import ConversationMessage, ConversationSession, open_conversation_store

with open_conversation_store("$name://host/database") as store:
    store.upsert_session(ConversationSession("a-session"))
    store.add_message("a-session", ConversationMessage(role="user", content="Hello"))
    print(store.get_messages("a-session"))""",
    "knowledge": """\
from praisonai_persistence import KnowledgeDocument, open_knowledge_store

with open_knowledge_store("$name://host/database") as store:
    store.create_collection("animals", dimension=2)
    store.insert("animals", [KnowledgeDocument(id="cat", content="A cat", embedding=[0.9, 0.1])])
    print(store.search("animals", [1.0, 0.0], limit=1))""",
    "state": """\
from praisonai_persistence import open_state_store

with open_state_store("$name://host/database") as store:
    store.set("light", {"on": True}, ttl=60)
    print(store.get("light"))""",
}
EXAMPLE = {
    "conversation": """\
        @reads
        def count_messages(self, session_id: str) -> Steps[int]:
            return (yield lambda client: client.count(self._prefix + session_id))""",
    "knowledge": """\
        @reads
        def list_collections(self) -> Steps[list[str]]:
            names = yield lambda client: client.collections(self._prefix)
            return sorted(names)""",
    "state": """\
        @reads
        def get(self, key: str, now: float) -> Steps[str | None]:
            record = yield lambda client: client.read(self._prefix + key)
            return None if record is None else record.value""",
}


class RefusedError(Exception):
    """What was asked for cannot be; nothing was written."""


@dataclass(frozen=True)
class Plan:
    """What to write, and where; made by [plan][]."""

    name: str
    """Of the backend: `mydb`."""
    kinds: tuple[str, ...]
    title: str
    """The name as it is written in prose and in names of classes: `MyDB`."""
    native: bool
    """Whether the driver has an async client; otherwise the async stores work on threads."""
    dist: str
    """The distribution."""
    folder: Path
    """Where it goes."""
    integration: Path | None
    """Where the repository wants its test of conformance; None for a project of its own."""
    root: Path
    """The repository."""

    @property
    def package(self) -> str:
        """The name to import."""
        return repo.normalise(self.dist).replace("-", "_")

    @property
    def ours(self) -> bool:
        """Whether it becomes a package of the repository."""
        return self.integration is not None

    @property
    def words(self) -> str:
        """The kinds in words: `Conversations, knowledge and state`."""
        *most, last = [KINDS_IN_WORDS[kind] for kind in self.kinds]
        return f"{', '.join(most)} and {last}".capitalize() if most else last


def plan(
    name: str,
    kinds: Iterable[str],
    *,
    title: str = "",
    native: bool = False,
    into: Path | None = None,
    dist: str = "",
    root: Path = repo.ROOT,
) -> Plan:
    """Decide what to write; touches nothing.

    Args:
        name: of the backend.
        kinds: which kinds of store it has.
        title: as in [Plan][]; by default the name with capitals.
        native: as in [Plan][].
        into: the folder in which to make a project of its own; None: a package of the repository.
        dist: the distribution of a project of its own.
        root: the repository.

    Raises:
        RefusedError: a name that cannot be one, or that is taken; a folder that exists, or one that does not.
    """
    _check_name(name, root)
    folder = name.replace("_", "-")
    if dist and into is None:
        raise RefusedError(
            "in this repository the folder names the distribution; with --into it can be called otherwise"
        )
    dist = dist or f"{repo.CORE}-{folder}"
    made = Plan(
        name=name,
        kinds=tuple(sorted(set(kinds))),
        title=title or "".join(part.capitalize() for part in name.split("_")),
        native=native,
        dist=dist,
        folder=root / "packages" / folder if into is None else into / dist,
        integration=root / f"tests/integration/test_{name}.py" if into is None else None,
        root=root,
    )
    if not made.kinds or not set(made.kinds) <= set(repo.KINDS):
        raise RefusedError(f"kinds are some of {','.join(repo.KINDS)}")
    if not _TITLE.fullmatch(made.title) or len(made.title) > LONGEST:
        raise RefusedError(f"{made.title!r} cannot be a title: letters and digits, a capital first, as in MyDB")
    if not _DIST.fullmatch(dist) or len(dist) > 2 * LONGEST or keyword.iskeyword(made.package):
        raise RefusedError(f"{dist!r} cannot be the name of a distribution")
    if importlib.util.find_spec(made.package) is not None:
        raise RefusedError(f"{made.package} can be imported already; the distribution needs another name")
    for path in filter(None, (made.folder, made.integration)):
        if not path.parent.is_dir():
            raise RefusedError(f"there is no folder {path.parent}")
        if os.path.lexists(path):
            raise RefusedError(f"{path} exists")
    return made


def _check_name(name: str, root: Path) -> None:
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise RefusedError(
            f"{name!r} cannot be a backend's name: lower case letters, digits and single underscores, a letter first, "
            f"at most {LONGEST} characters"
        )
    if keyword.iskeyword(name):
        raise RefusedError(f"{name!r} is a word of the language Python")
    if name.startswith("async_"):
        raise RefusedError(f"leave out async_: {name!r} is what the async store of a backend is called")
    if name in {"all", "core", "testing"}:
        raise RefusedError(f"{name!r} would be confused with what the core calls so")
    for taken in (name, f"async_{name}"):
        if owner := _owner(taken, root):
            raise RefusedError(f"the name {taken!r} is taken by {owner}")


def _owner(name: str, root: Path) -> str:
    """Who has this name already: a package of the repository, what the core knows, what is installed; else nobody."""
    for dist in repo.dists(root):
        if name in {dist.short.replace("-", "_"), *dist.names}:
            return dist.name
    for kind in repo.KINDS:
        registry = get_default_registry(kind)
        if name in KNOWN[kind]:
            return KNOWN[kind][name][0]
        if registry.has(name):
            return f"an installed {kind} backend"
    return ""


# ---------------------------------------------------------------------------------------------------------------- texts


def _fill(template: str, **values: str) -> str:
    return Template((TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(values)


def _lines(items: Iterable[str], indent: str = "    ") -> str:
    return "\n".join(f"{indent}{item}," for item in items)


def _import(module: str, names: Iterable[str]) -> str:
    one, *others = sorted(names)
    return f"from {module} import (\n{_lines([one, *others])}\n)" if others else f"from {module} import {one}"


def _quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def entry_points(made: Plan) -> dict[str, dict[str, tuple[str, str]]]:
    """Kind -> name -> (distribution, object reference), as the core's table of known backends has it."""
    return {
        kind: {
            f"{prefix.lower()}{'_' if prefix else ''}{made.name}": (
                made.dist,
                f"{made.package}:{prefix}{made.title}{kind.capitalize()}Store",
            )
            for prefix in ("Async", "")
        }
        for kind in made.kinds
    }


def files(made: Plan) -> dict[str, str]:
    """Every file of the distribution: its path to its text. The test of conformance is one of `tests/`."""
    common = {
        "name": made.name,
        "dist": made.dist,
        "package": made.package,
        "Title": made.title,
        "Kinds": made.words,
    }
    source = f"src/{made.package}"
    return {
        "pyproject.toml": _pyproject(made, common),
        "README.md": _readme(made, common),
        f"{source}/py.typed": "",
        f"{source}/__init__.py": _package(made, common),
        f"{source}/_runner.py": _runner(made, common),
        f"{source}/_standin.py": _standin(made, common),
        **{f"{source}/{kind}.py": _fill("steps.py", **_of(kind, common), example=EXAMPLE[kind]) for kind in made.kinds},
        "tests/test_package.py": _unit_tests(made, common),
        "tests/test_conformance.py": _conformance(made, common),
    }


def _of(kind: str, common: Mapping[str, str]) -> dict[str, str]:
    return {**common, "kind": kind, "Kind": kind.capitalize(), "Kinds": KINDS_IN_WORDS[kind]}


def _pyproject(made: Plan, common: Mapping[str, str]) -> str:
    core = repo.dists(made.root)[0]
    groups = []
    for kind, points in entry_points(made).items():
        groups += [f'\n[project.entry-points."praisonai.{kind}_stores"]']
        groups += [f'{name} = "{reference}"' for name, (_, reference) in points.items()]
    ours = repo.Dist(made.root, f"packages/{made.folder.name}")
    testing = f'optional-dependencies.testing = ["{core.name}[testing]{core.pin}"]\n'
    return _fill(
        "pyproject.toml",
        **common,
        pin=core.pin,
        licence='license = "MIT"\nlicense-files = ["LICENSE"]\n' if made.ours else "",
        authors='authors = [{ name = "PraisonAI persistence contributors" }]\n' if made.ours else "",
        testing="" if made.ours else testing,
        urls=f"\n{repo.toml_table('project.urls', ours.urls)}" if made.ours else "",
        entry_points="\n".join(groups),
    )


def _readme(made: Plan, common: Mapping[str, str]) -> str:
    declared = [
        f"- {kind}: {', '.join(f'`{item}`' for item in CAPABILITIES[kind])}; all else is refused."
        for kind in made.kinds
    ]
    usage = Template(USAGE[made.kinds[0]]).substitute(name=made.name)
    return _fill("README.md", **common, usage=usage, declared="\n".join(declared))


def _package(made: Plan, common: Mapping[str, str]) -> str:
    kinds = [kind.capitalize() for kind in made.kinds]
    stores = sorted(f"{prefix}{made.title}{kind}Store" for kind in kinds for prefix in ("", "Async"))
    bases = sorted(f"{prefix}Step{kind}Store" for kind in kinds for prefix in ("", "Async"))
    bases += [] if made.native else ["ThreadRunner"]
    runners = [f"{made.title}Runner", *[f"Async{made.title}Runner"] * made.native]
    imports = [
        _import(f"{made.package}._runner", runners),
        *(f"from {made.package}.{kind} import {made.title}{kind.capitalize()}Steps" for kind in made.kinds),
    ]
    head = _fill(
        "package.py",
        **common,
        bases=_lines(bases),
        imports="\n".join(imports),
        names=_lines(f'"{store}"' for store in stores),
    )
    runner = f"Async{made.title}Runner(location)" if made.native else f"ThreadRunner({made.title}Runner(location))"
    threads = "" if made.native else ": operations run on threads"
    return head + "".join(
        _fill(
            "stores.py",
            **_of(kind, common),
            capabilities=_quoted(CAPABILITIES[kind]),
            threads=threads,
            async_runner=runner,
        )
        for kind in made.kinds
    )


def _runner(made: Plan, common: Mapping[str, str]) -> str:
    imports = [
        "import threading",
        "from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar",
        "",
        "from praisonai_persistence.errors import StoreClosedError",
        f"from praisonai_persistence.steps import run{', run_async' * made.native}",
        f"from praisonai_persistence.stores import {'AsyncRunner, ' * made.native}Runner",
    ]
    names = sorted([f"{made.title}Runner", *[f"Async{made.title}Runner"] * made.native])
    text = _fill(
        "runner.py",
        **common,
        imports="\n".join(["import asyncio"] * made.native + imports),
        abcs=f"{'Awaitable, ' * made.native}Callable",
        names=_quoted(names),
    )
    return text + (_fill("async_runner.py", **common) if made.native else "")


def _standin(made: Plan, common: Mapping[str, str]) -> str:
    return _fill(
        "standin.py",
        memory_steps=", ".join(f"Memory{kind.capitalize()}Steps" for kind in made.kinds),
        classes="".join(_fill("standin_class.py", **_of(kind, common)) for kind in made.kinds).removesuffix("\n"),
    )


def _unit_tests(made: Plan, common: Mapping[str, str]) -> str:
    names = [f"{made.title}Runner", *["AsyncClient", f"Async{made.title}Runner"] * made.native]
    imports = [
        "from praisonai_persistence.steps import Steps",
        _import(f"{made.package}._runner", names),
    ]
    text = _fill(
        "test_package.py",
        **common,
        asyncio="\nimport asyncio\n" if made.native else "",
        runner_import="\n".join(imports),
        kinds=_quoted(made.kinds),
    )
    return text + (_fill("test_async_runner.py", **common) if made.native else "")


def _conformance(made: Plan, common: Mapping[str, str]) -> str:
    suites = ", ".join(f"{kind.capitalize()}StoreSuite" for kind in made.kinds)
    text = _fill("test_conformance.py", **common, suites=suites)
    return text + "".join(_fill("test_suite.py", **_of(kind, common)) for kind in made.kinds)


# -------------------------------------------------------------------------------------------------------------- writing


def create(made: Plan) -> None:
    """Write it: all of it, or nothing."""
    texts = files(made)
    conformance = texts.pop("tests/test_conformance.py") if made.integration else ""
    draft = made.folder.with_name(f".{made.folder.name}.{os.getpid()}")
    written: list[Path] = []
    try:
        for name, text in texts.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if made.ours:
            shutil.copyfile(made.root / "LICENSE", draft / "LICENSE")
        if made.integration:
            with made.integration.open("x", encoding="utf-8") as file:
                written.append(made.integration)
                file.write(conformance)
        draft.rename(made.folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for path in written:
            path.unlink()
        raise


def next_steps(made: Plan) -> str:
    """What is left to do by hand, in the order to do it."""
    engine = f"{made.folder / 'src' / made.package}: put the engine in the place of THE STAND-IN; delete _standin.py"
    if not made.ours:
        return "\n".join(
            [
                f"cd {made.folder}",
                "pip install -e '.[testing]'",
                "pytest",
                engine,
                "choose a licence",
            ]
        )
    core = repo.dists(made.root)[0]
    pin = f'"{made.dist}{core.pin}"'
    lines = [f"{core.folder}/src/praisonai_persistence/_known.py: so that errors can say what to install, add to KNOWN"]
    for kind, points in entry_points(made).items():
        lines += [
            f'    "{kind}":',
            *(f'        "{name}": {value!r},'.replace("'", '"') for name, value in points.items()),
        ]
    return "\n".join(
        [
            *lines,
            f"{core.folder}/pyproject.toml: [project.optional-dependencies]",
            f"    all = [..., {pin}]",
            f"    {made.folder.name} = [{pin}]",
            "python tools/readme_table.py --write",
            f"./dev lint types 'integration({made.name})'",
            engine,
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the backend: lower case letters, digits, underscores")
    parser.add_argument("--kinds", required=True, help=f"some of {','.join(repo.KINDS)}")
    parser.add_argument("--title", default="", help="as it is written in prose and names of classes, e.g. MyDB")
    parser.add_argument("--async", dest="native", action="store_true", help="the driver has an async client")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="make a project of its own there")
    parser.add_argument("--dist", default="", help="what a project of its own is called, e.g. mycompany-mydb")
    given = parser.parse_args(arguments)
    try:
        made = plan(
            given.name,
            [kind.strip() for kind in given.kinds.split(",")],
            title=given.title,
            native=given.native,
            into=given.into,
            dist=given.dist,
        )
    except RefusedError as refusal:
        parser.error(str(refusal))
    create(made)
    for path in filter(None, (made.folder, made.integration)):
        print(f"written: {path}")
    print(f"\nNext:\n{next_steps(made)}")


if __name__ == "__main__":
    main()
