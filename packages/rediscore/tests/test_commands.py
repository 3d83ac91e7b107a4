"""Requests and steps without a server: what is asked, and what becomes of the answers."""

from __future__ import annotations

import pytest

from praisonai_persistence.steps import run
from praisonai_persistence_rediscore import Command, CommandStateSteps, RawCommand, Script, text, without_arguments


class Client:
    """Notes what a client of redis-py is asked."""

    def execute_command(self, *arguments, **options):
        return arguments, options


def test_commands_go_to_a_client_as_they_are():
    assert Command("GET", "k")(Client()) == (("GET", "k"), {})
    assert RawCommand("GET", "k")(Client()) == (("GET", "k"), {"NEVER_DECODE": True})


def test_a_script_that_the_server_does_not_know_is_sent():
    asked = []

    def server(request):
        asked.append(request.arguments)
        if request.arguments[0] == "EVALSHA":
            raise RuntimeError("NOSCRIPT No matching script. Please use EVAL.")
        return 1

    assert run(Script("return 1")(["k"], "a"), server) == 1
    assert [arguments[0] for arguments in asked] == ["EVALSHA", "EVAL"]
    assert asked[1][1:] == ("return 1", 1, "k", "a")


def test_another_refusal_of_a_script_is_raised():
    def server(request):
        raise RuntimeError("OOM command not allowed")

    with pytest.raises(RuntimeError, match="OOM"):
        run(Script("return 1")(["k"]), server)


def test_keys_of_a_prefix_are_named_once():
    """A server may name one twice, on one page and on two."""
    pages = iter([(7, [b"{p_state}:a", b"{p_state}:a", "{p_state}:b"]), (0, ["{p_state}:b", "{p_state}:c"])])
    steps = CommandStateSteps("p_")
    first, cursor = run(steps.scan("", None, 0.0), lambda request: next(pages))
    second, end = run(steps.scan("", cursor, 0.0), lambda request: next(pages))
    assert (first, second, end) == (["a", "b"], ["c"], None)


def test_a_refusal_shows_nothing_that_was_to_be_stored():
    assert text(b"x") == text("x") == "x"
    message = "ERR unknown command 'FOO', with args beginning with: 's3cret'"
    assert without_arguments(message) == "ERR unknown command 'FOO'"
