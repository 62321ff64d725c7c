"""The boundary of every command: what the console and the file system do becomes a sentence, or nothing at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import adain_plugin.cli
import adain_server.cli
import adain_stylize.cli
import adain_trainer.cli
import adain_weights.cli
from adain_plugin.errors import ProgramError
from adain_plugin.machine import Machine
from adain_style.client.folders import NO_HOME, settings_folder, user_styles_folder
from adain_weights.catalog import user_models_folder
from adain_weights.console import INTERRUPTED, READER_IS_GONE, run_command

Main = Callable[[Sequence[str] | None], int]
COMMANDS: dict[str, Main] = {
    "adain-plugin": adain_plugin.cli.main,
    "adain-server": adain_server.cli.main,
    "adain-stylize": adain_stylize.cli.main,
    "adain-trainer": adain_trainer.cli.main,
    "adain-weights": adain_weights.cli.main,
}


class _OwnError(Exception):
    pass


def _raise(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (_OwnError("It is so."), 1, "x: It is so.\n"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 1, "x: a/b cannot be used: Permission denied.\n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "b"), 1, "x: b cannot be used: File name too long.\n"),
        (OSError("it broke"), 1, "x: A file or the output cannot be used: it broke.\n"),
        (KeyboardInterrupt(), INTERRUPTED, "x: stopped.\n"),
    ],
)
def test_failures_are_sentences(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command's own errors, the file system's and Ctrl-C."""
    assert run_command("x", _raise(error), failures=(_OwnError,)) == status
    assert capsys.readouterr() == ("", said)


def test_mistakes_of_the_program_are_not_hidden() -> None:
    """They are for whoever mends it."""
    with pytest.raises(ZeroDivisionError):
        run_command("x", _raise(ZeroDivisionError()), failures=(_OwnError,))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_boundary(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the file system says to it, and Ctrl-C at any time."""
    errors = [PermissionError(errno.EACCES, "Permission denied", "a/b"), KeyboardInterrupt()]

    def fail() -> None:
        raise errors.pop(0)

    monkeypatch.setattr(sys.modules[COMMANDS[name].__module__], "_parser", fail)
    assert COMMANDS[name]([]) == 1
    assert capsys.readouterr().err == f"{name}: a/b cannot be used: Permission denied.\n"
    assert COMMANDS[name]([]) == INTERRUPTED and capsys.readouterr().err.startswith(f"{name}: ")


def _program(body: str) -> list[str]:
    """A command in a Python of its own, as a shell starts it."""
    return [
        sys.executable,
        "-c",
        "import sys\nfrom adain_weights.console import run_command\n"
        f"def run():\n    {body}\n    return 0\n"
        "sys.exit(run_command('x', run, failures=()))",
    ]


@pytest.mark.parametrize(
    "body", ["for n in range(100_000): print(n)", "print(1)", "print(1); sys.exit(0)", "sys.stdout.write('1\\n')"]
)
def test_reader_that_has_seen_enough_ends_a_command_quietly(body: str) -> None:
    """As `head` does: in the middle, at the end, and after --help, which leaves by an exception."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(_program(body), stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (READER_IS_GONE, b"")


def test_broken_pipe_of_another_process_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Only a console that nobody reads ends a command without a word."""
    error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert run_command("x", _raise(error), failures=(_OwnError,)) == 1
    assert capsys.readouterr().err == "x: A file or the output cannot be used: Broken pipe.\n"
    done = subprocess.run(
        _program("raise BrokenPipeError(32, 'Broken pipe')"), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, b"x: A file or the output cannot be used: Broken pipe.\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_is_full_is_a_sentence() -> None:
    """Said once; Python does not fail again when it ends."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(_program("print(1)"), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"x: A file or the output cannot be used: No space left on device.\n")


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("ascii", b"caf?"), ("cp1251", b"caf?"), ("cp932", b"caf?"), ("utf-8", "café".encode())],
)
def test_letter_that_a_console_lacks_is_replaced(encoding: str, written: bytes) -> None:
    """On both streams."""
    done = subprocess.run(
        _program("print('caf\\xe9'); print('caf\\xe9', file=sys.stderr)"),
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.rstrip(), done.stderr.rstrip()) == (0, written, written)


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that has a number and no home folder, as in a container."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)

    def home(_cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(home))


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_no_home_folder(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command explains itself to everybody."""
    with pytest.raises(SystemExit) as ended:
        COMMANDS[name](["--help"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith(f"usage: {name} ")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_nothing_is_found_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Models and styles of the user's own are none; the embedded model is listed; the plug-in has no place to go."""
    assert [folder.is_relative_to(NO_HOME) for folder in (settings_folder(), user_styles_folder())] == [True, True]
    assert user_models_folder().is_relative_to(NO_HOME)
    assert adain_weights.cli.main(["list"]) == 0 and "embedded" in capsys.readouterr().out
    with pytest.raises(ProgramError, match="no home folder"):
        Machine.here()


def test_memory_beyond_all_numbers_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    """An option's number may have any length."""
    with pytest.raises(SystemExit) as ended:
        adain_server.cli.main(["--memory-budget", "9" * 400 + "G"])
    assert ended.value.code == 2 and "is more than any machine has" in capsys.readouterr().err
