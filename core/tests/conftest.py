"""Fixtures for tests of discovery, real distributions in a temporary folder, and of the end of event loops."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import praisonai_persistence
from praisonai_persistence import get_default_registry

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported by their files, so this folder is on no path
from mutants import running

CORE = Path(praisonai_persistence.__file__).parent.parent


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs_packages"):
        for name in mark.args:
            pytest.importorskip(f"praisonai_persistence_{name}")


class Site:
    """A folder of installed distributions, as pip leaves them: modules, and a ``*.dist-info`` for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def install(
        self,
        name: str,
        entry_points: Mapping[str, Mapping[str, str]],
        modules: Mapping[str, str] | None = None,
        *,
        version: str = "1.0",
        requires: Sequence[str] = (),
    ) -> None:
        """Write one distribution; ``entry_points`` is group -> name -> value, a short group ``state`` is completed."""
        for module, code in (modules or {}).items():
            file = self.path / f"{module}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code, encoding="utf-8")
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        headers = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
        headers += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text(
            "\n".join(headers) + "\n\nRequires-Dist: no_such_driver; extra == 'text'\n", encoding="utf-8"
        )
        lines = []
        for group, points in entry_points.items():
            kind, dot, suffix = group.partition(".")
            full = group if kind == "praisonai" else f"praisonai.{kind}_stores{dot}{suffix}"
            lines += [f"[{full}]", *(f"{key} = {value}" for key, value in points.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        refresh()


def refresh() -> None:
    """Make imports and all registries look anew."""
    importlib.invalidate_caches()
    for kind in ("conversation", "knowledge", "state"):
        get_default_registry(kind).refresh()


@pytest.fixture
def _clean(tmp_path: Path) -> Iterator[None]:
    """Forget afterwards what a test had installed and imported."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def site(tmp_path: Path, _clean: None) -> Iterator[Site]:
    """A place first on ``sys.path`` where a test installs plugins, beside what is installed already."""
    with pytest.MonkeyPatch.context() as patch:
        folder = Site(tmp_path / "site")
        patch.setattr(sys, "path", [str(folder.path), *sys.path])
        yield folder
    refresh()


@pytest.fixture
def bare_site(tmp_path: Path, _clean: None) -> Iterator[Site]:
    """The same where nothing else is installed, not even the entry points of the core."""
    with pytest.MonkeyPatch.context() as patch:
        folder = Site(tmp_path / "bare")
        patch.setattr(sys, "path", [str(folder.path), str(CORE), sysconfig.get_path("stdlib")])
        refresh()
        yield folder
    refresh()


class Leftovers:
    """Tasks that are under way when their loop is to end; ``seen`` tells what became of them."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Start one that starts another when it is cancelled, and one that goes on until it is cancelled again."""
        self.tasks += [asyncio.create_task(self._heeds()), asyncio.create_task(self._heeds_late())]
        await asyncio.sleep(0)

    async def _heeds(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.tasks.append(asyncio.create_task(self._follows()))

    async def _follows(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        self.seen.append("followed")

    async def _heeds_late(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("asked")
        try:
            await asyncio.Event().wait()
        finally:
            self.seen.append("asked again")


@pytest.fixture
def leftovers() -> Leftovers:
    return Leftovers()


class KitRun:
    """Runs pytest on a module with conformance suites, in another process.

    Attributes:
        module: what the module begins with: the class ``Memory``, a suite of the memory backend.
    """

    module = """
import uuid
import pytest
from praisonai_persistence.testing import ConversationStoreSuite, StoreSpec

class Memory(ConversationStoreSuite):
    @pytest.fixture
    def spec(self):
        return StoreSpec(
            "conversation",
            sync="praisonai_persistence.memory:MemoryConversationStore",
            async_="praisonai_persistence.memory:AsyncMemoryConversationStore",
            options={"name": str(uuid.uuid4())},
        )

"""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, module: str, *arguments: str, conftest: str = "", **environment: str) -> str:
        """Write the module and a ``conftest.py``, run pytest; return what it printed."""
        (self._folder / "test_it.py").write_text(self.module + textwrap.dedent(module), encoding="utf-8")
        (self._folder / "conftest.py").write_text(textwrap.dedent(conftest), encoding="utf-8")
        (self._folder / "pytest.ini").write_text(running.INI, encoding="utf-8")
        plugins = [*running.PLUGINS, *(("-p", "xdist") if "-n" in arguments else ())]
        options = ["-q", "-p", "no:cacheprovider", "--strict-markers", "-rA", *arguments]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *plugins, *options],
            cwd=self._folder,
            capture_output=True,
            text=True,
            env={**os.environ, **running.NO_OTHERS, "PYTEST_ADDOPTS": "", **environment},
        )
        return done.stdout + done.stderr


@pytest.fixture
def run(tmp_path: Path) -> KitRun:
    return KitRun(tmp_path)


@pytest.fixture
def program(tmp_path):
    """Run a program; it prints JSON by lines. With ``real=True`` praisonai is installed."""
    from programs import REAL, run_program

    def run(code: str, *, real: bool | dict[str, str] = False, **options: object):
        files = REAL if real is True else real or {}
        return run_program(tmp_path, code, real=files, **options)

    return run
