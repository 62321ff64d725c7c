"""The common interface of all hosts: a folder for plug-ins, and an answer about the plug-in in it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adain_plugin.machine import Machine
from adain_plugin.question import ANSWER, PLUGIN


@dataclass(frozen=True)
class Answer:
    """The answer that question.py prints inside a host.

    Attributes:
        version: The host's version, like "3.0.4"; empty when it is not known.
        is_listed: Whether the host knows the plug-in, so that the menu entry is there.
        python: The version of the host's Python, like "3.13"; empty when unknown, then like platform, glibc, modules.
        platform: The result of sysconfig.get_platform() there.
        glibc: The version of glibc, like "2.41"; empty where there is none.
        is_flatpak: Whether the host runs inside a Flatpak.
        modules: The origin of each library: "own", "vendor" or "missing".
    """

    version: str
    is_listed: bool
    python: str
    platform: str
    glibc: str
    is_flatpak: bool
    modules: Mapping[str, str]

    @property
    def missing(self) -> list[str]:
        """The libraries that the plug-in would not find."""
        return [name for name, origin in self.modules.items() if origin == "missing"]


def read_answer(output: str) -> Answer | None:
    """Find the answer in a host's output; None when there is none, or when it is cut off or garbled."""
    for line in output.splitlines():
        if line.startswith(ANSWER):
            with suppress(ValueError, TypeError):
                return Answer(**json.loads(line.removeprefix(ANSWER)))
    return None


class Host(ABC):
    """A host's user folder, with the program that uses it if one was found.

    Attributes:
        machine: The machine that it is on.
        name: The host's name for users.
        menu: The plug-in's place in its menus.
        beside: Names of files that belong beside the plug-in's folder.
    """

    machine: Machine
    name: str
    menu: str
    beside: tuple[str, ...] = ()

    @property
    @abstractmethod
    def title(self) -> str:
        """Name and version."""

    @property
    @abstractmethod
    def plugins(self) -> Path:
        """The folder that holds plug-ins; it may not exist yet."""

    @property
    @abstractmethod
    def program(self) -> str:
        """The command that starts the host; empty when it was not found."""

    @property
    def can_be_asked(self) -> bool:
        """Whether ask() can be called."""
        return bool(self.program)

    @property
    @abstractmethod
    def starts(self) -> str:
        """The program that ask() starts, in words for the user; empty when it starts none."""

    @abstractmethod
    def ask(self) -> Answer:
        """Ask the host about itself and the plug-in; starting it for this creates its folders on a first start.

        Raises:
            ProgramError: It cannot be started, takes too long, or does not answer.
        """

    @property
    def target(self) -> Path:
        """The plug-in's place."""
        return self.plugins / PLUGIN

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """Let the host load the plug-in; this is undone when the body raises. Raises FilesError."""
        yield

    def disable(self) -> None:  # noqa: B027  # GIMP loads every plug-in that is there
        """Let the host no longer load the plug-in. Raises FilesError."""

    @property
    def obstacle(self) -> str:
        """A sentence about what keeps a change from lasting and what to do about it; empty for nothing."""
        return ""
