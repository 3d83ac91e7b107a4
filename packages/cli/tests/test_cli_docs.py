"""The examples of the guide and of the README are commands that exist, with options that they take."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import click
import pytest

from praisonai_persistence_cli._app import _COMMANDS, app

ROOT = Path(__file__).parents[3]
DOCUMENTS = ["packages/cli/README.md", "docs/cli.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_examples(document, monkeypatch):
    for name in ("agents", "old", "new"):
        Path(f"{name}.url").write_text(f"{name}.db", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("agents.db"))
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    examples = re.findall(r"^praisonai-persistence .*|(?<=\| )praisonai-persistence .*", lines, re.MULTILINE)
    assert len(examples) > 5
    for example in examples:
        _, name, *arguments = shlex.split(re.split(r" [|<] ", example)[0])
        command = app.get_command(None, name)
        if isinstance(command, click.Group):
            command = command.commands[arguments.pop(0)]
        command.make_context(name, arguments)  # refuses what it does not take


def parameters_of(command):
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(parameter for one in inner for parameter in one.params)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_is_explained(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    assert not [name for name in _COMMANDS if not re.search(rf"`?{name}`?\b", text)]
    parameters = [parameter for name in _COMMANDS for parameter in parameters_of(app.get_command(None, name))]
    known = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known | {"--help"}
