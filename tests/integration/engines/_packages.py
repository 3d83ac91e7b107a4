"""Programs that are fetched once: packages of npm and of Python, jars of Maven, kept in a folder that runs share.

The folder is ``PERSISTENCE_ENGINE_CACHE``, or one below the user's cache; root's is one that other users can read,
because servers run as a user who is not root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["maven_jar", "npm_packages", "python_packages"]

_LIMIT = 600
"""Seconds that fetching may take."""


def npm_packages(name: str, *packages: str, scripts: bool = False) -> Path | None:
    """Install packages of npm, once for all runs.

    Args:
        name: of the folder; it stands for these packages in these versions.
        packages: with exact versions (``pkg@1.2.3``).
        scripts: whether their install scripts run.

    Returns:
        The folder that has ``node_modules``; None without npm, or where it cannot fetch them.
    """
    options = ["--no-audit", "--no-fund", "--silent", *([] if scripts else ["--ignore-scripts"])]
    return _once(name, lambda folder: _done(["npm", "install", "--prefix", str(folder), *options, *packages]))


def maven_jar(group: str, artifact: str, version: str) -> Path | None:
    """Fetch a jar of Maven, once for all runs.

    Returns:
        The jar; None without Maven, or where it cannot fetch it.
    """
    file = f"{artifact}-{version}.jar"
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    wanted = f"-Dartifact={group}:{artifact}:{version}"
    folder = _once(
        f"{artifact}-{version}", lambda folder: _done(["mvn", "-q", "-B", goal, wanted, f"-DoutputDirectory={folder}"])
    )
    return folder and folder / file


def python_packages(name: str, *packages: str) -> Path | None:
    """Install packages of Python beside the environment, once for all runs: those that are too large for every one.

    Args:
        name: of the folder; it stands for these packages in these versions.
        packages: with exact versions (``pkg==1.2.3``).

    Returns:
        The folder, for ``sys.path`` of this very Python; None without uv and pip, or where they cannot fetch them.
    """
    python = f"{sys.implementation.name}{sys.version_info[0]}.{sys.version_info[1]}"
    commands = [
        ["uv", "pip", "install", "--quiet", "--python", sys.executable],
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable],
        [sys.executable, "-m", "pip", "install", "--quiet"],
        ["pip", "--python", sys.executable, "install", "--quiet"],
    ]

    def fill(folder: Path) -> bool:
        return any(_done([*command, "--target", str(folder), *packages]) for command in commands)

    return _once(f"{name}-{python}", fill)


def _once(name: str, fill: Callable[[Path], bool]) -> Path | None:
    """The folder of this name, filled by the first who asks; other processes wait meanwhile. None: it failed."""
    cache = _cache()
    folder = cache / name
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        new = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache))
        try:
            new.chmod(0o755)
            if not fill(new):
                return None
            new.rename(folder)
            return folder
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _cache() -> Path:
    if given := os.environ.get("PERSISTENCE_ENGINE_CACHE"):
        cache = Path(given)
    elif os.geteuid() == 0:
        cache = Path("/var/cache/praisonai-persistence")
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "praisonai-persistence"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _done(command: list[str]) -> bool:
    """Whether a command succeeded within the limit."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=_LIMIT, check=False).returncode == 0
    return False
