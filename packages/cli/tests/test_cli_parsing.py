"""What the command line takes, and what it says to what it does not take."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import praisonai_persistence_cli
from praisonai_persistence_cli._app import _COMMANDS, app

# Those of PraisonAI's own command line.
OPTIONS = {
    "doctor": ["--conversation-url", "--knowledge-url", "--state-url", "--all"],
    "run": [
        "--session-id",
        "--user-id",
        "--conversation-url",
        "--knowledge-url",
        "--state-url",
        "--agent-name",
        "--agent-instructions",
        "--dry-run",
    ],
    "resume": ["--session-id", "--conversation-url", "--show-history", "--continue"],
    "export": ["--session-id", "--output"],
    "import": ["--file"],
    "migrate": ["--up", "--down", "--target"],
    "status": [],
}


GROUPS = {name: app.get_command(None, name).commands for name in ("knowledge", "state")}


@pytest.mark.parametrize(
    "name", sorted({*_COMMANDS} - {*GROUPS}) + [f"{group} {name}" for group in GROUPS for name in GROUPS[group]]
)
def test_every_command_explains_itself(name):
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert f"Usage: app {name}" in result.output
    assert "--debug" in result.output
    assert ("--json" in result.output) == (name != "completion")
    first, *others = name.split()
    command = app.get_command(None, first)
    assert (command.commands[others[0]] if others else command).name == name.split()[-1]


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options_of_praisonai(name):
    parameters = app.get_command(None, name).params
    known = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    assert set(OPTIONS[name]) <= known


def test_help_without_arguments(cli):
    result = cli()
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in _COMMANDS)
    assert result.out == cli("--help").out


def test_help_imports_no_command_and_no_rich():
    program = (
        "import sys; from praisonai_persistence_cli import main; code = main(['--help'])\n"
        "print(code, sorted(name for name in sys.modules if name.split('.')[0] in "
        "{'rich', 'praisonai_persistence', 'praisonai_persistence_cli', 'sqlite3', 'asyncio'}))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == (
        "0 ['praisonai_persistence', 'praisonai_persistence._lazy', 'praisonai_persistence.errors', "
        "'praisonai_persistence_cli', 'praisonai_persistence_cli._app']"
    )


def test_version(cli):
    result = cli("--version")
    assert (result.code, result.out.split()[0]) == (0, "praisonai-persistence")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["expotr"], "there is no command 'expotr'. Did you mean 'export'?"),
        (["sessions", "--nope"], "--nope"),
        (["sessions", "--limit", "-1", "--conversation-url", "a.db"], "--limit"),
        (["knowledge", "collections"], "no knowledge store: give --knowledge-url, or set PRAISON_KNOWLEDGE_URL"),
        (["sessions", "--conversation-url", "ada"], "'ada' is not a store URL"),
        (["sessions", "--conversation-url", "sqlitee:///a.db"], "Did you mean 'sqlite'?"),
        (["sessions", "--conversation-url", "a.db", "--table-prefix", "x; --"], "table_prefix must be"),
        (["show", "", "--conversation-url", "a.db"], "session_id must have 1 to 255 characters"),
        (["resume", "--session-id", "", "--conversation-url", "a.db"], "session_id must have 1 to 255 characters"),
        (["export", "--session-id", "", "--conversation-url", "a.db"], "session_id must have 1 to 255 characters"),
        (["run", " ", "--conversation-url", "a.db"], "the prompt is empty"),
        (["resume"], "give either --session-id or --latest"),
        (["resume", "--latest", "--session-id", "s"], "give either --session-id or --latest"),
        (["resume", "--session-id", "s", "--user-id", "ada"], "--user-id and --agent-id go with --latest"),
        (["resume", "--latset"], "Did you mean '--latest'?"),
        (["run", "hello", "--dry-run", "--session-id", "", "--conversation-url", "a.db"], "session_id must have"),
        (["migrate", "--adopt", "--down"], "--adopt goes with none of --up, --down and --target"),
        (["copy", "--from", "a.db", "--to", "a.db"], "the same store"),
        (["prune", "--conversation-url", "a.db"], "give --older-than, --keep-last or both"),
        (["prune", "--older-than", "90", "--conversation-url", "a.db"], "--older-than must be a number with a unit"),
        (["import", "--file", "missing.jsonl", "--conversation-url", "a.db"], "cannot read missing.jsonl"),
        (["export", "--session-id", "x", "--user-id", "y", "--conversation-url", "a.db"], "give one or the other"),
    ],
)
def test_wrong_use_is_one_line_and_2(cli, arguments, says):
    result = cli(*arguments)
    assert result.code == 2
    assert says in result.error
    assert not result.out


def test_the_environment_names_stores(cli, fill, monkeypatch):
    fill("a.db")
    monkeypatch.setenv("PRAISON_CONVERSATION_URL", "a.db")
    assert len(cli("sessions", "--json").json["sessions"]) == 3
    assert cli("sessions", "--conversation-url", "b.db").error.endswith("b.db does not exist")
    # What is wrong with another kind's URL does not matter here.
    monkeypatch.setenv("PRAISON_STATE_URL", "nonsense")
    assert cli("sessions").code == 0
    monkeypatch.setenv("PRAISON_CONVERSATION_URL", "nonsense")
    assert cli("sessions").error.startswith("PRAISON_CONVERSATION_URL: 'nonsense' is not a store URL")


@pytest.mark.parametrize(
    "arguments",
    [
        ["sessions", "--conversation-url", "postgresql://ada:s3cret@127.0.0.1:1/x"],
        ["sessions", "--conversation-url", "nosuch://ada:s3cret@127.0.0.1:1/x"],
        ["doctor", "--conversation-url", "nosuch://ada:s3cret@127.0.0.1:1/x"],
        ["status", "--conversation-url", "nosuch://ada:s3cret@127.0.0.1:1/x"],
        ["copy", "--from", "nosuch://ada:s3cret@127.0.0.1:1/x", "--to", "nosuch://ada:s3cret@127.0.0.1:2/x"],
        ["sessions", "nosuch://ada:s3cret@127.0.0.1:1/x"],
        ["nosuch://ada:s3cret@127.0.0.1:1/x"],
    ],
)
@pytest.mark.parametrize("more", [[], ["--debug"], ["--json"]])
def test_secrets_are_masked(cli, arguments, more):
    result = cli(*arguments, *more)
    assert result.code in {1, 2}
    assert "s3cret" not in result.out + result.err
    if arguments[0] in {"doctor", "status"}:  # they show the URL
        assert "***" in result.out
    else:
        assert not result.out


def test_debug_shows_where_an_error_comes_from(cli):
    plain, debug = (cli("show", "x", "--conversation-url", "a.db", *more) for more in ([], ["--debug"]))
    assert plain.code == debug.code == 1
    assert "Traceback" not in plain.err
    assert debug.err.startswith("Traceback")
    assert debug.err.endswith(plain.err)


def test_a_mistake_of_ours_shows_no_traceback_and_no_text(cli, fill, monkeypatch):
    fill("a.db")

    def broken(*_):
        raise RuntimeError("text of a message")

    monkeypatch.setattr("praisonai_persistence_cli._reading.message_pages", broken)
    result = cli("show", "s0", "--conversation-url", "a.db")
    assert result.code == 1
    assert result.error == "RuntimeError: this should not happen; repeat it with --debug and report it"


def test_a_file_that_cannot_be_written(cli, fill):
    fill("a.db")
    result = cli("export", "--conversation-url", "a.db", "--output", "no/such/folder/x.jsonl")
    assert result.code == 1
    assert "No such file or directory" in result.error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli, shell):
    result = cli("completion", shell)
    assert result.code == 0
    assert "_PRAISONAI_PERSISTENCE_COMPLETE" in result.out


@pytest.mark.parametrize(
    ("typed", "expected"), [("ex", ["export"]), ("copy --kin", ["--kind"]), ("copy --kind st", ["state"])]
)
def test_completion_completes(process, typed, expected):
    words = f"praisonai-persistence {typed}"
    environment = {
        "_PRAISONAI_PERSISTENCE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    out, err = process(env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE).communicate()
    assert [line.partition(",")[2] for line in out.decode().split()] == expected, err


def test_public_names():
    assert praisonai_persistence_cli.__all__ == ["main"]


def test_json_is_one_ascii_document(cli, fill):
    fill("a.db", metadata={"\ud800": "\u202e\x1b[2J"})
    result = cli("sessions", "--json", "--conversation-url", "a.db")
    assert result.out.isascii()
    assert json.loads(result.out)["sessions"][0]["metadata"] == {"\ud800": "\u202e\x1b[2J"}
