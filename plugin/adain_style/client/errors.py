"""One tree of errors; every message is a sentence for the user."""

from __future__ import annotations


class AdainError(Exception):
    """Anything that went wrong between a client and the server."""


class ServerUnavailableError(AdainError):
    """No server answers, or none can be started."""


class ProtocolError(AdainError):
    """The other side broke the protocol.

    Attributes:
        code: One of protocol.ERRORS.
        retryable: The same request may succeed later.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class RequestError(AdainError):
    """The server refused or ended a job.

    Attributes:
        code: One of protocol.ERRORS.
        retryable: The same request may succeed later.
        retry_after_s: How long to wait before trying again, in seconds; None when the server does not say.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class CancelledError(AdainError):
    """The job was cancelled, as asked."""
