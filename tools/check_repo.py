"""Asserts the mechanical rules of the repository, so that nobody needs to remember them.

Prints every violation as `file: what is wrong, and what it should be` and exits with 1 if there is one. The sizes
of the packages' modules are reported, never failed. Run by `./dev lint`.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import derived
import readme_table
import repo

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PACKAGE_PYPROJECT_LINES = 60
KIND_LINES = 250
"""Target for the code of one kind of store in a backend package."""

# Installing must work from any index or mirror, so no file names one. Written in parts, or this file would break its
# own rule.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("pypi", "python", "org"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("registry", "npmjs", "org"),
        ("conda", "anaconda", "org"),
    )
)

_NAME = re.compile(r"[a-z0-9_]+")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?")
_FOLDER = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_USES = re.compile(r"^\s*(?:-\s*)?uses:\s*['\"]?([^\s'\"#]+)['\"]?\s*(#.*)?$")
_PINNED = re.compile(r"[^@]+@[0-9a-f]{40}")


def check_names(dist: repo.Dist) -> Iterator[str]:
    """Folder `x`, distribution `praisonai-persistence-x` and import `praisonai_persistence_x` belong together."""
    if not _FOLDER.fullmatch(dist.short):
        yield f"{dist.folder}: a folder is named in lower case, digits and single hyphens"
    if dist.name != dist.expected_name:
        yield f'{dist.folder}/pyproject.toml: name is "{dist.name}", by its folder it is "{dist.expected_name}"'
    source = dist.path / "src"
    found = sorted(path.name for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    found = [name for name in found if name != "__pycache__"]
    if found != [dist.import_name]:
        yield f"{dist.folder}/src: holds {found}, by the folder's name it holds {dist.import_name} alone"


def check_files(dist: repo.Dist) -> Iterator[str]:
    """The files that every distribution has."""
    for path in ("README.md", f"src/{dist.import_name}/__init__.py", f"src/{dist.import_name}/py.typed"):
        if not (dist.path / path).is_file():
            yield f"{dist.folder}/{path}: missing"
    if not any(dist.path.glob("tests/**/test_*.py")):
        yield f"{dist.folder}/tests: holds no test_*.py"
    # Each wheel and sdist carries the licence text, and a build cannot reach outside its folder.
    licence, ours = dist.root / "LICENSE", dist.path / "LICENSE"
    if licence.is_file() and (not ours.is_file() or ours.read_bytes() != licence.read_bytes()):
        yield f"{dist.folder}/LICENSE: is not a copy of the root's LICENSE (cp LICENSE {dist.folder}/)"


def check_pyproject(dist: repo.Dist) -> Iterator[str]:
    """What a `pyproject.toml` must and must not say."""
    file = f"{dist.folder}/pyproject.toml"
    lines = len((dist.path / "pyproject.toml").read_text(encoding="utf-8").splitlines())
    if not dist.is_core and lines > PACKAGE_PYPROJECT_LINES:
        yield f"{file}: {lines} lines, at most {PACKAGE_PYPROJECT_LINES}"
    if extra := sorted(set(dist.pyproject) - {"build-system", "project"}):
        yield f"{file}: tables {extra}; tool configuration stands in the root's pyproject.toml only"
    if dist.pyproject.get("build-system", {}).get("build-backend") != "hatchling.build":
        yield f'{file}: build-backend must be "hatchling.build"'
    expected = {"requires-python": ">=3.10", "license": "MIT", "readme": "README.md"}
    for key, value in expected.items():
        if dist.project.get(key) != value:
            yield f'{file}: {key} is {dist.project.get(key)!r}, must be "{value}"'
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", dist.version):
        yield f"{file}: version {dist.version!r} must be written out as MAJOR.MINOR.PATCH"
    classifiers = dist.project.get("classifiers", [])
    wanted = {f"Programming Language :: Python :: {version}" for version in PYTHONS} | {"Typing :: Typed"}
    if missing := sorted(wanted - set(classifiers)):
        yield f"{file}: classifiers lack {missing}"
    if dist.project.get("urls") != dist.urls:
        yield f"{file}: [project.urls] must be\n{repo.toml_table('project.urls', dist.urls)}"


def check_entry_points(dist: repo.Dist) -> Iterator[str]:
    """Groups, names and values of entry points; every alias belongs to a canonical entry of the same distribution."""
    file = f"{dist.folder}/pyproject.toml"
    groups = ("stores", "stores.aliases", "layouts.praisonai")
    known = {f"praisonai.{kind}_{group}" for kind in repo.KINDS for group in groups}
    for group, entries in dist.entry_points.items():
        if group.startswith("praisonai.") and group not in known:
            yield f"{file}: entry-point group {group} is unknown; groups are {sorted(known)}"
        for name, value in entries.items():
            if not _REFERENCE.fullmatch(value):
                yield f'{file}: {group}: {name} = "{value}" is no object reference "module:object"'
            elif group in known and value.split(":")[0].split(".")[0] != dist.import_name:
                yield f'{file}: {group}: {name} = "{value}" lies outside {dist.import_name}'
            if group in known and not _NAME.fullmatch(name):
                yield f"{file}: {group}: {name} must be lower case letters, digits and underscores"
    for kind in repo.KINDS:
        canonical = dist.backends(kind)
        for alias, value in dist.aliases(kind).items():
            if value not in canonical.values():
                yield f'{file}: {kind} alias {alias} = "{value}" equals no canonical entry of this distribution'
            if alias in canonical:
                yield f"{file}: {alias} is both a {kind} backend and an alias"


def check_dependencies(dist: repo.Dist, everything: list[repo.Dist]) -> Iterator[str]:
    """One pin policy for what the repository has itself, and no backend that needs another one."""
    file = f"{dist.folder}/pyproject.toml"
    known = repo.by_name(everything)
    if dist.is_core and dist.dependencies:
        yield f"{file}: the core has no runtime dependency, but names {sorted(dist.dependencies)}"
    if not dist.is_core and repo.CORE not in dist.dependencies:
        yield f"{file}: dependencies lack the core, {repo.CORE}{known[repo.CORE].pin}"
    for name, specifier in dist.dependencies.items():
        if name in known and specifier != known[name].pin:
            yield f'{file}: "{name}{specifier}" must be "{name}{known[name].pin}" (this minor to below the next major)'
        elif name not in known and name.startswith(repo.CORE):
            yield f"{file}: {name} is no distribution of this repository"
    if dist.kinds:
        for other in repo.closure([dist], everything):
            if other != dist and other.kinds and not other.is_core:
                yield f"{file}: needs {other.name}, another backend; what two share is a library distribution"


def check_extras(everything: list[repo.Dist]) -> Iterator[str]:
    """The core has the extra of the conformance kit; the others are derived."""
    core = everything[0]
    if not core.project.get("optional-dependencies", {}).get("testing"):
        yield f"{core.folder}/pyproject.toml: the extra testing (the conformance kit) is missing"


def check_unique(everything: list[repo.Dist]) -> Iterator[str]:
    """Inside the repository a name of a kind has one owner."""
    for kind in repo.KINDS:
        owners: dict[str, str] = {}
        for dist in everything:
            for name in (*dist.backends(kind), *dist.aliases(kind)):
                if owners.setdefault(name, dist.name) != dist.name:
                    yield f"{dist.folder}/pyproject.toml: {kind} name {name} belongs to {owners[name]} already"


def check_integration(everything: list[repo.Dist]) -> Iterator[str]:
    """Every distribution with a backend has its file of integration tests."""
    root = everything[0].root
    names = set(repo.integration_tests(root))
    for dist in everything:
        if dist.kinds and not names & {dist.short.replace("-", "_"), *dist.names}:
            yield f"tests/integration: no test_<backend>.py runs the conformance kit on {dist.name}"


def check_root(root: Path) -> Iterator[str]:
    """The root is no distribution, and its README shows the table of the backends."""
    pyproject = repo.read_toml(root / "pyproject.toml")
    if extra := sorted(set(pyproject) - {"tool"}):
        yield f"pyproject.toml: tables {extra}; the root holds tool configuration only"
    for dist in repo.dists(root):
        words = readme_table.evidence(dist)
        if dist.kinds and not words:
            yield f"{dist.folder}/README.md: no line `**Evidence:** …` that begins with one of {readme_table.WORDS}"
        elif dist.kinds and words != "none" and not readme_table.has_details(dist):
            yield f"{dist.folder}/README.md: no section `## Evidence` that says what the tests run on"
    readme = root / "README.md"
    shown = readme_table.current(readme.read_text(encoding="utf-8")) if readme.is_file() else None
    if shown is None:
        yield f"README.md: needs one {readme_table.BEGIN} and after it one {readme_table.END}"


def check_derived(root: Path) -> Iterator[str]:
    """What is derived from the packages is up to date."""
    for name in derived.outdated(root):
        yield f"{name}: is not what the packages say (python tools/derived.py --write)"


def check_workflows(root: Path) -> Iterator[str]:
    """Actions are pinned by commit, with the version as a comment."""
    for path in sorted((root / ".github").glob("**/*.y*ml")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = _USES.match(line)
            if match and not match[1].startswith("./"):
                where = f"{path.relative_to(root).as_posix()}:{number}"
                if not _PINNED.fullmatch(match[1]):
                    yield f"{where}: {match[1]} must be pinned by its full commit SHA"
                elif not re.match(r"#\s*v\d", match[2] or ""):
                    yield f"{where}: {match[1]} needs its version behind it as a comment: # v1.2.3"


def check_words(root: Path) -> Iterator[str]:
    """No file names the host of a package registry."""
    for path in repo.files(root):
        text = path.read_bytes().decode("utf-8", "replace").lower()
        for host in REGISTRY_HOSTS:
            if host in text:
                yield f"{path.relative_to(root).as_posix()}: names {host}; whoever installs chooses the index"


def code_lines(path: Path) -> int:
    """Lines of a module that hold code: no blank lines, comments or docstrings."""
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    with tokenize.open(path) as file:
        source = file.read()
    lines: set[int] = set()
    for token in tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__):
        if token.type not in skip:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        # A string that stands alone as a statement documents something.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def sizes(dist: repo.Dist) -> str:
    """One line about the sizes of a package's modules, marking those over the target."""
    counts = {path.relative_to(dist.source).as_posix(): code_lines(path) for path in sorted(dist.source.rglob("*.py"))}
    marked = [f"{name} {count}{' (over)' if count > KIND_LINES else ''}" for name, count in counts.items()]
    return f"{dist.folder}: {sum(counts.values())} lines of code: {', '.join(marked)}"


def problems(root: Path = repo.ROOT) -> list[str]:
    """Every violation in the tree at `root`."""
    everything = repo.dists(root)
    found: list[str] = []
    for dist in everything:
        found += check_names(dist)
        found += check_files(dist)
        found += check_pyproject(dist)
        found += check_entry_points(dist)
        found += check_dependencies(dist, everything)
    for check in (check_extras, check_unique, check_integration):
        found += check(everything)
    for check_tree in (check_root, check_derived, check_workflows, check_words):
        found += check_tree(root)
    return found


def main() -> None:
    """Checks this repository."""
    for dist in repo.dists()[1:]:
        print(sizes(dist))
    print(f"(target: {KIND_LINES} lines of code for one kind of store)")
    found = problems()
    for problem in found:
        print(problem)
    if found:
        raise SystemExit(f"{len(found)} rules of the repository broken")
    print("the rules of the repository hold")


if __name__ == "__main__":
    main()
