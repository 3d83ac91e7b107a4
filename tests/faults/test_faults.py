"""Every backend under every fault that applies to it: nothing acknowledged is lost, nothing is doubled or torn."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from urllib.parse import urlsplit, urlunsplit

import engines
import pytest
from backends import BACKENDS
from lab import Crew, Lab, Outcome, experiment
from proxy import Proxy
from strikes import FAULTS, small_disk

WRITERS = 8
DISK = 768
"""Megabytes of the small file system, to begin with."""

APPLIES = {
    "process": ("path", "engine"),
    "engine": ("engine",),
    "proxy": ("engine",),
    "path": ("path",),
    "disk": ("path",),
}
CASES = [
    pytest.param(backend, fault, id=f"{backend.name}-{fault.name}".replace(" ", "-"))
    for backend in BACKENDS.values()
    for fault in FAULTS.values()
    if fault.name not in backend.spared and any(getattr(backend, place) for place in APPLIES[fault.needs])
]


def through(url, port):
    """Return the URL with the proxy's address in the place of the server's."""
    parts = urlsplit(url)
    account = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{account}@127.0.0.1:{port}" if account else f"127.0.0.1:{port}"))


@contextlib.contextmanager
def laboratory(backend, fault, folder):
    with contextlib.ExitStack() as stack:
        engine = proxy = place = None
        if backend.engine is None:
            if fault.needs == "disk":
                try:
                    stack.enter_context(small_disk(folder, DISK))
                except OSError as error:
                    pytest.skip(str(error))
            place = folder / backend.path
            options = {"path": str(place)}
        else:
            engine = engines.engine(backend.engine)
            if fault.needs == "engine" and not engine.restartable:
                pytest.skip("the server of the environment's URL is not ours to restart")
            options = stack.enter_context(engine.space())
            if fault.needs == "proxy":
                names = ("emulator_host", "endpoint_url", "url")
                name = next(one for one in names if one in options)  # what names the server
                parts = urlsplit(options[name])
                proxy = stack.enter_context(Proxy(parts.hostname, parts.port or engine.port))
                options = {**options, name: through(options[name], proxy.port)}
        processes = backend.processes
        spec = backend.spec(impatient=fault.impatient, **options)
        crew = Crew(spec, processes, WRITERS // processes, vanishes=fault.decides(backend.forgets))
        yield Lab(crew, backend.spec(**options), place, engine, proxy, backend.forgets)


@pytest.mark.parametrize(("backend", "fault"), CASES)
def test_nothing_is_lost_doubled_or_torn(backend, fault, request, report, tmp_path_factory):
    if importlib.util.find_spec(backend.module) is None:
        pytest.skip(f"{backend.module} is not installed")
    trials = request.config.getoption("--trials")
    outcome = Outcome()
    while outcome.trials < trials:
        folder, journal = tmp_path_factory.mktemp("disk"), tmp_path_factory.mktemp("journal")
        struck = fault()
        with laboratory(backend, struck, folder) as lab:
            outcome.add(experiment(lab, struck, 1 if struck.decides(backend.forgets) else trials, journal))
        shutil.rmtree(folder, ignore_errors=True)
    row = {"backend": backend.name, "fault": fault.name, "trials": outcome.trials, "seconds": round(outcome.seconds, 1)}
    names = ("tried", "acknowledged", "unsure", "found", "errors", "lost", "doubled", "torn")
    row.update({name: outcome.counts[name] for name in names})
    report(row)
    assert outcome.trials >= trials
    assert outcome.counts["acknowledged"] > outcome.trials
    assert outcome.clean, row
