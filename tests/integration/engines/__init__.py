"""Real servers for the integration tests.

An engine is looked for in this order: a URL in the environment (``PERSISTENCE_POSTGRES_URL``); a container, when a
Docker engine answers (the image in ``PERSISTENCE_POSTGRES_IMAGE``, or the one named here); a server program of this
machine, started on a free loopback port in a temporary folder. ``PERSISTENCE_ENGINE_SOURCES=local`` narrows the list
(``url,container,local``). Where none is found the tests are skipped, and say why; with
``PERSISTENCE_REQUIRE_ENGINES=1`` they fail instead, unless the engine is one that not every machine can have.

An engine is started once for a run. Tests share its database and each takes a table prefix of its own; what stands
there otherwise is never touched.

A kind of engine is a class in a module of this folder, and its name is the name of a fixture.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

from ._engine import DATABASE, PASSWORD, USER, Engine, UnfitError, json_request
from ._servers import Container, Given, Local, Server, free_port

__all__ = [
    "DATABASE",
    "ENGINES",
    "PASSWORD",
    "USER",
    "Engine",
    "UnfitError",
    "engine",
    "free_port",
    "json_request",
    "shut_down",
    "start",
]


def _kinds() -> dict[str, type[Engine]]:
    """The classes in the modules of this folder, by their names."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found: list[Any] = [item for module in modules for item in vars(module).values() if isinstance(item, type)]
    return {kind.name: kind for kind in found if issubclass(kind, Engine) and not inspect.isabstract(kind)}


ENGINES = _kinds()

_running: dict[str, Engine] = {}
_missing: dict[str, str] = {}
_failed: dict[str, str] = {}


def engine(name: str) -> Engine:
    """The engine of this run, started by the first call; skips the test, or fails it, where there is none."""
    if name in _failed:
        pytest.fail(_failed[name], pytrace=False)
    if name not in _running and name not in _missing:
        try:
            found = start(name)
        except Exception as error:  # each of its tests would wait for it again
            _failed[name] = f"{name} cannot be used: {error}"
            raise
        if isinstance(found, str):
            _missing[name] = found
        else:
            _running[name] = found
    if name in _missing:
        if ENGINES[name].required and os.environ.get("PERSISTENCE_REQUIRE_ENGINES", "") not in {"", "0"}:
            pytest.fail(_missing[name], pytrace=False)
        pytest.skip(_missing[name])
    return _running[name]


def start(name: str) -> Engine | str:
    """Start an engine, or find the one that somebody else runs; or return why there is none."""
    reasons: list[str] = []
    return _find(ENGINES[name], reasons) or f"no {name} server: {'; '.join(reasons)}"


def shut_down() -> None:
    """End every server that was started here."""
    for running in _running.values():
        running.remove()
    _running.clear()


def _find(kind: type[Engine], reasons: list[str]) -> Engine | None:
    sources: dict[str, Callable[[type[Engine]], Server | str]] = {
        "url": _from_environment,
        "container": _in_container,
        "local": _on_this_machine,
    }
    for source in os.environ.get("PERSISTENCE_ENGINE_SOURCES", ",".join(sources)).split(","):
        server = sources[source.strip()](kind)
        if isinstance(server, str):
            reasons.append(server)
            continue
        try:
            return kind(server)
        except UnfitError as error:
            server.remove()
            reasons.append(str(error))
        except BaseException:
            server.remove()
            raise
    return None


def _from_environment(kind: type[Engine]) -> Server | str:
    variable = f"PERSISTENCE_{kind.name.upper()}_URL"
    url = os.environ.get(variable)
    return Given(url) if url else f"{variable} is not set"


def _in_container(kind: type[Engine]) -> Server | str:
    if not kind.image:
        return f"{kind.name} has no image here"
    try:
        import docker
        import testcontainers.core.container  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed"
    try:
        with contextlib.closing(docker.from_env(timeout=60)) as client:
            client.ping()
    except docker.errors.DockerException:
        return "no Docker engine answers"
    try:
        return Container(kind)
    except docker.errors.ImageNotFound:
        return f"the image {kind.image} cannot be had"
    except docker.errors.APIError as error:  # pulling failed: no way to a registry
        return f"the container of {kind.image} cannot be started ({error.explanation})"


def _on_this_machine(kind: type[Engine]) -> Server | str:
    if kind.program() is None:
        return f"no program {' or '.join(kind.programs)}"
    return Local(kind)
