"""The worker: the only process that loads torch and computes. It knows nothing of sockets or clients.

What it keeps between jobs only saves time: a worker that is started again does the same job from the same message.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch

from adain_client import protocol
from adain_net.encoder import LAYERS, RELU4_1
from adain_net.layout import LayoutError
from adain_net.measured_style import MeasuredStyle
from adain_net.statistics import StyleStatistics
from adain_server.config import LEAST_MEMORY_BUDGET
from adain_server.errors import JobError
from adain_server.worker.layers import DTYPES, Array, Layer
from adain_server.worker.loaded_models import LoadedModels
from adain_server.worker.measured_styles import Style
from adain_server.worker.rendering import RegionInput, RegionStatistics, RenderRequest
from adain_weights.errors import WeightsError
from adain_weights.hub import obtain
from adain_weights.models import load_model
from adain_weights.picture_files import PictureError, style_picture
from adain_weights.styles import parse_style, read_style

log = logging.getLogger(__name__)

APPLE_GPU = "Apple GPU"
DRAFT_EVERY_S = 1.0
"""At most so often the picture is shown as it forms."""


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
    """The device for a name: auto, cpu, cuda or mps. One that is absent or taken becomes the CPU, with a notice."""
    notice = "" if wanted in ("auto", "cpu") else f"There is no {wanted} device on this machine"
    for kind, is_there in (("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available)):
        if wanted in ("auto", kind) and is_there():
            try:
                torch.empty(LEAST_MEMORY_BUDGET, dtype=torch.uint8, device=kind)
                return Device(torch.device(kind), torch.cuda.get_device_name(0) if kind == "cuda" else APPLE_GPU)
            except RuntimeError as error:  # other programs have all of it, or it fails
                log.warning("the %s device cannot be used: %s", kind, error)
                notice = f"The {kind} device is taken or fails"
    threads = torch.get_num_threads()
    cpu = f"cpu ({threads} thread{'s' if threads > 1 else ''})"
    return Device(torch.device("cpu"), cpu, f"{notice}; the CPU is used instead." if notice else "")


def known_devices() -> list[str]:
    """What could compute on this machine, for people."""
    cards = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    apple = [APPLE_GPU] if torch.backends.mps.is_available() else []
    return [*cards, *apple, choose_device("cpu").name]


NICENESS = 10
"""It takes all the processor that nobody else wants: whoever paints beside it, in the host that asked, goes first."""


def run_worker(connection: Connection, *, device: str, model: str, models: Path, memory_budget: int) -> None:
    """Load the model, then do jobs until the parent says stop or closes the pipe.

    Args:
        connection: To the parent.
        device, model, models, memory_budget: As in ServerConfig.
    """
    # The parent decides when to end: Ctrl-C in the terminal reaches the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICENESS)

    try:
        chosen = choose_device(device)
        found, notice = obtain(model, models)
        weights = load_model(found, models)
        loaded = LoadedModels(weights, device=chosen.torch_device, models=models, memory_budget=memory_budget)
    except (WeightsError, LayoutError) as error:
        _say(connection, "unusable", message=str(error))
        return
    notices = [sentence for sentence in (chosen.notice, notice) if sentence]
    _say(
        connection,
        "ready",
        device=chosen.name,
        devices=known_devices(),
        model=weights.name,
        notices=notices,
        finish_s_per_megapixel=loaded.finish_s_per_megapixel,
    )
    worker = Worker(connection, loaded)
    try:
        while (message := _hear(connection))["op"] != "stop":
            if message["op"] == "run":  # a cancel may come for a job that is over
                worker.do(message)
    except (EOFError, OSError):
        return  # the parent has gone


class Worker:
    """Does jobs, one at a time."""

    def __init__(self, connection: Connection, models: LoadedModels) -> None:
        self._connection = connection
        self._models = models
        self._job = b""

    def do(self, message: dict[str, Any]) -> None:
        """Do the job of a `run` message and say how it ended."""
        self._begin(message)
        _say(self._connection, "taken", job=self._job)  # whatever dies from now on may have died of this job
        memory = AttachedMemory()
        reply = self._attempt(message, memory)
        # Not in a `finally`: an exception on its way keeps views of the memory alive, and it could not be closed.
        memory.close()
        _say(self._connection, job=self._job, **reply)

    def _begin(self, message: dict[str, Any]) -> None:
        self._job = message["job"]
        self._accepted: bool = message["accepted"]
        self._step = self._steps = 0  # the one that runs now, and how many there are in its stage
        self._drafted = -math.inf  # when the last draft was shown

    def _attempt(self, message: dict[str, Any], memory: AttachedMemory) -> dict[str, Any]:
        """Do a job and turn whatever happens into the reply."""
        try:
            return self._paint(message, memory)
        except Cancelled:
            return {"op": "cancelled"}
        except JobError as error:
            return {"op": "failed", "code": error.code, "message": str(error)}
        except (torch.OutOfMemoryError, MemoryError):
            sentence = "There is not enough memory for this picture; close other programs, or scale it down."
            return {"op": "failed", "code": "OUT_OF_MEMORY", "message": sentence}
        except (EOFError, OSError):
            raise
        except torch.AcceleratorError:
            raise  # the card is lost for this process; the next one looks again what can compute
        except Exception:
            log.exception("job failed")
            return {"op": "failed", "code": "INTERNAL", "message": "The server made a mistake; its log says more."}

    def _paint(self, message: dict[str, Any], memory: AttachedMemory) -> dict[str, Any]:
        result = message["result"]
        out = memory.layer(result).array
        transfer = message["transfer"]
        request = RenderRequest(
            content=replace(memory.layer(message["content"]), is_linear=transfer == "linear"),
            content_key=(message["content"]["digest"], transfer),  # the same bytes may come as both
            out=out,
            regions=[
                RegionInput(
                    mask=memory.layer(region["mask"]) if region["mask"] is not None else None,
                    mask_key=region["mask"]["digest"] if region["mask"] is not None else None,
                    styles=[_style(style, memory) for style in region["styles"]],
                    alpha=region["alpha"],
                    preserve_color=region["preserve_color"],
                )
                for region in message["regions"]
            ],
            stroke_size=message["stroke_size"],
            detail=message["detail"],
            compose=message["compose"],
            smoothing=message["smoothing"],
            previous=[unpack_region_statistics(packed) for packed in message["previous"]],
            quality=message["quality"],
        )
        name, stamp = message["model"]
        renderer = self._models.renderer((name, stamp), lambda: self._check("loading", 0, 1))
        painted = renderer.render(request, self._check, on_draft=self._show, is_accepted=self._is_accepted)
        for key, statistics in painted.new_styles.items():
            if isinstance(key, bytes):  # a picture that came over the wire, and may come again
                _say(self._connection, "style", job=self._job, digest=key, statistics=pack_style(statistics))
        return {
            "op": "finished",
            "digest": protocol.blob_digest(result, out.data),
            "notice": painted.notice,
            "statistics": [pack_region_statistics(statistics) for statistics in painted.statistics],
        }

    def _check(self, stage: str, step: int, steps: int) -> None:
        """Report a stage; raises Cancelled when the job is no longer wanted."""
        self._listen()
        self._step, self._steps = step, steps
        _say(self._connection, "progress", job=self._job, stage=stage, step=step, steps=steps)

    def _listen(self) -> None:
        """Take what the parent has said of the job; raises Cancelled when it is no longer wanted."""
        while self._connection.poll():
            message = _hear(self._connection)
            if message.get("job") != self._job:
                continue  # of a job that is over
            if message["op"] == "cancel":
                raise Cancelled
            self._accepted |= message["op"] == "accept"

    def _is_accepted(self) -> bool:
        """The finish is to end; raises Cancelled when the job is no longer wanted."""
        self._listen()
        return self._accepted

    def _show(self, picture: Array) -> None:
        """Send a draft, (h, w, 3) uint8, of the step that has just ended, unless there was one a moment ago."""
        now = time.monotonic()
        if now - self._drafted < DRAFT_EVERY_S:
            return
        self._drafted = now
        height, width, _channels = picture.shape
        about = {"height": height, "width": width, "step": self._step + 1, "steps": self._steps}
        _say(self._connection, "draft", job=self._job, pixels=picture.tobytes(), **about)


class AttachedMemory:
    """The pieces of shared memory that a job names."""

    def __init__(self) -> None:
        self._attached: dict[str, SharedMemory] = {}

    def view(self, location: dict[str, Any]) -> memoryview:
        """A piece's bytes."""
        name = location["segment"]
        if name not in self._attached:
            self._attached[name] = SharedMemory(name=name)
        buffer = self._attached[name].buf
        assert buffer is not None
        return buffer

    def layer(self, location: dict[str, Any]) -> Layer:
        """A picture in such memory; no copy."""
        dtype, layout = DTYPES[location["depth"]], location["layout"]
        shape = (location["height"], location["width"], protocol.LAYOUTS[layout])
        pixels = np.frombuffer(self.view(location), dtype=dtype, count=math.prod(shape))
        return Layer(pixels.reshape(shape), layout)

    def close(self) -> None:
        """Let go of everything; nothing may use it any more."""
        for memory in self._attached.values():
            memory.close()


def _style(style: dict[str, Any], memory: AttachedMemory) -> Style:
    """A style of a `run` message. Raises JobError BAD_STYLE."""
    weight = style["weight"]
    if "path" in style:
        return _style_from_file(Path(style["path"]), weight)
    key = style["digest"]
    if "file" in style:
        location = style["file"]
        return Style(key, weight, saved=parse_style(bytes(memory.view(location)[: location["size"]])))
    return Style(
        key,
        weight,
        picture=memory.layer(style["picture"]) if style["picture"] is not None else None,
        statistics=unpack_style(style["statistics"]) if style["statistics"] is not None else None,
    )


def _style_from_file(path: Path, weight: float) -> Style:
    """A style that has a name: a saved one, or a picture of the user's own."""
    try:
        key = (str(path), path.stat().st_mtime_ns)
        if path.suffix == ".safetensors":
            return Style(key, weight, saved=read_style(path))
        return Style(key, weight, picture=Layer(np.array(style_picture(path)), "RGB"))
    except (OSError, WeightsError, PictureError) as error:
        raise JobError("BAD_STYLE", f"The style {path.stem} cannot be read: {error}") from None


def _say(connection: Connection, op: str, **fields: Any) -> None:
    connection.send_bytes(msgpack.packb({"op": op, **fields}))


def _hear(connection: Connection) -> dict[str, Any]:
    message: dict[str, Any] = msgpack.unpackb(connection.recv_bytes(), strict_map_key=False)
    return message


def pack_statistics(statistics: StyleStatistics) -> bytes:
    """One style's mean and deviation as float32 bytes: 4 KB for 512 channels."""
    both = torch.stack([statistics.mean[0], statistics.std[0]])
    return both.float().cpu().numpy().tobytes()


def unpack_statistics(packed: bytes) -> StyleStatistics:
    """The reverse of pack_statistics()."""
    both = torch.tensor(np.frombuffer(packed, dtype=np.float32).reshape(2, 1, -1))
    return StyleStatistics(both[0], both[1])


def pack_region_statistics(statistics: RegionStatistics) -> bytes:
    """A region's statistics of a film's frame: a byte for its index, and what pack_statistics() makes of the rest."""
    return bytes([statistics.region]) + pack_statistics(statistics)


def unpack_region_statistics(packed: bytes) -> RegionStatistics:
    """The reverse of pack_region_statistics()."""
    statistics = unpack_statistics(packed[1:])
    return RegionStatistics(statistics.mean, statistics.std, packed[0])


def pack_style(style: MeasuredStyle) -> bytes:
    """A style's statistics as float32 bytes: 12 KB."""
    return b"".join(pack_statistics(each) for each in (style.first, *style.layers))


def unpack_style(packed: bytes) -> MeasuredStyle:
    """The reverse of pack_style()."""
    parts, start = [], 0
    for layer in (RELU4_1, *LAYERS):
        end = start + 2 * 4 * layer.channels
        parts.append(unpack_statistics(packed[start:end]))
        start = end
    return MeasuredStyle(parts[0], tuple(parts[1:]))
