"""What all hosts have in common: a folder for plug-ins, and an answer to what is in it."""

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
    """What question.py prints inside a host.

    Attributes:
        version: The host's, like "3.0.4"; empty when it is not known.
        is_listed: The host knows the plug-in, so the menu entry is there.
        python: The version of the host's Python, like "3.13"; empty when it is not known, and so are the others then.
        platform: As sysconfig.get_platform() says it there.
        glibc: The version of glibc, like "2.41"; empty where there is none.
        is_flatpak: The host runs inside a Flatpak.
        modules: Where each library comes from: "own", "vendor" or "missing".
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
    """The answer in what a host printed; None when there is none, or when it broke off or was written into."""
    for line in output.splitlines():
        if line.startswith(ANSWER):
            with suppress(ValueError, TypeError):
                return Answer(**json.loads(line.removeprefix(ANSWER)))
    return None


class Host(ABC):
    """A host's user folder, with the program that reads it when that was found.

    Attributes:
        machine: Where it is.
        name: What users call it.
        menu: Where the plug-in is found in it.
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
        """What starts the host; empty when that was not found."""

    @property
    def can_be_asked(self) -> bool:
        """Whether ask() is of use."""
        return bool(self.program)

    @property
    @abstractmethod
    def starts(self) -> str:
        """What ask() starts, for the user; empty when that is nothing."""

    @abstractmethod
    def ask(self) -> Answer:
        """Ask the host what it has; one that has to be started for it makes its folders on its first start.

        Raises:
            ProgramError: It cannot be started, takes too long, or does not answer.
        """

    @property
    def target(self) -> Path:
        """The plug-in's place."""
        return self.plugins / PLUGIN

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """Let the host load the plug-in; whatever fails inside takes that back. Raises FilesError."""
        yield

    def disable(self) -> None:  # noqa: B027  # GIMP loads whatever is there
        """Let the host no longer load the plug-in. Raises FilesError."""

    @property
    def obstacle(self) -> str:
        """What keeps a change from lasting, as a sentence that says what to do; mostly empty."""
        return ""
