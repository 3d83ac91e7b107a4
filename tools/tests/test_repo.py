"""Discovery of distributions, and the small tools that stand on it, on a made-up repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import affected
import pytest
import release_version
import repo
import tests_summary


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A core, a library `sql`, two backends on it, one of its own, and their integration tests."""
    core = '"praisonai-persistence>=0.1,<1"'
    sql = '"praisonai-persistence-sql>=0.2,<1"'
    packages = {
        "sql": ("0.2.3", core, {}),
        "one": ("0.1.0", f"{core}, {sql}", {"one": "m:A", "two": "m:B"}),
        "big-two": ("0.1.0", f"{core}, {sql}, 'driver[fast] >= 3 ; python_version > \"3\"'", {"big_two": "m:A"}),
        "alone": ("1.4.0", core, {"alone": "m:A"}),
    }
    write(tmp_path / "core/pyproject.toml", '[project]\nname = "praisonai-persistence"\nversion = "0.1.0"\n')
    for name, (version, dependencies, backends) in packages.items():
        text = f'[project]\nname = "praisonai-persistence-{name}"\nversion = "{version}"\n'
        text += f"dependencies = [{dependencies}]\n"
        if backends:
            text += '[project.entry-points."praisonai.state_stores"]\n'
            text += "".join(f'{backend} = "{value}"\n' for backend, value in backends.items())
        write(tmp_path / f"packages/{name}/pyproject.toml", text)
    for name in ("one", "two", "big_two", "alone", "whole_system"):
        write(tmp_path / f"tests/integration/test_{name}.py", "")
    return tmp_path


def folders(dists: list[repo.Dist]) -> list[str]:
    return [dist.folder for dist in dists]


def test_dists_are_found_core_first(root: Path) -> None:
    dists = repo.dists(root)
    assert folders(dists) == ["core", "packages/alone", "packages/big-two", "packages/one", "packages/sql"]
    assert dists[2].import_name == "praisonai_persistence_big_two"
    assert [dist.pin for dist in dists] == [">=0.1,<1", ">=1.4,<2", ">=0.1,<1", ">=0.1,<1", ">=0.2,<1"]


def test_requirements_drop_extras_markers_and_spaces() -> None:
    lines = ["driver[fast] >= 3, <4 ; python_version > '3'", "Plain_Name"]
    assert repo.requirements(lines) == {"driver": ">=3,<4", "plain-name": ""}


def test_closure_and_dependents(root: Path) -> None:
    dists = repo.dists(root)
    one, sql = dists[3], dists[4]
    assert folders(repo.closure([one], dists)) == ["core", "packages/one", "packages/sql"]
    assert folders(repo.dependents([sql], dists)) == ["packages/big-two", "packages/one", "packages/sql"]
    assert repo.dependents([dists[0]], dists) == dists


def test_integration_tests_know_what_they_need(root: Path) -> None:
    tests = repo.integration_tests(root)
    assert folders(tests["alone"]) == ["core", "packages/alone"]
    assert folders(tests["big_two"]) == ["core", "packages/big-two", "packages/sql"]
    assert folders(tests["two"]) == ["core", "packages/one", "packages/sql"]  # by the name of a backend
    assert tests["whole_system"] == repo.dists(root)


@pytest.mark.parametrize(
    ("paths", "expected", "tests"),
    [
        (["packages/alone/src/x.py"], ["packages/alone"], ["alone", "whole_system"]),
        (
            ["packages/sql/src/x.py"],
            ["packages/big-two", "packages/one", "packages/sql"],
            ["big_two", "one", "two", "whole_system"],
        ),
        (["README.md", "docs/x.rst", "packages/sql/README.md"], [], []),
        (["tests/integration/test_two.py"], [], ["two"]),
    ],
)
def test_affected(root: Path, paths: list[str], expected: list[str], tests: list[str]) -> None:
    assert folders(affected.affected(paths, root)) == expected
    assert affected.affected_tests(paths, root) == tests


@pytest.mark.parametrize("path", ["core/src/x.py", "noxfile.py", "tests/integration/conftest.py", "packages/gone/x.py"])
def test_what_belongs_to_no_package_affects_all(root: Path, path: str) -> None:
    assert affected.affected(["README.md", path], root) == repo.dists(root)


def test_changed_files_hold_commits_edits_and_new_files(root: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)

    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "one")
    git("checkout", "-b", "topic")
    write(root / "packages/one/committed.py", "")
    git("add", ".")
    git("commit", "-m", "two")
    write(root / "packages/one/pyproject.toml", "")
    write(root / "packages/one/new ü.py", "")
    assert sorted(affected.changed_files("main", root)) == [
        "packages/one/committed.py",
        "packages/one/new ü.py",
        "packages/one/pyproject.toml",
    ]


@pytest.fixture
def git(root: Path):
    """A repository of that tree, with one commit on `main`; the function runs git in it."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)

    for name in ("memory", "json", "postgres", "pgvector"):
        write(root / f"tests/integration/test_{name}.py", "")
    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "one")
    return git


def places(*names: str) -> list[str]:
    return [f"tests/integration/test_{name}.py" for name in names]


def test_the_change_at_hand_begins_where_the_branch_left(root: Path, git) -> None:
    assert affected.base_of_change(root) is None  # one commit, and nothing before it
    write(root / "packages/one/x.py", "")
    git("add", ".")
    git("commit", "-m", "two")
    assert affected.changed_files(affected.base_of_change(root), root) == ["packages/one/x.py"]
    git("checkout", "-b", "topic")
    for number in range(2):
        write(root / f"packages/alone/x{number}.py", "")
        git("add", ".")
        git("commit", "-m", "more")
    found = affected.changed_files(affected.base_of_change(root), root)
    assert found == ["packages/alone/x0.py", "packages/alone/x1.py"]


def test_in_full_run_the_embedded_ones_and_what_the_change_affects(root: Path, git) -> None:
    everything = places("json", "memory", "pgvector", "postgres")
    assert affected.full_places(root) == everything  # git cannot tell
    git("checkout", "-b", "topic")
    write(root / "README.md", "")
    git("add", ".")
    git("commit", "-m", "two")
    assert affected.full_places(root) == places("json", "memory")
    write(root / "packages/sql/x.py", "")
    write(root / "packages/one/tests/test_one.py", "")
    assert affected.full_places(root) == [*places("big_two", "json", "memory", "one", "two"), "packages/one/tests"]
    write(root / "core/x.py", "")
    assert affected.full_places(root) == everything


def test_without_a_repository_nothing_is_known(root: Path) -> None:
    assert affected.base_of_change(root) is None


def test_release_tag_names_dist_and_version(root: Path) -> None:
    assert release_version.resolve("praisonai-persistence-v0.1.0", root).folder == "core"
    assert release_version.resolve("praisonai-persistence-big-two-v0.1.0", root).folder == "packages/big-two"


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("praisonai-persistence-sql-v0.2.4", r"says 0\.2\.4, packages/sql/pyproject.toml says 0\.2\.3"),
        ("praisonai-persistence-none-v0.1.0", "distributions are praisonai-persistence, "),
        ("v0.1.0", "is not <distribution>-v<version>"),
    ],
)
def test_wrong_release_tags_are_refused(root: Path, tag: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        release_version.resolve(tag, root)


def test_summary_counts_and_groups_reasons(tmp_path: Path) -> None:
    skip = '<testcase><skipped type="pytest.skip" message="Skipped: no server"/></testcase>'
    xfail = '<testcase><skipped type="pytest.xfail" message="known"/></testcase>'
    failed = "<testcase><failure/></testcase><testcase><error/></testcase>"
    report = tmp_path / "tests.xml"
    report.write_text(f"<testsuites><testsuite><testcase/>{skip}{xfail}{skip}{failed}</testsuite></testsuites>")
    assert str(tests_summary.read(report)).splitlines() == [
        "     2 skipped: no server",
        "     1 skipped: expected failure: known",
        "1 passed, 2 failed, 3 skipped",
    ]
