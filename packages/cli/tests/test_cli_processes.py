"""The command as shells run it: pipes, closed streams, terminals, signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, open_conversation_store

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")
PIPE = subprocess.PIPE


def test_export_into_import(process, hostile, read):
    hostile("a.db")
    exporting = process("export", "--conversation-url", "a.db", stdout=PIPE)
    importing = process(
        "import", "-f", "-", "--json", "--conversation-url", "b.db", stdin=exporting.stdout, stdout=PIPE
    )
    exporting.stdout.close()
    out, _ = importing.communicate(timeout=240)
    assert (exporting.wait(240), importing.returncode) == (0, 0)
    assert json.loads(out)["ok"]
    assert repr(sorted(read("b.db").items())) == repr(sorted(read("a.db").items()))


def test_a_pipe_that_is_cut_imports_whole_sessions_only(process, fill, read):
    fill(sessions=3, messages=50)
    out, _ = process("export", "--conversation-url", "a.db", stdout=PIPE).communicate(timeout=240)
    importing = process("import", "-f", "-", "--conversation-url", "b.db", stdin=PIPE, stdout=PIPE, stderr=PIPE)
    _, err = importing.communicate(out[: len(out) // 2])
    assert importing.returncode == 1
    assert b"standard input was cut short" in err
    assert b"nothing of session 's1' was imported" in err
    assert read("b.db") == {"s0": read("a.db")["s0"]}


@POSIX
def test_who_reads_the_output_may_go(process, fill):
    fill(sessions=200, messages=50)
    for arguments in (["export"], ["sessions", "--limit", "10000", "--json"], ["show", "s0"]):
        with subprocess.Popen(["true"], stdin=PIPE) as reader:
            reader.wait()
            running = process(*arguments, "--conversation-url", "a.db", stdout=reader.stdin, stderr=PIPE)
            reader.stdin.close()
            _, err = running.communicate(timeout=240)
        assert (running.returncode, err) == (141, b""), arguments


@POSIX
@pytest.mark.parametrize("arguments", [["export"], ["sessions"], ["show", "s0", "--json"]])
def test_a_closed_output_is_an_error(process, fill, arguments):
    fill()
    running = process(*arguments, "--conversation-url", "a.db", stderr=PIPE, preexec_fn=lambda: os.close(1))
    _, err = running.communicate(timeout=240)
    assert running.returncode == 1
    assert err == b"Error: the output is closed\n"


@POSIX
def test_nothing_is_written_into_a_file_that_took_the_place_of_a_stream(process, fill, read):
    fill()
    before = read("a.db")
    for arguments in (["show", "nope"], ["doctor"], ["status"]):
        running = process(
            *arguments, "--conversation-url", "a.db", preexec_fn=lambda: [os.close(number) for number in range(3)]
        )
        assert running.wait(240) in {0, 1}
    assert read("a.db") == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error(process, fill):
    fill(sessions=50, messages=50)
    for arguments in (["export"], ["sessions"], ["export", "--output", "/dev/full"]):
        with open("/dev/full", "wb") as full:
            running = process(*arguments, "--conversation-url", "a.db", stdout=full, stderr=PIPE)
        _, err = running.communicate(timeout=240)
        assert running.returncode == 1
        assert err == b"Error: No space left on device\n"


@POSIX
def test_tables_and_colors_on_a_terminal_only(process, on_a_terminal, fill):
    fill()
    arguments = ("doctor", "--conversation-url", "a.db")
    code, shown = on_a_terminal(*arguments, NO_COLOR="")
    assert code == 0
    assert "\x1b[32mok" in shown
    assert "\t" not in shown
    _, plain = on_a_terminal(*arguments, NO_COLOR="1")
    assert "\x1b[32m" not in plain
    assert "STEP" in plain
    assert "\t" not in plain
    _, dumb = on_a_terminal(*arguments, TERM="dumb")
    assert "\x1b" not in dumb
    out, _ = process(*arguments, stdout=PIPE, env={"TERM": "xterm"}).communicate(timeout=240)
    assert b"\x1b" not in out
    assert b"search\tok" in out
    _, history = on_a_terminal("show", "s0", "--conversation-url", "a.db", NO_COLOR="1")
    assert "\x1b" not in history


@POSIX
def test_a_bar_on_a_terminal_only(process, on_a_terminal, fill):
    fill()
    code, shown = on_a_terminal("copy", "--from", "a.db", "--to", "b.db")
    assert code == 0
    assert "conversation: 3 sessions with 12 messages" in shown
    assert "\x1b" in shown
    running = process("copy", "--from", "a.db", "--to", "c.db", stdout=PIPE, stderr=PIPE)
    out, err = running.communicate(timeout=240)
    assert (err, b"\x1b" in out) == (b"", False)


@POSIX
@pytest.mark.parametrize(("keys", "code", "left"), [("y\n", 0, 1), ("n\n", 1, 3), ("\x03", 130, 3)])
def test_prune_asks_on_a_terminal(on_a_terminal, cli, fill, keys, code, left):
    fill()
    prompt = "Delete 2 sessions with all their messages? [y/N]:"
    url = ("--conversation-url", "a.db")
    asked = on_a_terminal("prune", "--keep-last", "1", *url, prompt=prompt, keys=keys)
    assert prompt in asked[1]
    assert asked[0] == code
    assert len(cli("sessions", "--json", "--conversation-url", "a.db").json["sessions"]) == left


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_under_any_encoding(process, encoding):
    with open_conversation_store("a.db") as store:
        store.create_session(ConversationSession("\U0001f600", name="\u4f60\ud800"))
        store.add_message("\U0001f600", ConversationMessage(content="\u4f60\udfff"))
    for arguments in (["sessions"], ["show", "\U0001f600"], ["search", "\u4f60"]):
        running = process(
            *arguments, "--conversation-url", "a.db", stdout=PIPE, env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}
        )
        out, _ = running.communicate(timeout=240)
        assert running.returncode == 0
        out.decode(encoding)


def test_memory_does_not_grow_with_what_is_exported_and_imported(process):
    """64 MB of messages in one session, and in 80, by processes that may take 32 MB more than for next to nothing."""
    pytest.importorskip("resource")

    def peak(*arguments):
        running = process(*arguments, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 0
        return usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)

    def make(url, sessions, each):
        with open_conversation_store(url, synchronous="NORMAL") as store:
            for number in range(sessions):
                store.create_session(ConversationSession(f"s{number}"))
                for start in range(0, each, 100):
                    store.add_messages(
                        f"s{number}",
                        [ConversationMessage(id=f"{n}", content="x" * 8000) for n in range(start, start + 100)],
                    )

    make("small.db", 1, 100)
    make("one.db", 1, 8000)
    make("many.db", 80, 100)
    most = peak("copy", "--from", "small.db", "--to", "small-2.db") + 32
    for name in ("one", "many"):
        url = ("--conversation-url", f"{name}.db")
        assert peak("export", "--output", f"{name}.jsonl", *url) < most
        assert peak("show", "s0", "--json", *url) < most
        assert peak("import", "--file", f"{name}.jsonl", "--conversation-url", f"{name}-2.db") < most
        assert peak("copy", "--from", f"{name}.db", "--to", f"{name}-3.db", "--workers", "1") < most
