"""Passwords of URLs: given in files, and not shown by ``ps``."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from praisonai_persistence_cli._app import _COMMANDS, app
from praisonai_persistence_cli._arguments import secret_spans

PROC = pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs /proc")
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX rights")


def private(path, text):
    path = Path(path)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


# --------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("text", ["a.db", "sqlite:///a.db\n", "\n  sqlite:///a.db  \r\n"])
def test_a_url_stands_in_a_file(cli, fill, text):
    fill()
    result = cli("sessions", "--conversation-url-file", private("url", text))
    assert (result.code, result.err) == (0, "")
    assert result.out.count("\n") == 4


def test_a_path_with_blanks(cli, fill):
    fill("sqlite:///my agent.db")
    assert cli("sessions", "--conversation-url-file", private("url", "sqlite:///my agent.db\n")).code == 0


def test_every_option_for_a_url_has_one_for_a_file():
    for name in _COMMANDS:
        options = {option for parameter in app.get_command(None, name).params for option in parameter.opts}
        urls = options & {"--conversation-url", "--knowledge-url", "--state-url", "--from", "--to"}
        assert {f"{url}-file" for url in urls} <= options


def test_a_copy_from_file_to_file(cli, fill, read):
    fill()
    result = cli("copy", "--from-file", private("one", "a.db"), "--to-file", private("two", "b.db"))
    assert result.code == 0
    assert read("b.db") == read("a.db")
    doctored = cli("doctor", "--json", "--state-url-file", private("one", "a.db"))
    assert [store["kind"] for store in doctored.json["stores"]] == ["state"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sessions", "--conversation-url-file", "missing"], "--conversation-url-file: cannot read missing"),
        (["sessions", "--conversation-url-file", "."], "--conversation-url-file: cannot read ."),
        (["sessions", "--conversation-url-file", "empty"], "empty must hold one URL and nothing else"),
        (["sessions", "--conversation-url-file", "two"], "two must hold one URL and nothing else"),
        (["sessions", "--conversation-url-file", "bytes"], "bytes is not text in UTF-8"),
        (["sessions", "--conversation-url-file", "wrong"], "'postgresql://ada:***@host:x/y' is not a store URL"),
        (["sessions", "--conversation-url-file", "one", "--conversation-url", "a.db"], "give either"),
        (["copy", "--to", "b.db"], "--from is missing; --from-file reads the URL from a file"),
        (["copy", "--from-file", "one", "--to-file", "one"], "the same store"),
        (["copy", "--from-file", "-", "--to-file", "-"], "one URL only can be read from standard input"),
        (["import", "--file", "-", "--conversation-url-file", "-"], "both read standard input"),
    ],
)
def test_files_that_are_no_use(cli, monkeypatch, arguments, says):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("a.db"))
    private("empty", "\n")
    private("two", "a.db\nb.db\n")
    private("one", "a.db")
    private("wrong", "postgresql://ada:s3cret@host:x/y")
    Path("bytes").write_bytes(b"\xff\xfe")
    Path("bytes").chmod(0o600)
    result = cli(*arguments)
    assert result.code == 2
    assert says in result.error
    assert "s3cret" not in result.err


def test_a_url_from_standard_input(process, fill):
    fill()
    running = process("sessions", "--conversation-url-file", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = running.communicate(b"a.db\n", timeout=240)
    assert (running.returncode, out.count(b"\n")) == (0, 4)


@POSIX
def test_a_file_that_others_can_read_is_warned_of(cli, fill):
    fill()
    private("url", "a.db")
    for mode in (0o640, 0o604):
        Path("url").chmod(mode)
        result = cli("sessions", "--conversation-url-file", "url")
        assert (result.code, result.err) == (0, "warning: others can read url: chmod 600 url\n")
    Path("url").chmod(0o400)
    assert cli("sessions", "--conversation-url-file", "url").err == ""


@POSIX
def test_a_pipe_is_no_file_that_others_can_read(process, fill):
    fill()
    reading, writing = os.pipe()
    os.write(writing, b"a.db")
    os.close(writing)
    file = f"/dev/fd/{reading}"
    running = process("sessions", "--conversation-url-file", file, pass_fds=[reading], stderr=subprocess.PIPE)
    os.close(reading)
    assert (running.communicate(timeout=240)[1], running.returncode) == (b"", 0)


# ------------------------------------------------------------------------------------------------------------------ ps


@pytest.mark.parametrize(
    ("argument", "hidden"),
    [
        ("postgresql://ada:s3cret@host/db", "postgresql://ada:******@host/db"),
        ("--conversation-url=postgresql://ada:s3cret@host/db", "--conversation-url=postgresql://ada:******@host/db"),
        ("redis://:key@host", "redis://:***@host"),
        ("postgresql://ada:@host/db?password=s3cret", None),
        ("postgresql://ada:a/b@c#d?e@host/db", None),
        ("mysql://token@host/db", None),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("a.db", "a.db"),
    ],
)
def test_where_secrets_stand(argument, hidden):
    shown = argument
    for begin, end in secret_spans(argument):
        shown = shown[:begin] + "*" * (end - begin) + shown[end:]
    assert len(shown) == len(argument)
    if hidden is None:
        assert not any(secret in shown for secret in ("s3cret", "a/b", "c#d", "e@", "token"))
        assert shown.startswith(argument.partition("://")[0])
    else:
        assert shown == hidden


@PROC
@pytest.mark.parametrize("form", ["--conversation-url {}", "--conversation-url={}"])
@pytest.mark.parametrize("password", ["s3cret", "p\u00e4ss-s3cret", "a/b@s3cret"])
def test_ps_shows_no_password(process, form, password):
    """While the command waits for a server that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://ada:{password}@127.0.0.1:{server.getsockname()[1]}/db?connect_timeout=20"
        # An unescaped / is refused at once; then it is the other store that is waited for.
        more = ["--state-url", f"redis://ada:other@127.0.0.1:{server.getsockname()[1]}"] if "/" in password else []
        running = process("doctor", *form.format(url).split(" "), *more, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        server.settimeout(60)
        connection, _ = server.accept()
        with connection:
            assert running.poll() is None
            shown = Path(f"/proc/{running.pid}/cmdline").read_bytes()
            rights = os.stat(f"/proc/{running.pid}/environ").st_mode
            running.kill()
            running.wait()
    assert b"s3cret" not in shown
    assert b"other" not in shown
    assert b"postgresql://ada:*" in shown
    assert b"\0doctor\0" in shown
    assert not rights & (stat.S_IRGRP | stat.S_IROTH)


@PROC
def test_what_was_hidden_is_used(process, fill):
    """The command itself has the URL as it was given."""
    fill("sqlite:///x@y:z.db")
    arguments = ("sessions", "--conversation-url", "sqlite:///x@y:z.db")
    running = process(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = running.communicate(timeout=240)
    assert (running.returncode, err, out.count(b"\n")) == (0, b"", 4)
