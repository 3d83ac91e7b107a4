"""Every program on PraisonAI's pages about persistence, as it stands there, with ``praisonai_persistence.compat``."""

from __future__ import annotations

import os
import re
from pathlib import Path

import engines
import pytest
from snippets import HEARD, SNIPPETS, is_code, page

GIVEN = os.environ.get("PERSISTENCE_PRAISONAI_PAGES", "")
PAGES = Path(GIVEN)
PACKAGE = os.environ.get("PERSISTENCE_PRAISONAI", "")

pytestmark = pytest.mark.skipif(
    not GIVEN, reason="PERSISTENCE_PRAISONAI_PAGES names no folder with PraisonAI's pages about persistence"
)
RUN = """
import ast, asyncio, json, os, sys, types

def show(*what):
    print(json.dumps(what), flush=True)

POSTGRES, REDIS = os.environ.get("TEST_POSTGRES"), os.environ.get("TEST_REDIS")
with open("snippet.py", encoding="utf-8") as file:
    code = compile(file.read(), "snippet.py", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
run = eval(code)  # a coroutine if it awaits something, as in a notebook
if isinstance(run, types.CoroutineType):
    asyncio.run(run)
"""


@pytest.fixture
def servers(request, _engines):
    """The URLs of a database and of a Redis that are the test's alone."""
    names = request.getfixturevalue("snippet").servers
    found = {}
    database = f"pages_{os.getpid()}"
    if "postgres" in names:
        postgres = engines.engine("postgres")
        postgres.execute(f"CREATE DATABASE {database}")
        found["TEST_POSTGRES"] = re.sub(r"/[^/]*$", f"/{database}", postgres.url)
    try:
        if "redis" in names:
            with engines.engine("redis").space() as options:
                yield {**found, "TEST_REDIS": options["url"]}
        else:
            yield found
    finally:
        if "postgres" in names:
            postgres.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.name.replace(" ", "_"))
def test_a_program_does_what_its_page_says(snippet, servers, start, tmp_path):
    if snippet.package and not PACKAGE:
        pytest.skip("PERSISTENCE_PRAISONAI names no folder with PraisonAI's package")
    assert snippet.digest_of(PAGES) == snippet.digest, "the page has changed: look at the program again"
    (tmp_path / "snippet.py").write_text(snippet.program(PAGES), encoding="utf-8")
    (tmp_path / "run.py").write_text(RUN, encoding="utf-8")
    path = {"PYTHONPATH": PACKAGE} if snippet.package else {}
    program = start("-m", "praisonai_persistence.compat", "run.py", PRAISONAI_HOME="", **path, **servers)
    out, err = program.process.communicate(timeout=240)
    assert (program.process.returncode == 0) == (not snippet.raises), err
    assert not snippet.raises or re.search(rf"^(\S+\.)?{snippet.raises}: ", err, re.MULTILINE), err
    # Agents of earlier releases draw boxes around what they do.
    assert tuple(line for line in out.splitlines() if line.startswith(("[", HEARD))) == snippet.prints, err


def test_no_program_is_left_out():
    known = {(snippet.page, number) for snippet in SNIPPETS for number in range(snippet.lines[0], snippet.lines[1] + 1)}
    for path in sorted(PAGES.iterdir()):
        name = path.name.partition("_")[0]
        inside = False
        for number, line in enumerate(page(PAGES, name), 1):
            inside = inside and line.strip() != "```"
            assert (name, number) in known or not (inside or is_code(line)), (name, number, line)
            inside = inside or line.lstrip().startswith("```python")
