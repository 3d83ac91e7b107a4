"""The packages that a change affects: those it touches, and those that depend on them.

    python tools/affected.py origin/main                  folders, one a line
    python tools/affected.py origin/main --integration    names of integration tests, as JSON
    python tools/affected.py --full                       places whose conformance suites run in full, one a line

The change is everything between the merge base of BASE and the working tree. Documentation affects nothing, an
integration test itself alone; whatever belongs to no single package (the core, the tools, configuration) affects all.

In full run the suites of the embedded backends, and of the packages that the change affects. A change that affects all
adds one server for each kind of store: nobody waits for thirty.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import repo

EMBEDDED = ("memory", "sqlite", "json")
"""Backends that run in full with every change: they need no server, and are quick."""
SERVERS = ("postgres", "pgvector")
"""Backends that stand for all servers where a change affects everything: conversation and state, knowledge."""


def changed_files(base: str, root: Path = repo.ROOT) -> list[str]:
    """Paths that differ from the merge base of `base`, new files included.

    Raises:
        subprocess.CalledProcessError: git does not know `base`.
    """

    def git(*arguments: str) -> list[str]:
        output = subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE).stdout
        return [name.decode() for name in output.split(b"\0") if name]

    start = git("merge-base", base, "HEAD")[0].strip()
    # A rename counts as a deletion and an addition: both packages are affected.
    return git("diff", "--name-only", "--no-renames", "-z", start) + git(
        "ls-files", "--others", "--exclude-standard", "-z"
    )


def affected(paths: Iterable[str], root: Path = repo.ROOT) -> list[repo.Dist]:
    """The distributions that changes of these files affect, dependents included."""
    everything = repo.dists(root)
    by_folder = {dist.folder: dist for dist in everything}
    tests = {_test_file(name) for name in repo.integration_tests(root)}
    changed = []
    for path in paths:
        folder = "/".join(path.split("/")[:2])
        if path.startswith("docs/") or path.endswith(".md") or path in tests:
            continue
        if folder not in by_folder:
            return everything
        changed.append(by_folder[folder])
    return repo.dependents(changed, everything)


def affected_tests(paths: Iterable[str], root: Path = repo.ROOT) -> list[str]:
    """The integration tests that changes of these files affect: by a package that they need, or in their own file."""
    paths = list(paths)
    dists = affected(paths, root)
    return [
        name
        for name, needed in repo.integration_tests(root).items()
        if _test_file(name) in paths or any(dist in dists for dist in needed)
    ]


def base_of_change(root: Path = repo.ROOT) -> str | None:
    """Where the change at hand began: the branch that it left, or the commit before on that branch itself.

    Returns:
        A commit for [changed_files][]; None where git cannot tell (no repository, a clone of one commit).
    """

    def commit(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.decode().strip()

    head = commit("rev-parse", "--verify", "HEAD")
    for branch in ("origin/main", "main"):
        base = commit("merge-base", branch, "HEAD")
        if base is not None and base != head:
            return base
    return commit("rev-parse", "--verify", "HEAD~1")


def full_places(root: Path = repo.ROOT) -> list[str]:
    """Files and folders of tests whose conformance suites run in full with the change at hand."""
    base = base_of_change(root)
    everything = repo.dists(root)
    # What git cannot tell may be anything.
    dists = everything if base is None else affected(changed_files(base, root), root)
    names = {*EMBEDDED}
    if dists == everything:
        names.update(SERVERS)
        dists = []
    elif base is not None:
        own = {name for name, needed in repo.integration_tests(root).items() if needed != everything}
        names.update(own & {*affected_tests(changed_files(base, root), root)})
    places = [_test_file(name) for name in sorted(names)]
    places += [
        f"{dist.folder}/tests" for dist in everything if not dist.is_core and (dist in dists or dist.short in EMBEDDED)
    ]
    return [place for place in places if (root / place).exists()]


def _test_file(name: str) -> str:
    return f"tests/integration/test_{name}.py"


def main() -> None:
    """Prints what the change since BASE affects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", help="a commit, branch or tag; default: where this branch left main")
    parser.add_argument("--integration", action="store_true", help="print the integration tests to run, as JSON")
    parser.add_argument("--full", action="store_true", help="print the places whose conformance suites run in full")
    arguments = parser.parse_args()
    if arguments.full:
        print("\n".join(full_places()))
        return
    base = arguments.base or base_of_change()
    if base is None:
        parser.error("git cannot tell where this change began: name a commit")
    paths = changed_files(base)
    if arguments.integration:
        print(json.dumps(affected_tests(paths)))
    else:
        print("\n".join(dist.folder for dist in affected(paths)))


if __name__ == "__main__":
    main()
