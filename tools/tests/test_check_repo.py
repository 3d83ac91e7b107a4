"""Each mechanical rule: a tree that keeps all of them, and one edit that breaks each."""

from __future__ import annotations

import subprocess
from pathlib import Path

import check_repo
import derived
import pytest
import readme_table
import repo

CLASSIFIERS = [f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)] + ["Typing :: Typed"]
CORE = '"praisonai-persistence>=0.1,<1"'
HOST = check_repo.REGISTRY_HOSTS[0]


def pyproject(name: str, dependencies: str = "", tail: str = "") -> str:
    folder = "core" if name == repo.CORE else f"packages/{name.removeprefix(f'{repo.CORE}-')}"
    return f"""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "0.1.0"
readme = "README.md"
license = "MIT"
requires-python = ">=3.10"
classifiers = {CLASSIFIERS}
dependencies = [{dependencies}]
{repo.toml_table("project.urls", repo.Dist(repo.ROOT, folder).urls)}{tail}"""


def points(module: str, *, aliases: bool = False) -> str:
    text = f'[project.entry-points."praisonai.state_stores"]\ndb = "{module}:Store"\n'
    if aliases:
        text += f'[project.entry-points."praisonai.state_stores.aliases"]\nother = "{module}:Store"\n'
    return text


EXTRAS = """\
[project.optional-dependencies]
testing = ["pytest"]
all = ["praisonai-persistence-db>=0.1,<1"]
db = ["praisonai-persistence-db>=0.1,<1"]
[project.entry-points."praisonai.state_stores"]
memory = "praisonai_persistence.memory:Store"
"""
WORKFLOW = "steps:\n  - uses: some/action@0123456789abcdef0123456789abcdef01234567 # v1.2.3\n  - uses: ./local\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A core, a library and a backend that keep every rule."""
    sql = '"praisonai-persistence-sql>=0.1,<1"'
    pyprojects = {
        "core": pyproject("praisonai-persistence", tail=EXTRAS),
        "packages/sql": pyproject("praisonai-persistence-sql", CORE),
        "packages/db": pyproject(
            "praisonai-persistence-db", f"{CORE}, {sql}", points("praisonai_persistence_db", aliases=True)
        ),
    }
    texts = {
        "LICENSE": "licence",
        "pyproject.toml": "[tool.x]\n",
        ".github/workflows/ci.yml": WORKFLOW,
        "tests/integration/test_db.py": "",
        "tests/integration/test_memory.py": "",
    }
    for folder, text in pyprojects.items():
        name = "praisonai_persistence" + ("" if folder == "core" else f"_{Path(folder).name}")
        texts[f"{folder}/pyproject.toml"] = text
        texts[f"{folder}/LICENSE"] = "licence"
        texts[f"{folder}/README.md"] = "# it\n\n**Evidence:** live, fake ([details](#evidence))\n\n## Evidence\n\nIt.\n"
        texts[f"{folder}/tests/test_it.py"] = ""
        texts[f"{folder}/src/{name}/__init__.py"] = ""
        texts[f"{folder}/src/{name}/py.typed"] = ""
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    readme = f"# us\n\n{readme_table.BEGIN}\n{readme_table.END}\n\nrest\n"
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    for path, text in derived.derived(tmp_path):
        path.write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def test_a_tree_that_keeps_the_rules(root: Path) -> None:
    assert check_repo.problems(root) == []


DB = "packages/db/pyproject.toml"
SQL = "packages/sql/pyproject.toml"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (DB, '-db"', '-bd"', 'by its folder it is "praisonai-persistence-db"'),
        (DB, "hatchling.build", "other.build", "build-backend must be"),
        (DB, ">=3.10", ">=3.11", "requires-python is '>=3.11', must be"),
        (DB, 'license = "MIT"', 'license = "BSD-3-Clause"', "license is 'BSD-3-Clause'"),
        (DB, '"0.1.0"', '"1"', "must be written out"),
        (DB, "Python :: 3.12", "Python :: 3.99", "classifiers lack ['Programming Language :: Python :: 3.12']"),
        (DB, "[project]", "[tool.ruff]\n[project]", "tables ['tool']"),
        (DB, "[project]", "#\n" * 60 + "[project]", "at most 60"),
        (DB, "state_stores.aliases", "state_store.aliases", "is unknown; groups are"),
        (DB, "db = ", "Db = ", "Db must be lower case"),
        (DB, 'db = "praisonai_persistence_db:Store"', 'db = "a b"', "is no object reference"),
        (DB, 'db = "praisonai_persistence_db', 'db = "elsewhere', "lies outside praisonai_persistence_db"),
        (DB, 'other = "praisonai_persistence_db:Store"', 'other = "praisonai_persistence_db:X"', "equals no canonical"),
        (DB, 'other = "', 'db = "', "is both a state backend and an alias"),
        (DB, "other = ", "memory = ", "state name memory belongs to praisonai-persistence already"),
        (DB, CORE, '"praisonai-persistence>=0.1"', 'must be "praisonai-persistence>=0.1,<1"'),
        (DB, "sql>=0.1,<1", "sql>=0.1,<2", 'must be "praisonai-persistence-sql>=0.1,<1"'),
        (DB, CORE + ", ", "", "dependencies lack the core"),
        (DB, "-sql>=", "-sq>=", "praisonai-persistence-sq is no distribution"),
        ("core/pyproject.toml", "dependencies = []", 'dependencies = ["x"]', "the core has no runtime dependency"),
        ("core/pyproject.toml", "testing = ", "tests = ", "the extra testing"),
        ("core/pyproject.toml", "db = [", "bd = [", "core/pyproject.toml: is not what the packages say"),
        ("core/src/praisonai_persistence/_known.py", '"other"', '"another"', "_known.py: is not what the packages say"),
        ("pyproject.toml", "[tool.x]", "[project]", "tables ['project']"),
        (DB, "/issues", "/bugs", "[project.urls] must be"),
        (SQL, "[project.urls]", "[project.scripts]", "[project.urls] must be"),
        ("packages/db/README.md", "**Evidence:**", "Evidence:", "no line `**Evidence:**"),
        ("packages/db/README.md", "live, fake", "well tested", "no line `**Evidence:**"),
        ("packages/db/README.md", "## Evidence\n\nIt.", "## Evidence\n\n## More", "no section `## Evidence`"),
        ("packages/db/README.md", "live, fake", "live", "README.md: is not what the packages say"),
        ("README.md", readme_table.BEGIN, "", "needs one <!-- backends:begin -->"),
        (".github/workflows/ci.yml", "0123456789abcdef0123456789abcdef01234567", "v1", "full commit SHA"),
        (".github/workflows/ci.yml", " # v1.2.3", "", "needs its version behind it"),
        ("packages/sql/tests/test_it.py", "", f"# https://{HOST.upper()}/simple", f"test_it.py: names {HOST}"),
        ("packages/sql/LICENSE", "licence", "another", "is not a copy"),
    ],
)
def test_every_rule_can_break(root: Path, file: str, old: str, new: str, message: str) -> None:
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    problems = check_repo.problems(root)
    assert any(message in problem for problem in problems), problems


@pytest.mark.parametrize(
    "file",
    [
        "packages/db/README.md",
        "packages/db/tests/test_it.py",
        "packages/db/src/praisonai_persistence_db/py.typed",
        "packages/db/src/praisonai_persistence_db/__init__.py",
        "core/src/praisonai_persistence/_known.py",
        "tests/integration/test_db.py",
    ],
)
def test_what_every_package_has(root: Path, file: str) -> None:
    (root / file).unlink()
    assert any(file.rpartition("/")[0] in problem for problem in check_repo.problems(root))


def test_an_import_package_has_the_name_of_the_folder(root: Path) -> None:
    source = root / "packages/db/src"
    (source / "praisonai_persistence_db").rename(source / "other")
    assert any("by the folder's name it holds praisonai_persistence_db" in p for p in check_repo.problems(root))


def test_no_backend_needs_another_one_not_even_through_a_library(root: Path) -> None:
    sql = root / SQL
    sql.write_text(sql.read_text().replace(CORE, f'{CORE}, "praisonai-persistence-two>=0.1,<1"'))
    (root / "packages/two").mkdir()
    (root / "packages/two/pyproject.toml").write_text(
        pyproject("praisonai-persistence-two", CORE, points("praisonai_persistence_two"))
    )
    problems = [problem for problem in check_repo.problems(root) if "another backend" in problem]
    assert problems == [
        f"{DB}: needs praisonai-persistence-two, another backend; what two share is a library distribution"
    ]


def test_a_package_without_backends_may_need_them(root: Path) -> None:
    command = root / "packages/cli/pyproject.toml"
    command.parent.mkdir()
    command.write_text(pyproject("praisonai-persistence-cli", f'{CORE}, "praisonai-persistence-db>=0.1,<1"'))
    assert not [problem for problem in check_repo.problems(root) if "another backend" in problem]


def test_the_table_of_the_readme(root: Path) -> None:
    evidence = "[live, fake](packages/db/README.md#evidence)"
    assert readme_table.table(root).splitlines()[2:] == [
        "| [`praisonai-persistence`](core) | state | `memory` |  | [live, fake](core/README.md#evidence) |",
        f"| [`praisonai-persistence-db`](packages/db) | state | `db` | `other` | {evidence} |",
    ]
    path = root / DB
    extra = '[project.entry-points."praisonai.knowledge_stores"]\ndb = "praisonai_persistence_db:K"\n'
    path.write_text(path.read_text() + extra)
    assert "| knowledge, state | `db` | `other` (state) |" in readme_table.table(root)
    readme = (root / "README.md").read_text()
    assert readme_table.replaced(readme, "new").startswith("# us\n\n<!-- backends:begin -->\nnew\n")
    assert readme_table.replaced(readme, "new").endswith("<!-- backends:end -->\n\nrest\n")


def test_code_lines_leave_out_what_is_no_code(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    code = ["x = [", "    1,  # one", "]", "def f():", '    return """a', 'b"""']
    documentation = ['"""Doc', 'string."""', "", "# comment"]
    path.write_text("\n".join([*documentation, *code[:4], '    """Doc."""', "", *code[4:]]) + "\n")
    assert check_repo.code_lines(path) == len(code)
    # A package that is only begun can be sized, too.
    assert "0 lines of code" in check_repo.sizes(repo.Dist(tmp_path, "packages/none"))
