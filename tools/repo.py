"""What stands in this repository: its distributions, their entry points, and who depends on whom.

Everything is read from the folders and their `pyproject.toml`, so a new package is known the moment it exists. Used by
the noxfile and by the other tools. Standard library only (on Python 3.10 also `tomli`, which nox brings along).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
CORE = "praisonai-persistence"
KINDS = ("conversation", "knowledge", "state")
REPOSITORY = "https://github.com/praisonai-persistence/praisonai-persistence"

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*([^;]*)")


@dataclass(frozen=True)
class Dist:
    """One distribution of the repository: the core, or a folder of `packages/`."""

    root: Path
    folder: str
    """Relative to the root, with slashes: `core`, `packages/sqlite`."""

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.root / self.folder

    @property
    def is_core(self) -> bool:
        """Whether this is the core and no package."""
        return self.folder == "core"

    @property
    def short(self) -> str:
        """The name of the folder: `core`, `sqlite`."""
        return self.path.name

    @property
    def expected_name(self) -> str:
        """The distribution's name, by its folder."""
        return CORE if self.is_core else f"{CORE}-{self.short}"

    @property
    def import_name(self) -> str:
        """The package that it installs, by its folder."""
        return self.expected_name.replace("-", "_")

    @property
    def source(self) -> Path:
        """The folder of that package."""
        return self.path / "src" / self.import_name

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """All of `pyproject.toml`."""
        return read_toml(self.path / "pyproject.toml")

    @property
    def project(self) -> dict[str, Any]:
        """The table `[project]`."""
        table: dict[str, Any] = self.pyproject.get("project", {})
        return table

    @property
    def name(self) -> str:
        """The distribution's name, as written."""
        return str(self.project.get("name", ""))

    @property
    def version(self) -> str:
        """The version, as written."""
        return str(self.project.get("version", ""))

    @property
    def urls(self) -> dict[str, str]:
        """What the table `[project.urls]` has to say, by the folder."""
        return {
            "Documentation": f"{REPOSITORY}/blob/main/{self.folder}/README.md",
            "Source": f"{REPOSITORY}/tree/main/{self.folder}",
            "Issues": f"{REPOSITORY}/issues",
            "Changelog": f"{REPOSITORY}/releases",
        }

    @property
    def dependencies(self) -> dict[str, str]:
        """The runtime dependencies: normalised name to specifier, `{"praisonai-persistence": ">=0.1,<1"}`."""
        return requirements(self.project.get("dependencies", []))

    @property
    def entry_points(self) -> dict[str, dict[str, str]]:
        """Every entry-point group as it is written: group to name to object reference."""
        groups: dict[str, dict[str, str]] = self.project.get("entry-points", {})
        return groups

    def backends(self, kind: str) -> dict[str, str]:
        """The canonical backends of a kind: name to object reference."""
        return self.entry_points.get(f"praisonai.{kind}_stores", {})

    def aliases(self, kind: str) -> dict[str, str]:
        """The aliases of a kind: name to the object reference of the canonical entry."""
        return self.entry_points.get(f"praisonai.{kind}_stores.aliases", {})

    @property
    def kinds(self) -> list[str]:
        """The kinds of store that it offers; none for a library or a command."""
        return [kind for kind in KINDS if self.backends(kind)]

    @property
    def names(self) -> set[str]:
        """All names that lead to a store of this distribution, aliases included."""
        return {name for kind in KINDS for name in (*self.backends(kind), *self.aliases(kind))}

    @property
    def pin(self) -> str:
        """What every dependent must write: from this minor version to below the next major one."""
        match = re.match(r"(\d+)\.(\d+)", self.version)
        return f">={match[0]},<{int(match[1]) + 1}" if match else ""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as nested dictionaries."""
    with path.open("rb") as file:
        content: dict[str, Any] = tomllib.load(file)
    return content


def toml_table(name: str, values: dict[str, str]) -> str:
    """A TOML table of plain texts."""
    return "\n".join([f"[{name}]", *(f'{key} = "{value}"' for key, value in values.items())]) + "\n"


def normalise(name: str) -> str:
    """The one spelling of a distribution name, by the rule of the packaging standards."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(lines: Iterable[str]) -> dict[str, str]:
    """Normalised name to specifier (without spaces) of requirement lines; extras and markers are dropped."""
    found = {}
    for line in lines:
        if match := _REQUIREMENT.match(line):
            found[normalise(match[1])] = match[2].replace(" ", "")
    return found


def dists(root: Path = ROOT) -> list[Dist]:
    """All distributions: the core first, then the packages by name."""
    packages = sorted(path.parent.relative_to(root).as_posix() for path in root.glob("packages/*/pyproject.toml"))
    folders = ["core", *packages]
    return [Dist(root, folder) for folder in folders]


def by_name(everything: Iterable[Dist]) -> dict[str, Dist]:
    """Distributions by their name."""
    return {dist.name: dist for dist in everything}


def closure(wanted: Iterable[Dist], everything: Iterable[Dist]) -> list[Dist]:
    """The distributions of this repository that `wanted` need, themselves included, in the order of `everything`."""
    known = by_name(everything)
    needed: set[str] = set()
    queue = [dist.name for dist in wanted]
    while queue:
        name = queue.pop()
        if name in known and name not in needed:
            needed.add(name)
            queue.extend(known[name].dependencies)
    return [dist for name, dist in known.items() if name in needed]


def dependents(changed: Iterable[Dist], everything: Iterable[Dist]) -> list[Dist]:
    """`changed` and every distribution that needs one of them, directly or not, in the order of `everything`."""
    everything = list(everything)
    names = {dist.name for dist in changed}
    return [dist for dist in everything if names & {needed.name for needed in closure([dist], everything)}]


def integration_tests(root: Path = ROOT) -> dict[str, list[Dist]]:
    """The files `tests/integration/test_<name>.py`: name to the distributions that it needs.

    A name that is a package's folder, or a backend or alias of a distribution, needs that one and what it depends on.
    Any other file is a test of the whole system, and needs everything.
    """
    everything = dists(root)
    tests = {}
    for path in sorted(root.glob("tests/integration/test_*.py")):
        name = path.stem.removeprefix("test_")
        owner = name.removeprefix("fake_")
        owners = [dist for dist in everything if dist.short.replace("-", "_") == owner]
        owners = owners or [dist for dist in everything if owner in dist.names]
        tests[name] = closure(owners, everything) if owners else everything
    return tests


def files(root: Path = ROOT) -> list[Path]:
    """Every file that git tracks or would add, so build products and environments are left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    output = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout
    paths = (root / name.decode() for name in sorted(set(output.split(b"\0"))) if name)
    return [path for path in paths if path.is_file()]
