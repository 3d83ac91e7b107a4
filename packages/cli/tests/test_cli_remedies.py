"""What errors and messages tell their readers to run exists, with the options that are named."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from praisonai_persistence_cli._app import _COMMANDS, app

ROOT = Path(__file__).parents[3]
SOURCES = sorted([*ROOT.glob("core/src/**/*.py"), *ROOT.glob("packages/*/src/**/*.py")])
QUOTED = re.compile(r"'praisonai-persistence ([^']+)'")
VALUE = "<value>"


def text_of(node: ast.AST) -> str | None:
    """The text of a literal, f-string or sum of them; what is filled in is a word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or VALUE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None and right is None else (left or VALUE) + (right or VALUE)
    return None


def texts(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = text_of(node)
        if text is not None:
            yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def schema_errors(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SchemaError":
            yield f"{path.relative_to(ROOT)}:{node.lineno}", text_of(node.args[0]) or VALUE


COMMANDS = sorted({command for path in SOURCES for _, text in texts(path) for command in QUOTED.findall(text)})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_a_message_names_can_be_run(command):
    name, *arguments = shlex.split(command)
    assert name in _COMMANDS
    app.get_command(None, name).make_context(name, arguments)


def test_there_are_such_commands():
    assert {"migrate", "migrate --adopt"} <= set(COMMANDS)


def test_every_schema_error_names_a_command():
    errors = [error for path in SOURCES for error in schema_errors(path)]
    assert len(errors) > 10
    told = re.compile(
        r"'praisonai-persistence |pip install |CREATE (EXTENSION|DATABASE)|ALTER (EXTENSION|ROLE)|apt-get install "
    )
    assert [error for error in errors if not told.search(error[1])] == []
