"""The server's errors: those that end it, and those that are sent to a client."""

from __future__ import annotations


class ServerError(Exception):
    """The server cannot start or continue; the message is one sentence for the terminal."""


class JobError(Exception):
    """A request is refused or a job ends; the client gets the code and the sentence.

    Attributes:
        code: One of adain_style.client.protocol.ERRORS.
        retry_after_s: For BUSY, when to try again, in seconds.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


def busy() -> JobError:
    """The error for a resource that is full now and will have room again by itself."""
    return JobError("BUSY", "The server is busy; try again in a few seconds.", retry_after_s=2.0)
