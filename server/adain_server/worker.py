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
from adain_net.layout import LayoutError, load_decoder, load_encoder
from adain_net.network import AdainNetwork
from adain_net.statistics import StyleStatistics, mix_statistics
from adain_net.tiling import Box, TiledContent
from adain_net.transform import adain_transform
from adain_server.pixels import PixelArray, cut, pixel_array, to_mask, to_picture, union_mask, write_stylized
from adain_server.transparency import VisibleColours
from adain_weights.errors import WeightsError
from adain_weights.models import load_model

log = logging.getLogger(__name__)

Say = Callable[..., None]
"""Sends a message to the parent: the op and its fields."""
Check = Callable[[str, int, int], None]
"""Reports a stage, its step and its steps; raises Cancelled when the job is no longer wanted."""


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

    def say(op: str, **fields: Any) -> None:
        connection.send_bytes(msgpack.packb({"op": op, **fields}))

    try:
        chosen = choose_device(device)
        weights = load_model(model)
        network = AdainNetwork(load_encoder(weights.encoder), load_decoder(weights.decoder)).eval()
        network.to(chosen.torch_device)
    except (WeightsError, LayoutError) as error:
        say("unusable", message=str(error))
        return
    say("ready", device=chosen.name, model=weights.name, notice=chosen.notice)
    try:
        while True:
            message = msgpack.unpackb(connection.recv_bytes(), strict_map_key=False)
            if message["op"] == "stop":
                return
            if message["op"] == "run":
                _do(message, network, chosen.torch_device, connection, say)
    except (EOFError, OSError):
        return  # the parent has gone


def _do(message: dict[str, Any], network: AdainNetwork, device: torch.device, connection: Connection, say: Say) -> None:
    job = message["job"]

    def check(stage: str, step: int, steps: int) -> None:
        while connection.poll():
            other = msgpack.unpackb(connection.recv_bytes(), strict_map_key=False)
            if other["op"] == "cancel" and other["job"] == job:
                raise Cancelled
        say("progress", job=job, stage=stage, step=step, steps=steps)

    memory = SharedMemory(name=message["segment"])
    assert memory.buf is not None
    reply = _attempt(message, memory.buf, network, device, check, say)
    # Not in a `finally`: an exception on its way keeps views of the memory alive, and it could not be closed.
    memory.close()
    say(job=job, **reply)


def _attempt(
    message: dict[str, Any], buffer: memoryview, network: AdainNetwork, device: torch.device, check: Check, say: Say
) -> dict[str, Any]:
    """Do a job and turn whatever happens into the reply."""
    try:
        return {"op": "finished", "digest": _stylize(message, buffer, network, device, check, say)}
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
def _stylize(
    message: dict[str, Any],
    buffer: memoryview,
    network: AdainNetwork,
    device: torch.device,
    check: Check,
    say: Say,
) -> bytes:
    """Do a job in its memory and return the result's digest."""
    content, out = _part(buffer, message["content"]), _part(buffer, message["result"])
    height, width, channels = content.shape
    out[:] = content
    opacity = content[:, :, 3:] if channels == 4 and content[:, :, 3].min() < 255 else None
    regions = [region for region in message["regions"] if _selects(region, buffer, opacity)]
    if regions:
        masks = [_part(buffer, region["mask"]) if region["mask"] is not None else None for region in regions]
        styles = _styles(message["styles"], regions, buffer, network, device, check, say)
        tiled = TiledContent(
            network,
            (lambda part: to_picture(cut(content, part), device))
            if opacity is None
            else VisibleColours(content, device),
            [None if mask is None else to_mask(mask) for mask in masks],
            height=height,
            width=width,
            opacity=None if opacity is None else to_mask(opacity),
        )

        def write(part: Box, painted: torch.Tensor) -> None:
            write_stylized(painted, union_mask(masks, part), cut(out, part))

        own = tiled.statistics(check)
        transforms = [
            adain_transform(
                region_own,
                mix_statistics([styles[digest] for digest in region["styles"]], region["weights"]),
                alpha=region["alpha"],
            )
            for region_own, region in zip(own, regions, strict=True)
        ]
        tiled.decode(transforms, write, check)
    return protocol.blob_digest(out.data, height, width, channels)


def _selects(region: dict[str, Any], buffer: memoryview, opacity: PixelArray | None) -> bool:
    """A region has at least one pixel that is seen."""
    if region["mask"] is None:
        return opacity is None or bool(opacity.any())
    mask = _part(buffer, region["mask"])
    return bool(mask.any() if opacity is None else (mask.astype(bool) & opacity.astype(bool)).any())


def _styles(
    styles: dict[bytes, dict[str, Any]],
    regions: list[dict[str, Any]],
    buffer: memoryview,
    network: AdainNetwork,
    device: torch.device,
    check: Check,
    say: Say,
) -> dict[bytes, StyleStatistics]:
    """Statistics of the styles that the regions need, by digest; new ones are told to the parent."""
    wanted = list(dict.fromkeys(digest for region in regions for digest in region["styles"]))
    result = {}
    for index, digest in enumerate(wanted):
        check("style", index, len(wanted))
        if (packed := styles[digest]["statistics"]) is None:
            result[digest] = network.style_statistics(to_picture(_part(buffer, styles[digest]["part"]), device))
            say("style", digest=digest, statistics=pack_statistics(result[digest]))
        else:
            result[digest] = unpack_statistics(packed, device)
    return result


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
