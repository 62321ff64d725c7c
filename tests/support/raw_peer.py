"""A peer that speaks the wire itself, for what a well-behaved client never sends."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import zmq

from adain_style.client import protocol
from adain_style.client.connection import read_connection_file
from adain_style.client.jobs import Message, StylizeJob
from adain_style.client.protocol import Header
from support.helpers import RunningServer
from support.server_inside import ServerInside

TIMEOUT_MS = 10_000


class RawPeer:
    """A DEALER socket with a time limit; ends without lingering."""

    def __init__(self, server: RunningServer | ServerInside, *, kind: int = zmq.DEALER) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        self.socket.setsockopt(zmq.SNDTIMEO, TIMEOUT_MS)
        self.socket.connect(read_connection_file(server.connection_file).endpoint)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close(linger=0)
        self._context.term()

    def send(self, frames: Sequence[bytes | memoryview]) -> None:
        """Send frames as they are."""
        self.socket.send_multipart(frames)

    def receive(self) -> Header:
        """The next message's header."""
        return protocol.unpack(self.socket.recv_multipart(), protocol.FROM_SERVER)[0]

    def ask(self, frames: Sequence[bytes | memoryview]) -> Header:
        """Send a message and return receive_answer()."""
        self.send(frames)
        return self.receive_answer()

    def receive_answer(self) -> Header:
        """The header of the next message that is not about progress: once a second each waiting job gets one."""
        while (header := self.receive())["op"] == "progress":
            pass
        return header

    def silent(self, milliseconds: int) -> bool:
        """Nothing arrives within that time."""
        return not self.socket.poll(milliseconds)

    def upload(self, job: StylizeJob) -> None:
        """Open a job and send all of its pixels, which must fit the first grant."""
        messages: list[Message] = job.open()
        for message in messages:
            self.send(message)
        while True:
            header, payload = protocol.unpack(self.socket.recv_multipart(), protocol.FROM_SERVER)
            replies = job.receive(header, payload)
            for message in replies:
                self.send(message)
            if header["op"] == "grant" and header["job"] == job.job_id:
                return

    def serve(self, jobs: Sequence[StylizeJob]) -> None:
        """Hand the next message, if one comes soon, to its job, and send the replies."""
        if not self.socket.poll(50):
            return
        header, payload = protocol.unpack(self.socket.recv_multipart(), protocol.FROM_SERVER)
        for job in jobs:
            if job.job_id == header.get("job"):
                for message in job.receive(header, payload):
                    self.send(message)
