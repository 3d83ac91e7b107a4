"""The commands by which tests run on a hosted service: those of READMEs, and what they say where nobody is there."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import engines
import pytest

from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError, PersistenceError

ROOT = Path(__file__).parents[2]
HOSTED = sorted(name for name, kind in engines.ENGINES.items() if kind.knowledge)
PROXIES = {"atlas", "documentdb", "valkey_search"}
"""Fakes before servers that have no passwords."""
COMMAND = re.compile(r"PERSISTENCE_([A-Z_]+)_URL='?([^' \n]+)'? pytest ([^\s`]+)")
COMMANDS = {
    name.lower(): (url, path)
    for readme in sorted(ROOT.glob("packages/*/README.md"))
    for name, url, path in COMMAND.findall(readme.read_text("utf-8"))
}


def given(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> PersistenceError:
    """Return the error with which the tests of a service end that has another URL in the environment."""
    monkeypatch.setenv(f"PERSISTENCE_{name.upper()}_URL", url)
    monkeypatch.setenv("PERSISTENCE_ENGINE_SOURCES", "url")
    monkeypatch.setattr(engines.Engine, "given_limit", 2.0)
    started = time.monotonic()
    with pytest.raises(PersistenceError) as caught:
        engines.start(name)
    assert time.monotonic() - started < 2 * 2.0 + 2  # retries included, and modules are loaded
    for secret in ("PASSWORD", "KEY", "TOKEN", "wr0ng"):
        assert not re.search(rf"\b{secret}\b", str(caught.value))
    return caught.value


def test_each_service_has_a_command_and_a_secret_of_the_nightly_workflow():
    assert set(HOSTED) <= set(COMMANDS)
    nightly = (ROOT / ".github/workflows/nightly.yml").read_text("utf-8")
    for name in HOSTED:
        variable = f"PERSISTENCE_{name.upper()}_URL"
        assert f"{variable}: ${{{{ secrets.{variable} }}}}" in nightly
        assert (ROOT / COMMANDS[name][1]).exists()


@pytest.mark.parametrize("name", HOSTED)
def test_a_command_whose_host_is_a_placeholder_says_so_at_once(name, monkeypatch):
    url = COMMANDS[name][0].replace("KEY@", "a2V5@")  # Cosmos DB's keys are checked before
    error = given(
        name,
        url.replace(urlsplit(url).hostname.lower(), "nowhere.invalid").replace("HOST", "nowhere.invalid"),
        monkeypatch,
    )
    assert isinstance(error, ConnectionFailedError)
    assert re.search("nowhere.invalid.*(check the host|host and port right|it up|not known)", str(error))


@pytest.mark.parametrize("name", HOSTED)
def test_a_port_at_which_nobody_listens(name, monkeypatch):
    kind = engines.ENGINES[name]
    error = given(name, kind.make_url("127.0.0.1", engines.free_port()), monkeypatch)
    assert isinstance(error, ConnectionFailedError)


@pytest.mark.parametrize("name", [name for name in HOSTED if name not in PROXIES])
def test_a_wrong_key(name, request, monkeypatch):
    running = request.getfixturevalue(name)
    if not running.restartable:
        pytest.skip("a service may lock out who shows it wrong keys")
    password = urlsplit(running.url).password
    wrong = quote("d3IwbmcwMDA=", safe="") if name == "cosmosdb" else "wr0ng-k3y"
    error = given(name, running.url.replace(password, wrong), monkeypatch)
    assert isinstance(error, ConnectionFailedError)
    assert re.search("check (its|username)", str(error))


def test_a_command_whose_key_is_a_placeholder(monkeypatch):
    error = given("cosmosdb", COMMANDS["cosmosdb"][0], monkeypatch)
    assert isinstance(error, ConfigurationError)
    assert "as the portal shows it" in str(error)
