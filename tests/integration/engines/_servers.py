"""Running server programs: given by the environment, in a container, or of this machine."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import shutil
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from ._engine import Engine

__all__ = ["Container", "Given", "Local", "Server", "free_port"]


class Server(ABC):
    """A running server program, wherever it runs."""

    restartable: ClassVar[bool] = True

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def stop(self) -> None:
        """End the program as an administrator would; connections break, data stays."""

    @abstractmethod
    def kill(self) -> None:
        """End the program with SIGKILL: what it holds in memory is gone."""

    @abstractmethod
    def start(self) -> None:
        """Start it again, at the same address."""

    @abstractmethod
    def remove(self) -> None:
        """End it and delete its data."""


class Given(Server):
    """A server that somebody else runs."""

    restartable: ClassVar[bool] = False

    def stop(self) -> None:
        pytest.skip("the server of the environment's URL is not ours to restart")

    def kill(self) -> None:
        pytest.skip("the server of the environment's URL is not ours to kill")

    def start(self) -> None:
        pytest.skip("the server of the environment's URL is not ours to restart")

    def remove(self) -> None:
        return


class Container(Server):
    """A server in a container. Its port on the host is chosen here, so that a restart keeps it."""

    def __init__(self, kind: type[Engine]) -> None:
        # Imported here: it reads the environment when it is imported, and is no dependency of any backend.
        from testcontainers.core.container import DockerContainer

        port = free_port()
        image = os.environ.get(f"PERSISTENCE_{kind.name.upper()}_IMAGE", kind.image)
        self._signal = kind.stop_signal
        self._container = DockerContainer(image).with_envs(**kind.container_environment)
        others = [free_port() for _ in kind.other_ports]
        for inside, outside in zip((kind.port, *kind.other_ports), (port, *others), strict=True):
            self._container.with_bind_ports(inside, outside)
        if kind.container_command:
            self._container.with_command(kind.container_command)
        # What the server leaves there belongs to its own user: only root can remove it.
        usual = image == kind.image and "DOCKER_HOST" not in os.environ
        memory = kind.place() if usual and kind.container_data and os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix=f"persistence-{kind.name}-", dir=memory)) if memory else None
        if self._folder is not None:
            self._container.with_volume_mapping(str(self._folder), kind.container_data, "rw")
        try:
            self._container.start()
            self.wrapped = self._container.get_wrapped_container()
            super().__init__(kind.make_url(self._container.get_container_host_ip(), port, *others))
        except BaseException:
            self.remove()
            raise

    def stop(self) -> None:
        self.wrapped.kill(signal=self._signal.name)
        self.wrapped.wait(timeout=30)

    def kill(self) -> None:
        self.wrapped.kill(signal="SIGKILL")
        self.wrapped.wait(timeout=30)

    def start(self) -> None:
        self.wrapped.start()

    def remove(self) -> None:
        try:
            self._container.stop()
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)


class Local(Server):
    """A server program of this machine, run as a user who is not root, in a folder of its own."""

    def __init__(self, kind: type[Engine]) -> None:
        self._kind = kind
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"persistence-{kind.name}-", dir=kind.place()))
        self.user = _other_user(self.folder, kind.system_user) if os.geteuid() == 0 else None
        self.account = self.user or getpass.getuser()
        self.log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            kind.initialise(self)
            self.start()
        except BaseException:
            self.remove()
            raise
        super().__init__(kind.make_url("127.0.0.1", self.port))

    def make_folder(self, name: str) -> Path:
        """Make a folder that the server may write to, in its own."""
        folder = self.folder / name
        folder.mkdir()
        if self.user:
            shutil.chown(folder, self.user)
        return folder

    def run(self, *command: str, **options: Any) -> None:
        """Run a program to its end, as the server's user."""
        done = subprocess.run(
            command, user=self.user, cwd=self.folder, capture_output=True, text=True, check=False, **options
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:] or done.stdout[-2000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self._kind.stop_signal)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._kind.command(self), user=self.user, cwd=self.folder, stdout=log, stderr=log
            )

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _other_user(folder: Path, wanted: str) -> str:
    """Give the folder to a user who may run a server, and return the name."""
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    user = wanted if wanted in names else "nobody"
    shutil.chown(folder, user)
    return user


_PORTS_OF_A_WORKER = 800
_given: set[int] = set()


def free_port() -> int:
    """A port of the loopback interface at which nobody listens now; another one with each call, while there are others.

    It is below the ports that systems give to outgoing connections, so a server that is stopped for a while finds its
    port free. Each worker of pytest-xdist takes its own share of them.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    first = 23_000 + worker * _PORTS_OF_A_WORKER
    ports = list(range(first, first + _PORTS_OF_A_WORKER))
    random.shuffle(ports)
    for port in sorted(ports, key=_given.__contains__):  # those that were given come last
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise RuntimeError(f"no port from {min(ports)} to {max(ports)} is free")
