"""The scaffold: what it writes installs, registers, keeps the rules of the repository, and passes its own tests."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import check_repo
import new_backend
import pytest
import repo
from new_backend import RefusedError, plan

ALL = "conversation,knowledge,state"


def run(*command: str | Path, cwd: Path, site: Path | None = None) -> str:
    """Run Python with a folder of installed distributions, and return what it printed."""
    path = os.pathsep.join(filter(None, [str(site or ""), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def install(project: Path, site: Path) -> None:
    """Do what pip does with a project of pure Python: build its wheel and unpack it."""
    if importlib.util.find_spec("hatchling"):
        wheels = site.parent / "wheels"
        wheels.mkdir()
        build = "import sys, hatchling.build; hatchling.build.build_wheel(sys.argv[1])"
        run("-c", build, wheels, cwd=project)
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        return
    # Without the build backend: the same files and metadata, by hand.
    described = repo.read_toml(project / "pyproject.toml")["project"]
    shutil.copytree(project / "src", site)
    info = site / f"{described['name'].replace('-', '_')}-{described['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {described['name']}\nVersion: {described['version']}\n"
    )
    lines = [
        line
        for group, points in described["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


def registered(site: Path) -> dict[str, list[list[str]]]:
    """Return what the registries find: kind -> name, distribution, reference; without importing it."""
    code = """if True:
        import json, sys
        from praisonai_persistence import get_default_registry
        found = {kind: [[i.name, i.distribution, i.reference] for i in get_default_registry(kind).backends()]
                 for kind in ("conversation", "knowledge", "state")}
        assert not any(name.startswith(("praisonai_persistence_", "acme")) for name in sys.modules)
        print(json.dumps(found))
    """
    found: dict[str, list[list[str]]] = json.loads(run("-c", code, cwd=site, site=site))
    return found


def passed(output: str) -> int:
    summary = output.splitlines()[-1]
    assert "failed" not in summary
    assert "error" not in summary
    return int(re.search(r"(\d+) passed", summary)[1])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository, as it is now, in another place."""
    root = tmp_path / "repository"
    for path in repo.files(repo.ROOT):
        target = root / path.relative_to(repo.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


# ------------------------------------------------------------------------------------------------------- what it writes


@pytest.mark.slow
def test_a_project_of_its_own_installs_registers_and_passes_the_kit(tmp_path: Path) -> None:
    options = ["--kinds", ALL, "--title", "ScaffoldedDB", "--async", "--into", tmp_path, "--dist", "Acme-Scaffolded"]
    said = run(repo.ROOT / "tools/new_backend.py", "scaffolded", *options, cwd=tmp_path)
    project, site = tmp_path / "Acme-Scaffolded", tmp_path / "site"
    assert said.splitlines()[0] == f"written: {project}"
    source = ["__init__.py", "_runner.py", "_standin.py", "py.typed", *(f"{kind}.py" for kind in ALL.split(","))]
    tests = ["tests/test_conformance.py", "tests/test_package.py"]
    assert set(snapshot(project)) == {
        "README.md",
        "pyproject.toml",
        *(f"src/acme_scaffolded/{name}" for name in source),
        *tests,
    }
    install(project, site)
    for kind, found in registered(site).items():
        store = f"acme_scaffolded:{{}}ScaffoldedDB{kind.capitalize()}Store"
        assert ["async_scaffolded", "Acme-Scaffolded", store.format("Async")] in found
        assert ["scaffolded", "Acme-Scaffolded", store.format("")] in found

    (example,) = re.findall(r"```python\n(.*?)```", (project / "README.md").read_text(), re.DOTALL)
    assert "content='Hello'" in run("-c", example, cwd=tmp_path, site=site)
    # Values of many megabytes take half of the time; the test below has them.
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not size_limit"]
    assert passed(run(*command, cwd=project, site=site)) > 500


@pytest.mark.slow
def test_a_package_of_the_repository_keeps_its_rules_and_passes_the_kit(copy: Path, tmp_path: Path) -> None:
    problems = set(check_repo.problems(copy))
    before = snapshot(copy)
    said = run("tools/new_backend.py", "scaf_folded", "--kinds", "state", cwd=copy)
    folder, name = "packages/scaf-folded", "praisonai-persistence-scaf-folded"
    written = set(snapshot(copy)) - set(before)
    assert {path for path in written if not path.startswith(f"{folder}/")} == {"tests/integration/test_scaf_folded.py"}
    assert (copy / folder / "LICENSE").read_bytes() == (repo.ROOT / "LICENSE").read_bytes()

    # What is left are the lists that somebody has to look at; the tool says what to add to them.
    left = sorted(problem.partition(":")[0] for problem in set(check_repo.problems(copy)) - problems)
    known, core = "core/src/praisonai_persistence/_known.py", "core/pyproject.toml"
    assert set(left) - {"README.md"} == {core, known}
    entries, extras = re.search(r"add to KNOWN\n(.*)\n    all = \[\.\.\., (.*)\]\n", said, re.DOTALL)[1], said
    entries = entries.partition(f"{core}:")[0]
    more = ast.literal_eval("{" + entries.replace(":\n", ": {", 1) + "}}")
    assert sorted(more["state"]) == ["async_scaf_folded", "scaf_folded"]
    with (copy / known).open("a") as file:
        file.write(f"\nKNOWN['state'].update({more['state']!r})\n")
    (line,) = re.findall(r"^    (scaf-folded = \[.*\])$", extras, re.MULTILINE)
    (pin,) = re.findall(r"^    all = \[\.\.\., (.*)\]$", extras, re.MULTILINE)
    text = (copy / core).read_text()
    assert text.count("\nall = [\n") == 1
    (copy / core).write_text(text.replace("\nall = [\n", f"\n{line}\nall = [\n    {pin},\n"))
    run("tools/readme_table.py", "--write", cwd=copy)
    assert set(check_repo.problems(copy)) <= problems
    assert name in (copy / "README.md").read_text()
    assert repo.integration_tests(copy)["scaf_folded"] == repo.closure(
        [dist for dist in repo.dists(copy) if dist.name == name], repo.dists(copy)
    )

    site = tmp_path / "site"
    install(copy / folder, site)
    assert ["async_scaf_folded", name, "praisonai_persistence_scaf_folded:AsyncScafFoldedStateStore"] in registered(
        site
    )["state"]
    tests = [f"{folder}/tests", "tests/integration/test_scaf_folded.py"]
    assert passed(run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=copy, site=site)) > 100


@pytest.mark.parametrize("kinds", ["conversation", "knowledge", "state", "state,knowledge"])
@pytest.mark.parametrize("native", [False, True])
def test_every_combination_is_code(tmp_path: Path, kinds: str, native: bool) -> None:
    longest = "b" * new_backend.LONGEST
    for name in ("z", longest):
        made = plan(name, kinds.split(","), native=native, into=tmp_path)
        new_backend.create(made)
        for path, content in snapshot(made.folder).items():
            text = content.decode()
            assert "$" not in text.replace(r"\$", ""), path
            assert text == "" or text.endswith("\n"), path
            assert not text.endswith("\n\n"), path
            if path.endswith(".py"):
                compile(text, path, "exec")
                assert max(map(len, text.splitlines())) <= 120, path
        project = repo.read_toml(made.folder / "pyproject.toml")["project"]
        assert set(project["entry-points"]) == {f"praisonai.{kind}_stores" for kind in kinds.split(",")}
        runner = (made.folder / "src" / made.package / "_runner.py").read_text()
        assert ("AsyncRunner" in runner) == native


def test_kinds_in_any_order_and_twice(tmp_path: Path) -> None:
    made = plan("mydb", ["state", "conversation", "state"], into=tmp_path)
    assert made.kinds == ("conversation", "state")
    assert made.words == "Conversations and state"
    assert plan("my_own_db", ["state"], into=tmp_path).title == "MyOwnDb"
    assert plan("my_own_db", ["state"], into=tmp_path).dist == "praisonai-persistence-my-own-db"


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "cannot be a backend's name"),
        ("MyDB", "cannot be a backend's name"),
        ("my-db", "cannot be a backend's name"),
        ("my__db", "cannot be a backend's name"),
        ("_db", "cannot be a backend's name"),
        ("db_", "cannot be a backend's name"),
        ("1db", "cannot be a backend's name"),
        ("dbß", "cannot be a backend's name"),
        ("../db", "cannot be a backend's name"),
        ("d" * (new_backend.LONGEST + 1), "cannot be a backend's name"),
        ("lambda", "is a word of the language Python"),
        ("async_db", "leave out async_"),
        ("testing", "would be confused with what the core calls so"),
        ("all", "would be confused with what the core calls so"),
        ("sqlite", "the name 'sqlite' is taken by praisonai-persistence-sqlite"),
        ("aiosqlite", "the name 'aiosqlite' is taken by praisonai-persistence-sqlite"),
        ("sql", "the name 'sql' is taken by praisonai-persistence-sql"),
        ("memory", "the name 'memory' is taken by praisonai-persistence"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, name: str, message: str) -> None:
    for into in (tmp_path, None):
        with pytest.raises(RefusedError, match=re.escape(message)):
            plan(name, ["state"], into=into)


def test_names_of_installed_and_of_known_backends_are_taken(tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(
        "[praisonai.state_stores]\nasync_theirs = a:b\nother = a:c\n[praisonai.state_stores.aliases]\nalias = a:c\n"
    )
    (empty / "core/src").mkdir(parents=True)
    (empty / "core/pyproject.toml").write_text('[project]\nname = "praisonai-persistence"\nversion = "0.1.0"\n')
    code = """if True:
        import sys
        from pathlib import Path
        sys.path.append(sys.argv[1])
        from new_backend import RefusedError, plan
        for name in ("theirs", "other", "alias", "sqlite", "free"):
            try:
                plan(name, ["state"], into=Path(), root=Path(sys.argv[2]))
            except RefusedError as error:
                print(error)
            else:
                print(name, "is free")
    """
    assert run("-c", code, repo.ROOT / "tools", empty, cwd=tmp_path, site=site).splitlines() == [
        "the name 'async_theirs' is taken by an installed state backend",
        "the name 'other' is taken by an installed state backend",
        "the name 'alias' is taken by an installed state backend",
        "the name 'sqlite' is taken by praisonai-persistence-sqlite",
        "free is free",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": []}, "kinds are some of conversation,knowledge,state"),
        ({"kinds": ["state", "cache"]}, "kinds are some of conversation,knowledge,state"),
        ({"title": "my db"}, "cannot be a title"),
        ({"title": "myDB"}, "cannot be a title"),
        ({"title": "M" * 40}, "cannot be a title"),
        ({"dist": "-x"}, "cannot be the name of a distribution"),
        ({"dist": "a/b"}, "cannot be the name of a distribution"),
        ({"dist": "lambda"}, "cannot be the name of a distribution"),
        ({"dist": "json"}, "json can be imported already; the distribution needs another name"),
        ({"dist": "mine", "into": None}, "in this repository the folder names the distribution"),
        ({"into": Path("/no/such/folder")}, "there is no folder /no/such/folder"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(message)):
        plan("mydb", **{"kinds": ["state"], "into": tmp_path, **options})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "praisonai-persistence-mydb").symlink_to("nowhere")
    with pytest.raises(RefusedError, match="praisonai-persistence-mydb exists"):
        plan("mydb", ["state"], into=tmp_path)
    (copy / "packages/mydb").mkdir()
    with pytest.raises(RefusedError, match="mydb exists"):
        plan("mydb", ["state"], root=copy)
    (copy / "packages/mydb").rmdir()
    (copy / "tests/integration/test_mydb.py").write_text("mine")
    with pytest.raises(RefusedError, match=r"test_mydb\.py exists"):
        plan("mydb", ["state"], root=copy)


def failing(number: int, patch: pytest.MonkeyPatch) -> None:
    """Let the file of that number fail half-way, as on a full disk."""
    count, write = 0, Path.write_text

    def write_text(path: Path, text: str, **options: str) -> int:
        nonlocal count
        count += 1
        if count == number:
            write(path, text[: len(text) // 2], **options)
            raise OSError("no space left")
        return write(path, text, **options)

    patch.setattr(Path, "write_text", write_text)


@pytest.mark.parametrize("number", [1, 5, 9])
def test_nothing_half_written_is_left(copy: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan("mydb", ["conversation", "state"], root=copy)
    before = snapshot(copy)
    with monkeypatch.context() as patch:
        failing(number, patch)
        with pytest.raises(OSError, match="no space left"):
            new_backend.create(made)
    assert snapshot(copy) == before
    new_backend.create(made)
    assert len(snapshot(copy)) == len(before) + 11


@pytest.mark.parametrize("obstacle", [lambda made: made.folder.mkdir(), lambda made: made.integration.touch()])
def test_what_appears_meanwhile_is_kept_and_nothing_else_is_left(copy: Path, obstacle: Callable[..., None]) -> None:
    made = plan("mydb", ["state"], root=copy)
    obstacle(made)
    if made.folder.is_dir():
        (made.folder / "theirs").touch()
    before = snapshot(copy)
    with pytest.raises(OSError, match="exist|empty"):
        new_backend.create(made)
    assert snapshot(copy) == before


def test_the_command_refuses_in_one_line_and_says_how_to_call_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, repo.ROOT / "tools/new_backend.py", "My", "--kinds", "state", "--into", tmp_path],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("new_backend.py: error: 'My' cannot be a backend's name: ")
    assert list(tmp_path.iterdir()) == []
