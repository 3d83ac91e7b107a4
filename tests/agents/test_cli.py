"""The commands that run an agent: `run` and `resume --continue`, in processes of their own, against a model server."""

from __future__ import annotations

import json

import pytest

COMMAND = "from praisonai_persistence_cli import main; raise SystemExit(main())"


@pytest.fixture
def command(start, options):
    """Runs the command on the test's database; returns its exit code and output."""
    where = ["--conversation-url", options["database_url"]]
    if "table_prefix" in options:
        where += ["--table-prefix", options["table_prefix"]]

    def run(*arguments, stdin=None, **environment):
        process = start("-c", COMMAND, *arguments, *where, **environment).process
        out, err = process.communicate(stdin, timeout=240)
        return process.returncode, out, err

    return run


def test_an_agent_goes_on_with_its_session(command, model):
    code, out, err = command("run", "My name is Ada.", "--session-id", "s", "--user-id", "ada", "--agent-name", "Bob")
    assert (code, out) == (0, "I heard: My name is Ada.\n"), err
    assert err.splitlines()[-1] == "session s"
    code, out, err = command("run", "What is my name?", "--session-id", "s", "--json")
    assert code == 0, err
    assert json.loads(out) == {
        "session_id": "s",
        "user_id": None,
        "agent": "Assistant",
        "answer": "I heard: What is my name?",
    }
    assert "My name is Ada." in json.dumps(model.requests[-1]["messages"])  # what another process had stored
    code, out, err = command("resume", "--session-id", "s", "--continue", "And now?", "--show-history", "--json")
    assert code == 0, err
    resumed = json.loads(out)
    assert (resumed["answer"], resumed["session"]["user_id"]) == ("I heard: And now?", "ada")
    assert [(message["role"], message["content"]) for message in resumed["history"]] == [
        ("user", "My name is Ada."),
        ("assistant", "I heard: My name is Ada."),
        ("user", "What is my name?"),
        ("assistant", "I heard: What is my name?"),
    ]
    assert "I heard: My name is Ada." in json.dumps(model.requests[-1]["messages"])
    code, out, _ = command("show", "s", "--json")
    assert [message["content"] for message in json.loads(out)["messages"]][-2:] == ["And now?", "I heard: And now?"]


def test_the_latest_session_goes_on_with_a_prompt_from_standard_input(command, model):
    code, _, err = command("run", "My name is Ada.", "--session-id", "s")
    assert code == 0, err
    code, out, err = command("resume", "--latest", "--continue", "-", stdin="And\nnow?\n")
    assert (code, out) == (0, "I heard: And\nnow?\n"), err
    assert "My name is Ada." in json.dumps(model.requests[-1]["messages"])
    code, out, err = command("run", "--session-id", "s", stdin="Once more.\n")
    assert (code, out) == (0, "I heard: Once more.\n"), err


def test_a_dry_run_asks_no_model_and_stores_nothing(command, model):
    code, out, err = command("run", "Hello.", "--session-id", "s", "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out)["dry_run"]
    assert model.requests == []
    code, out, err = command("show", "s")
    assert (code, out) == (1, "")
    assert err.startswith(("Error: there is no store yet", "Error: there are no conversation tables")), err


def test_a_model_that_is_not_there(command):
    code, out, err = command("run", "Hello.", "--session-id", "s", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert (code, out) == (1, "")
    assert "Error: " in err.splitlines()[-1]
    assert "Traceback" not in err
