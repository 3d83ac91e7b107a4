"""The scaffold: what it writes installs, registers, keeps the rules of the repository, and passes its own tests."""

from __future__ import annotations

import importlib.util
import itertools
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
import pytest
import repo

from praisonai_persistence._new import RefusedError, create, plan
from praisonai_persistence._new.planning import BASES, CORE, KINDS, LIBRARIES, LONGEST

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


NEW = ("-m", "praisonai_persistence", "new")
QUICK = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--conformance-tier=quick")
COMBINATIONS = [
    (base, ",".join(kinds), server, native)
    for base, possible in BASES.items()
    for number in range(1, len(possible) + 1)
    for kinds in itertools.combinations(possible, number)
    for server in (False, True)
    for native in ((False, True) if server and base != "sql" else (False,))
]
"""Everything that can be asked for: base, kinds, whether a server, whether with an async client."""


@pytest.mark.slow
def test_a_project_of_its_own_installs_registers_and_passes_the_kit(tmp_path: Path) -> None:
    options = ["--kinds", ALL, "--title", "ScaffoldedDB", "--server", "--async", "--dist", "Acme-Scaffolded"]
    said = run(*NEW, "scaffolded", *options, cwd=tmp_path)
    project, site = tmp_path / "Acme-Scaffolded", tmp_path / "site"
    assert said.splitlines()[0] == "written: Acme-Scaffolded"
    source = ["__init__", "_driver", "_entries", "_standin", *ALL.split(",")]
    assert set(snapshot(project)) == {
        "README.md",
        "pyproject.toml",
        "src/acme_scaffolded/py.typed",
        *(f"src/acme_scaffolded/{name}.py" for name in source),
        "tests/test_conformance.py",
        "tests/test_package.py",
    }
    install(project, site)
    for kind, found in registered(site).items():
        store = f"acme_scaffolded:{{}}ScaffoldedDB{kind.capitalize()}Store"
        assert ["async_scaffolded", "Acme-Scaffolded", store.format("Async")] in found
        assert ["scaffolded", "Acme-Scaffolded", store.format("")] in found

    (example,) = re.findall(r"```python\n(.*?)```", (project / "README.md").read_text(), re.DOTALL)
    assert "content='Hello'" in run("-c", example, cwd=tmp_path, site=site)
    assert passed(run(*QUICK, cwd=project, site=site)) > 500


@pytest.mark.slow
@pytest.mark.parametrize("server", [False, True], ids=["embedded", "server"])
@pytest.mark.parametrize(
    ("base", "kinds"), [("document", "conversation,state"), ("vector", "knowledge"), ("sql", "state")]
)
def test_every_base_passes_the_kit_on_its_stand_in(tmp_path: Path, base: str, kinds: str, server: bool) -> None:
    made = plan("scaffolded", kinds.split(","), base=base, server=server, into=tmp_path, dist="acme-scaffolded")
    create(made)
    install(made.folder, tmp_path / "site")
    assert passed(run(*QUICK, cwd=made.folder, site=tmp_path / "site")) > 150


@pytest.mark.slow
def test_a_package_of_the_repository_keeps_its_rules_and_passes_the_kit(copy: Path, tmp_path: Path) -> None:
    problems = set(check_repo.problems(copy))
    before = snapshot(copy)
    said = run(*NEW, "scaf_folded", "--kinds", "state", cwd=copy / "docs")
    folder, name = "packages/scaf-folded", "praisonai-persistence-scaf-folded"
    written = set(snapshot(copy)) - set(before)
    assert {path for path in written if not path.startswith(f"{folder}/")} == {"tests/integration/test_scaf_folded.py"}
    assert (copy / folder / "LICENSE").read_bytes() == (repo.ROOT / "LICENSE").read_bytes()

    # What is left is derived from the packages; the command says how.
    assert "\npython tools/derived.py --write\n" in said
    assert set(check_repo.problems(copy)) - problems
    run("tools/derived.py", "--write", cwd=copy)
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
    assert passed(run(*QUICK, *tests, cwd=copy, site=site)) > 100


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for each combination, under a short name before ours, a long one, and one behind ours."""
    root = tmp_path_factory.mktemp("everything")
    for number, (base, kinds, server, native) in enumerate(COMBINATIONS):
        long = "b" * (LONGEST - 2) + f"{number:02}"
        for name, dist in (
            (f"a{number}", f"acme-a{number}"),
            (long, "m" * (2 * LONGEST - 3) + f"-{number:02}"),
            (f"z{number}", f"zeta-z{number}"),
        ):
            create(plan(name, kinds.split(","), base=base, server=server, native=native, into=root, dist=dist))
    return root


def test_every_combination_is_code(everything: Path) -> None:
    files = snapshot(everything)
    assert len({path.split("/")[0] for path in files}) == 3 * len(COMBINATIONS)
    for path, content in files.items():
        text = content.decode()
        assert "$" not in text, path
        assert text == "" or text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        if path.endswith(".py"):
            compile(text, path, "exec")


def test_every_combination_keeps_our_rules_of_style(everything: Path) -> None:
    pytest.importorskip("ruff")
    run("-m", "ruff", "check", "--no-cache", ".", cwd=everything)
    run("-m", "ruff", "format", "--no-cache", "--check", ".", cwd=everything)


def test_the_rules_of_style_are_ours(everything: Path) -> None:
    ours = repo.read_toml(repo.ROOT / "pyproject.toml")["tool"]["ruff"]
    theirs = repo.read_toml(everything / "acme-a0/pyproject.toml")["tool"]["ruff"]
    assert (theirs["target-version"], theirs["line-length"]) == (ours["target-version"], ours["line-length"])
    assert theirs["lint"]["select"] == ours["lint"]["select"]
    assert theirs["lint"]["ignore"] == ours["lint"]["ignore"]


@pytest.mark.slow
def test_every_combination_has_types(everything: Path) -> None:
    pytest.importorskip("mypy")
    sources = [str(path) for path in sorted(everything.glob("acme-*/src"))]
    run("-m", "mypy", "--strict", "--cache-dir", os.devnull, "--config-file", os.devnull, *sources, cwd=everything)


def test_kinds_in_any_order_and_twice(tmp_path: Path) -> None:
    made = plan("mydb", ["state", "conversation", "state"], into=tmp_path)
    assert made.kinds == ("conversation", "state")
    assert made.words == "Conversations and state"
    assert plan("my_own_db", ["state"], into=tmp_path).title == "MyOwnDb"
    assert plan("my_own_db", ["state"], into=tmp_path).dist == "praisonai-persistence-my-own-db"


def test_libraries_and_kinds_are_those_of_the_repository() -> None:
    assert sorted(dist.short for dist in repo.dists()[1:] if not dist.kinds) == sorted(LIBRARIES)
    assert (CORE, KINDS) == (repo.CORE, repo.KINDS)


def test_the_wheel_holds_the_templates(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = "import sys, hatchling.build; hatchling.build.build_wheel(sys.argv[1])"
    run("-c", build, tmp_path, cwd=repo.ROOT / "core")
    (wheel,) = tmp_path.iterdir()
    folder = "praisonai_persistence/_new/templates"
    names = {path.name for path in (repo.ROOT / "core/src" / folder).iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        assert {f"{folder}/{name}" for name in names} <= set(archive.namelist())


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
        ("d" * (LONGEST + 1), "cannot be a backend's name"),
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
            plan(name, ["state"], into=into, clone=repo.ROOT)
    with pytest.raises(RefusedError, match=re.escape(message)):
        plan(name, ["state"], into=tmp_path)


def test_names_of_installed_and_of_known_backends_are_taken(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(
        "[praisonai.state_stores]\nasync_theirs = a:b\nother = a:c\n[praisonai.state_stores.aliases]\nalias = a:c\n"
    )
    code = """if True:
        from pathlib import Path
        from praisonai_persistence._new import RefusedError, plan
        for name in ("theirs", "other", "alias", "sqlite", "free"):
            try:
                plan(name, ["state"], into=Path())
            except RefusedError as error:
                print(error)
            else:
                print(name, "is free")
    """
    assert run("-c", code, cwd=tmp_path, site=site).splitlines() == [
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
        ({"base": "tables"}, "a base is one of entries, document, vector, sql"),
        ({"base": "vector"}, "the base vector makes knowledge stores; for state take entries or document or sql"),
        ({"native": True}, "--async is for clients of a server"),
        ({"native": True, "server": True, "base": "sql"}, "async SQL drivers have pools of their own"),
        ({"title": "my db"}, "cannot be a title"),
        ({"title": "myDB"}, "cannot be a title"),
        ({"title": "M" * 40}, "cannot be a title"),
        ({"dist": "-x"}, "cannot be the name of a distribution"),
        ({"dist": "a/b"}, "cannot be the name of a distribution"),
        ({"dist": "lambda"}, "cannot be the name of a distribution"),
        ({"dist": "json"}, "json can be imported already; the distribution needs another name"),
        ({"dist": "mine", "into": None, "clone": repo.ROOT}, "in this repository the folder names the distribution"),
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
        plan("mydb", ["state"], clone=copy)
    (copy / "packages/mydb").rmdir()
    (copy / "tests/integration/test_mydb.py").write_text("mine")
    with pytest.raises(RefusedError, match=r"test_mydb\.py exists"):
        plan("mydb", ["state"], clone=copy)


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
    made = plan("mydb", ["conversation", "state"], clone=copy)
    before = snapshot(copy)
    with monkeypatch.context() as patch:
        failing(number, patch)
        with pytest.raises(OSError, match="no space left"):
            create(made)
    assert snapshot(copy) == before
    create(made)
    assert len(snapshot(copy)) == len(before) + 12


@pytest.mark.parametrize("obstacle", [lambda made: made.folder.mkdir(), lambda made: made.integration.touch()])
def test_what_appears_meanwhile_is_kept_and_nothing_else_is_left(copy: Path, obstacle: Callable[..., None]) -> None:
    made = plan("mydb", ["state"], clone=copy)
    obstacle(made)
    if made.folder.is_dir():
        (made.folder / "theirs").touch()
    before = snapshot(copy)
    with pytest.raises(OSError, match="exist|empty"):
        create(made)
    assert snapshot(copy) == before


def test_the_command_refuses_in_one_line_and_says_how_to_call_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *NEW, "My", "--kinds", "state", "--into", tmp_path],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "python -m praisonai_persistence new: error: 'My' cannot be a backend's name: "
    )
    assert list(tmp_path.iterdir()) == []
