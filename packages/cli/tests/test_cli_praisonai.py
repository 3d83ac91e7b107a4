"""``praisonai persistence ...`` with PraisonAI's import paths: it is this command."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# How PraisonAI comes to its handler: by way of another package, with what its parser has left over, and it ends with 0.
DISPATCHER = """
import sys
def main():
    if sys.argv[1:2] == ["persistence"]:
        from praisonai.cli.features.persistence import handle_persistence_command
        handle_persistence_command(["left", "over"])
        return
    print("PraisonAI itself", sys.argv[1:])
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def praisonai(tmp_path):
    """Runs PraisonAI, as it is installed in a folder, with its import paths served from here."""
    package = tmp_path / "site" / "praisonai"
    (package / "cli" / "features").mkdir(parents=True)
    for folder in (package, package / "cli", package / "cli" / "features"):
        (folder / "__init__.py").touch()
    (package / "__main__.py").write_text(DISPATCHER)
    (package / "cli" / "features" / "persistence.py").write_text("raise RuntimeError('PraisonAI itself')")
    script = tmp_path / "site" / "script"
    script.write_text("from praisonai.__main__ import main; main()")

    def run(*arguments, through=("-m", "praisonai"), **options):
        command = [sys.executable, "-m", "praisonai_persistence.compat", *through, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, **options)

    return run


@pytest.mark.parametrize("through", [("-m", "praisonai"), ("site/script",)], ids=["module", "script"])
def test_its_commands_are_ours(praisonai, fill, through):
    fill()
    where = ("--conversation-url", "a.db")

    def ours(*arguments, code=0):
        ended = praisonai("persistence", *arguments, through=through)
        assert ended.returncode == code, ended.stderr
        return ended

    assert json.loads(ours("status", "--json", *where).stdout)["ok"]
    assert json.loads(ours("doctor", "--json", *where).stdout)["ok"]
    assert "message 3 of session 1" in ours("resume", "--session-id", "s1", "--show-history", *where).stdout
    assert "session-s1.jsonl: 1 sessions" in ours("export", "--session-id", "s1", *where).stdout
    ours("export", "--session-id", "s1", "--output", "x.jsonl", *where)
    ours("import", "--file", "session-s1.jsonl", "--conversation-url", "b.db")
    ended = ours(
        "resume", "--session-id", "s1", "--show-history", "--user-id", "ada", "--state-url=redis://none", *where
    )
    assert "message 3 of session 1" in ended.stdout
    ours("migrate", "--up", "--target", "1.0.0", *where)
    ours("import", "--file", "x.jsonl", "--conversation-url", "b.db")
    assert json.loads(ours("migrate", "--json", *where).stdout)["stores"]
    assert "dry run" in ours("run", "--dry-run", "hello", *where).stdout
    assert ours("show", "nope", *where, code=1).stderr.startswith("Error: there is no session 'nope'")
    assert "Did you mean 'export'?" in ours("expotr", code=2).stderr
    assert "Usage: praisonai-persistence" in ours("help").stdout
    assert "Usage: praisonai-persistence doctor" in ours("doctor", "--help").stdout


def test_other_commands_stay_its_own(praisonai):
    assert praisonai("code", "-m", "x").stdout == "PraisonAI itself ['code', '-m', 'x']\n"


def test_standard_input_is_left_to_the_command(praisonai, fill, read):
    fill()
    exported = praisonai("persistence", "export", "--conversation-url", "a.db").stdout
    ended = praisonai("persistence", "import", "--file", "-", "--conversation-url", "b.db", input=exported)
    assert ended.returncode == 0, ended.stderr
    assert read("b.db") == read("a.db")


def test_a_program_that_calls_the_handler(tmp_path, fill):
    fill()
    (tmp_path / "site").mkdir()
    program = (
        "import praisonai_persistence.compat._command as command\n"
        "assert command.handle_persistence_command(['sessions', '--conversation-url', 'a.db'])\n"
        "command.handle_persistence_command(['show', 'nope', '--conversation-url', 'a.db'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    assert (ended.returncode, ended.stdout.count("\n")) == (1, 4)
    assert ended.stderr.startswith("Error: there is no session 'nope'")


@pytest.mark.skipif(not os.path.exists("/proc/self/cmdline"), reason="needs /proc")
def test_the_handler_is_there_without_praisonai(tmp_path, fill):
    fill()
    code = (
        "import praisonai_persistence.compat\n"
        "from praisonai.cli.features.persistence import handle_persistence_command\n"
        "print(handle_persistence_command(['status', '--json', '--conversation-url', 'a.db']))\n"
        "try:\n    import praisonai.cli.main\nexcept ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert '"ok": true' in ended.stdout
    assert ended.stdout.splitlines()[-2:] == ["True", "praisonai.cli.main"]


def test_passwords_in_arguments_are_hidden(tmp_path):
    program = (
        "import sys\nsys.argv[1:] = ['persistence', *sys.argv[1:]]\n"
        "from praisonai_persistence.compat._command import handle_persistence_command\n"
        "try:\n    handle_persistence_command([])\n"
        "except SystemExit:\n    print(open('/proc/self/cmdline').read())\n"
    )
    command = [sys.executable, "-c", program, "status", "--conversation-url", "nosuch://ada:s3cret@host/x"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert "nosuch://ada:***" in ended.stdout
    assert "s3cret" not in ended.stdout + ended.stderr
