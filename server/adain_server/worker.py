"""The worker: the only process that loads torch and computes. It knows nothing of sockets or clients.

It keeps nothing between jobs but the network: what may be kept (styles' statistics) it hands to its parent, so that a
dead worker loses nothing.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import msgpack
import numpy as np
import torch

from adain_client import protocol
from adain_net.layout import LayoutError, load_network
from adain_net.network import AdainNetwork
from adain_net.statistics import StyleStatistics, mix_statistics
from adain_net.tiling import Box, TiledContent
from adain_net.transform import adain_transform
from adain_server.pixels import PixelArray, cut, pixel_array, to_mask, to_picture, union_mask, write_stylized
from adain_server.transparency import VisibleColours
from adain_weights.errors import WeightsError
from adain_weights.models import load_model

log = logging.getLogger(__name__)


class Cancelled(Exception):  # noqa: N818  # not an error: what was asked for
    """The parent no longer wants the job."""


@dataclass(frozen=True)
class Device:
    """What computes.

    Attributes:
        torch_device: For tensors. name: For people. notice: A sentence when it is not what was asked for.
    """

    torch_device: torch.device
    name: str
    notice: str = ""


def choose_device(wanted: str) -> Device:
    """The device for a name: auto, cpu, cuda or mps. One that is absent becomes the CPU, with a notice."""
    if wanted in ("auto", "cuda") and torch.cuda.is_available():
        return Device(torch.device("cuda"), torch.cuda.get_device_name(0))
    if wanted in ("auto", "mps") and torch.backends.mps.is_available():
        return Device(torch.device("mps"), "Apple GPU")
    threads = torch.get_num_threads()
    cpu = f"cpu ({threads} thread{'s' if threads > 1 else ''})"
    notice = (
        "" if wanted in ("auto", "cpu") else f"There is no {wanted} device on this machine; the CPU is used instead."
    )
    return Device(torch.device("cpu"), cpu, notice)


def run_worker(connection: Connection, *, device: str, model: str) -> None:
    """Load the model, then do jobs until the parent says stop or closes the pipe.

    Args:
        connection: To the parent. device: As ServerConfig.device. model: As ServerConfig.model.
    """
    # The parent decides when to end: Ctrl-C in the terminal reaches the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    try:
        chosen = choose_device(device)
        weights = load_model(model)
        network = load_network(weights.encoder, weights.decoder).eval()
        network.to(chosen.torch_device)
    except (WeightsError, LayoutError) as error:
        _say(connection, "unusable", message=str(error))
        return
    _say(connection, "ready", device=chosen.name, model=weights.name, notice=chosen.notice)
    worker = Worker(connection, network, chosen.torch_device)
    try:
        while (message := _hear(connection))["op"] != "stop":
            if message["op"] == "run":  # a cancel may come for a job that is over
                worker.do(message)
    except (EOFError, OSError):
        return  # the parent has gone


class Worker:
    """Does jobs, one at a time."""

    def __init__(self, connection: Connection, network: AdainNetwork, device: torch.device) -> None:
        self._connection = connection
        self._network = network
        self._device = device
        self._job = b""

    def do(self, message: dict[str, Any]) -> None:
        """Do the job of a `run` message and say how it ended."""
        self._job = message["job"]
        memory = SharedMemory(name=message["segment"])
        assert memory.buf is not None
        reply = self._attempt(message, memory.buf)
        # Not in a `finally`: an exception on its way keeps views of the memory alive, and it could not be closed.
        memory.close()
        _say(self._connection, job=self._job, **reply)

    def _attempt(self, message: dict[str, Any], buffer: memoryview) -> dict[str, Any]:
        """Do a job and turn whatever happens into the reply."""
        try:
            return {"op": "finished", "digest": self._stylize(message, buffer)}
        except Cancelled:
            return {"op": "cancelled"}
        except (torch.OutOfMemoryError, MemoryError):
            sentence = "The picture does not fit the device's memory; scale it down."
            return {"op": "failed", "code": "OUT_OF_MEMORY", "message": sentence}
        except (EOFError, OSError):
            raise
        except Exception:
            log.exception("job failed")
            return {"op": "failed", "code": "INTERNAL", "message": "The server made a mistake; its log says more."}

    @torch.inference_mode()
    def _stylize(self, message: dict[str, Any], buffer: memoryview) -> bytes:
        """Do a job in its memory and return the result's digest."""
        content, out = _part(buffer, message["content"]), _part(buffer, message["result"])
        height, width, channels = content.shape
        out[:] = content
        opacity = content[:, :, 3:] if channels == 4 and content[:, :, 3].min() < 255 else None
        regions = [region for region in message["regions"] if _selects(region, buffer, opacity)]
        if regions:
            masks = [_part(buffer, region["mask"]) if region["mask"] is not None else None for region in regions]
            tiled = TiledContent(
                self._network,
                self._colours(content) if opacity is None else VisibleColours(content, self._device),
                [None if mask is None else to_mask(mask) for mask in masks],
                height=height,
                width=width,
                opacity=None if opacity is None else to_mask(opacity),
            )
            styles = [self._style(region, message["styles"], buffer) for region in regions]
            transforms = [
                adain_transform(own, style, alpha=region["alpha"])
                for own, style, region in zip(tiled.statistics(self._check), styles, regions, strict=True)
            ]

            def write(part: Box, painted: torch.Tensor) -> None:
                write_stylized(painted, union_mask(masks, part), cut(out, part))

            tiled.decode(transforms, write, self._check)
        return protocol.blob_digest(out.data, height, width, channels)

    def _style(
        self, region: dict[str, Any], styles: dict[bytes, dict[str, Any]], buffer: memoryview
    ) -> StyleStatistics:
        """A region's mixed style; statistics that are new are told to the parent, and kept for the next region."""
        parts = []
        for digest in region["styles"]:
            style = styles[digest]
            if style["statistics"] is None:
                picture = _part(buffer, style["part"])
                # In tiles as well: a style may be as large as a content.
                tiled = TiledContent(
                    self._network,
                    self._colours(picture),
                    [None],
                    height=picture.shape[0],
                    width=picture.shape[1],
                    feature_bytes=0,
                )
                (statistics,) = tiled.statistics(lambda _stage, step, steps: self._check("style", step, steps))
                style["statistics"] = pack_statistics(statistics)
                _say(self._connection, "style", digest=digest, statistics=style["statistics"])
            parts.append(unpack_statistics(style["statistics"], self._device))
        return mix_statistics(parts, region["weights"])

    def _colours(self, picture: PixelArray) -> Callable[[Box], torch.Tensor]:
        return lambda box: to_picture(cut(picture, box), self._device)

    def _check(self, stage: str, step: int, steps: int) -> None:
        """Report a stage; raises Cancelled when the job is no longer wanted."""
        while self._connection.poll():
            message = _hear(self._connection)
            if message["op"] == "cancel" and message["job"] == self._job:
                raise Cancelled
        _say(self._connection, "progress", job=self._job, stage=stage, step=step, steps=steps)


def _say(connection: Connection, op: str, **fields: Any) -> None:
    connection.send_bytes(msgpack.packb({"op": op, **fields}))


def _hear(connection: Connection) -> dict[str, Any]:
    message: dict[str, Any] = msgpack.unpackb(connection.recv_bytes(), strict_map_key=False)
    return message


def _selects(region: dict[str, Any], buffer: memoryview, opacity: PixelArray | None) -> bool:
    """A region has at least one pixel that is seen."""
    if region["mask"] is None:
        return opacity is None or bool(opacity.any())
    mask = _part(buffer, region["mask"])
    return bool(mask.any() if opacity is None else (mask.astype(bool) & opacity.astype(bool)).any())


def _part(buffer: memoryview, part: dict[str, int]) -> PixelArray:
    return pixel_array(buffer[part["offset"] :], part["height"], part["width"], part["channels"])


def pack_statistics(statistics: StyleStatistics) -> bytes:
    """One style's mean and deviation as float32 bytes: 4 KB for 512 channels."""
    both = torch.stack([statistics.mean[0], statistics.std[0]])
    return both.float().cpu().numpy().tobytes()


def unpack_statistics(packed: bytes, device: torch.device) -> StyleStatistics:
    """The reverse of pack_statistics()."""
    both = torch.tensor(np.frombuffer(packed, dtype=np.float32).reshape(2, 1, -1), device=device)
    return StyleStatistics(both[0], both[1])
