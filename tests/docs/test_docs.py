"""The documentation says what is so: its code runs, its links lead somewhere, its lists are those of the code.

The Python blocks of a document run one after the other as one program, in an empty folder. A block whose fence says
``file=NAME`` is written to that file instead; ``not-run`` leaves one out (it needs a server).
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from praisonai_persistence import errors, filters, payload
from praisonai_persistence.testing._tiers import TIERS
from praisonai_persistence.testing.clauses import CLAUSES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "core/README.md", "packages/*/README.md", "docs/*.md")
    for path in ROOT.glob(pattern)
)
CONTRACT = (ROOT / "docs/contract.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    language: str
    words: str
    code: str


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```(\w+) ?(.*?)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def program(document: str) -> str:
    return "\n".join(block.code for block in blocks(document) if block.language == "python" and not block.words)


def files(document: str) -> dict[str, str]:
    return {
        block.words.removeprefix("file="): block.code for block in blocks(document) if block.words.startswith("file=")
    }


def python(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


@pytest.fixture
def tier(request) -> str:
    """The tier of this run: the suites of another process run in no more than that."""
    return request.config.stash[TIERS].tier_of(request.node)


# ---------------------------------------------------------------------------------------------------------------- code


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if program(document)])
def test_code_runs(document, tmp_path):
    (tmp_path / "program.py").write_text(program(document), encoding="utf-8")
    ended = python("program.py", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr


def test_what_the_readme_prints(tmp_path):
    ended = python("-c", program("README.md"), folder=tmp_path)
    lines = ended.stdout.splitlines()
    assert lines[:2] == ["3 tool in Porto", "4 assistant Your parcel is in Porto."]
    assert lines[2].startswith("0123 ")
    assert lines[3:5] == ["1 True", "[('cats', 0.99)]"]
    assert "None SQLiteStateStore" in lines
    assert lines[-1].startswith("there is no conversation backend 'sqlitee'. Did you mean 'sqlite'? Installed: ")


def test_the_backend_in_the_plugin_guide_installs_and_conforms(tmp_path, tier):
    for name, text in files("docs/plugins.md").items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = tomllib.loads(files("docs/plugins.md")["pyproject.toml"])["project"]
    # What an installation would leave behind.
    metadata = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in project["entry-points"].items()
        ),
        encoding="utf-8",
    )
    use = (
        "from praisonai_persistence import *\n"
        "from praisonai_persistence.conversation import VaultConversationStore\n"
        "print(CONVERSATION_STORES.list_aliases()['strongroom'])\n"
        "with open_conversation_store('strongroom://here') as store:\n"
        "    store.create_session(ConversationSession('s'))\n"
        "with create_conversation_store('async_vault', host='here', mode='sync') as store:\n"
        "    print(type(store) is VaultConversationStore, store.get_session('s').version)\n"
    )
    ended = python("-c", use, folder=tmp_path)
    assert ended.stdout.splitlines() == ["vault", "True 1"], ended.stderr

    options = ("-q", "-p", "no:cacheprovider", f"--conformance-tier={tier}", "-c", os.devnull)
    report = ("--conformance-report=report",) if tier == "full" else ()  # a matrix of a part would say too much
    ended = python("-m", "pytest", *options, *report, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert ended.returncode == 0, ended.stdout
    if not report:
        return
    matrix = (tmp_path / "report/matrix.md").read_text(encoding="utf-8")
    assert "| C13 | A limit means the latest messages, oldest first | holds |" in matrix
    assert "fails" not in matrix


def test_the_custom_store_conforms(tmp_path, tier):
    (tmp_path / "test_custom.py").write_text(
        files("docs/plugins.md")["test_vault.py"]
        .replace('    backend = "vault"\n', '    modes = ("async",)\n')
        .replace('            sync="praisonai_persistence_vault:VaultConversationStore",\n', "")
        .replace("praisonai_persistence_vault:AsyncVaultConversationStore", "custom_store:DictStore")
        .replace('"host":', '"title":'),
        encoding="utf-8",
    )
    options = ("-q", "-p", "no:cacheprovider", f"--conformance-tier={tier}", "-c", os.devnull)
    ended = python("-m", "pytest", *options, folder=tmp_path, PYTHONPATH=str(ROOT / "examples"))
    assert ended.returncode == 0, ended.stdout


# --------------------------------------------------------------------------------------------------------------- lists


def test_every_clause_has_its_section():
    titles = [
        title for clauses in CLAUSES.values() for title in (f"{clause} {text}" for clause, text in clauses.items())
    ]
    assert re.findall(r"^### ([CSKL]\d\d .*)$", CONTRACT, re.MULTILINE) == titles


def test_every_clause_has_an_anchor():
    # The kit ends the report of a failed test with it.
    sections = re.findall(r'^<a id="(\w+)"></a>\n\n### (\w+) ', CONTRACT, re.MULTILINE)
    assert [anchor.upper() for anchor, _ in sections] == [clause for _, clause in sections]
    assert {clause for _, clause in sections} == {clause for clauses in CLAUSES.values() for clause in clauses}


def test_the_tree_of_errors_is_whole():
    tree = next(block.code for block in blocks("docs/contract.md") if "PersistenceError" in block.code)
    shown = {}
    path = ["PersistenceError"]
    for depth, name, builtin in re.findall(r"^([│├└─ ]+)(\w+)(?: \((\w+)\))?$", tree, re.MULTILINE):
        path[len(depth) // 4 :] = [name]
        shown[name] = (path[-2], builtin or None)
    found = {}
    for name in errors.__all__:
        own, *other = [base.__name__ for base in getattr(errors, name).__bases__]
        found[name] = ("PersistenceError" if own.startswith("_") else own, *(other or [None]))
    del found["PersistenceError"]
    assert shown == found
    others = [other for _, other in shown.values() if other]
    assert all(hasattr(builtins, other) or hasattr(errors, other) for other in others)
    explained = re.findall(r"^\| `(\w+Error)` \|", CONTRACT, re.MULTILINE)
    assert sorted([*explained, "PersistenceError"]) == errors.__all__


def test_limits_are_those_of_the_code():
    assert f"64 MiB ({payload.MAX_BYTES:,} bytes)" in CONTRACT
    assert f"deeper than {payload.MAX_DEPTH} levels" in CONTRACT
    assert f"1 to {payload.MAX_ID_CHARACTERS} characters" in CONTRACT
    assert f"1 to {payload.MAX_KEY_BYTES} bytes" in CONTRACT
    assert f"nesting of a filter | {filters.MAX_DEPTH} levels" in CONTRACT
    assert all(f"`{operator}`" in CONTRACT or f'"{operator}"' in CONTRACT for operator in filters.COMPARISONS)


def test_sessions_are_those_of_the_noxfile():
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    sessions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {name for line in re.findall(r"\./dev ([a-z' ()]+)", readme) for name in re.findall(r"[a-z]+", line)}
    assert named - {"redis", "sqlite"} <= sessions


def cells(document: str) -> list[list[str]]:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_timeouts_are_those_of_the_packages():
    # The packages' own tables stand beside the code; some are made from it.
    rows = cells("README.md")
    start = next(place for place, row in enumerate(rows) if "`connect_timeout`" in row)
    head, rows = rows[start], rows[start + 2 :]
    rows = rows[: next((place for place, row in enumerate(rows) if not row[0].startswith("[")), len(rows))]
    names = [row[0].strip("[").split("]")[0] for row in rows]
    servers = (
        "cassandra chroma clickhouse cosmosdb couchbase dynamodb firestore gcs milvus mongodb mysql pgvector pinecone "
        "postgres qdrant redis singlestore supabase surrealdb turso"
    )
    assert names == [*servers.split(), "upstash", "weaviate"]
    for row in rows:
        document = row[0].partition("(")[2].partition("#")[0]
        own = {cell[0].split("`")[1]: cell[1] for cell in cells(document) if cell[0].startswith("`")}
        for name, shown in zip(head[1:5], row[1:5], strict=True):
            assert (own.get(name.strip("`")) or "–").split(";")[0] == shown, f"{document}: {name}"


# --------------------------------------------------------------------------------------------------------------- links


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    path = ROOT / document
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{document}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = re.findall(r'^<a id="([\w-]+)"></a>$', found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {*anchors, *map(slug, headings)}, f"{document}: {target}"
