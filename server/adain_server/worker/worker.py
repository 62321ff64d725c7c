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

import numpy as np
import torch

from adain_net.encoder import LAYERS, RELU4_1
from adain_net.layout import LayoutError
from adain_net.measured_style import MeasuredStyle
from adain_net.statistics import StyleStatistics
from adain_server import pipe
from adain_server.cache import ByteCache
from adain_server.config import LEAST_MEMORY_BUDGET
from adain_server.errors import JobError
from adain_server.memory import give_memory_back
from adain_server.worker.layers import DTYPES, Array, Layer
from adain_server.worker.loaded_models import LoadedModels
from adain_server.worker.measured_styles import Style
from adain_server.worker.ncnn_engine import free_buffers
from adain_server.worker.rendering import RegionInput, RegionStatistics, RenderRequest
from adain_style.client import protocol
from adain_style.client.choices import is_saved_style
from adain_weights.errors import WeightsError
from adain_weights.hub import obtain
from adain_weights.models import load_model
from adain_weights.picture_files import PictureError, style_picture
from adain_weights.styles import parse_style, read_style

log = logging.getLogger(__name__)

APPLE_GPU = "Apple GPU"
DRAFT_EVERY_S = 1.0
"""Least time between two drafts."""


class Cancelled(Exception):  # noqa: N818  # not an error: the client's request
    """The parent no longer wants the job."""


@dataclass(frozen=True)
class Device:
    """The compute device.

    Attributes:
        torch_device: For tensors. name: For people. notice: A sentence when another device was asked for.
    """

    torch_device: torch.device
    name: str
    notice: str = ""


def choose_device(wanted: str) -> Device:
    """The device for a name: auto, cpu, cuda or mps. If it is absent or in use, the CPU is chosen, with a notice."""
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
    """Names of the devices that could compute on this machine, for people."""
    cards = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    apple = [APPLE_GPU] if torch.backends.mps.is_available() else []
    return [*cards, *apple, choose_device("cpu").name]


NICENESS = 10
"""Runs at low priority, so that the program that the user paints in goes first."""


AT_REST_S = 30.0
"""Idle time after which memory is freed: longer than a painter looks at a preview, and less than a minute."""
KEPT_AT_REST = 64 * 1024**2
"""Bytes of the cache that stay even then: a preview's features and all small values.

They come on top of 0.4 GiB, of which importing a torch with CUDA takes two thirds.
"""


def run_worker(
    connection: Connection, *, device: str, model: str, models: Path, memory_budget: int, rest_s: float = AT_REST_S
) -> None:
    """Load the model, then do jobs until the parent sends Stop or closes the pipe.

    Args:
        connection: To the parent.
        device, model, models, memory_budget: As in ServerConfig.
        rest_s: Seconds without work after which memory is freed.
    """
    # The parent decides when to end: Ctrl-C in the terminal reaches the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICENESS)

    try:
        chosen = choose_device(device)
        found, notice = obtain(model, models)
        weights = load_model(found, models)
        cache = ByteCache(memory_budget // 2)
        loaded = LoadedModels(
            weights, device=chosen.torch_device, models=models, memory_budget=memory_budget, cache=cache
        )
    except (WeightsError, LayoutError) as error:
        _say(connection, pipe.Unusable(str(error)))
        return
    ready = pipe.Ready(
        device=chosen.name,
        devices=tuple(known_devices()),
        model=weights.name,
        notices=tuple(sentence for sentence in (chosen.notice, notice) if sentence),
        finish_s_per_megapixel=loaded.finish_s_per_megapixel,
        encoder=weights.encoder_digest,
    )
    del weights  # the engines have copies
    _say(connection, ready)
    worker = Worker(connection, loaded)
    try:
        while not isinstance(message := _hear_or_rest(connection, cache, rest_s), pipe.Stop):
            if isinstance(message, pipe.Run):  # a cancel may come for a job that is over
                worker.do(message)
    except (EOFError, OSError):
        return  # the parent has gone


def _hear_or_rest(connection: Connection, cache: ByteCache, rest_s: float) -> pipe.ToWorker:
    """The parent's next message; while none comes, memory that only saves time is freed for other programs."""
    if not connection.poll(rest_s):
        cache.shrink(KEPT_AT_REST)
        free_buffers()
        give_memory_back()
    return _hear(connection)


class Worker:
    """Does jobs, one at a time."""

    def __init__(self, connection: Connection, models: LoadedModels) -> None:
        self._connection = connection
        self._models = models
        self._job = b""

    def do(self, run: pipe.Run) -> None:
        """Do a job and report how it ended."""
        self._begin(run)
        _say(self._connection, pipe.Taken(self._job))  # if the worker dies from now on, this job may be the cause
        memory = AttachedMemory()
        reply = self._attempt(run, memory)
        # Not in a `finally`: a propagating exception keeps views of the memory alive, and it could not be closed.
        memory.close()
        _say(self._connection, reply)

    def _begin(self, run: pipe.Run) -> None:
        self._job = run.job
        self._accepted = run.accepted
        self._step = self._steps = 0  # the current step and the number of steps in its stage
        self._drafted = -math.inf  # when the last draft was shown

    def _attempt(self, run: pipe.Run, memory: AttachedMemory) -> pipe.Finished | pipe.Cancelled | pipe.Failed:
        """Do a job and turn whatever happens into the reply."""
        try:
            return self._render(run, memory)
        except Cancelled:
            return pipe.Cancelled(run.job)
        except JobError as error:
            return pipe.Failed(run.job, error.code, str(error))
        except (torch.OutOfMemoryError, MemoryError):
            sentence = "There is not enough memory for this picture; close other programs, or scale it down."
            return pipe.Failed(run.job, "OUT_OF_MEMORY", sentence)
        except (EOFError, OSError):
            raise
        except torch.AcceleratorError:
            raise  # the card is lost for this process; the next one chooses a device again
        except Exception:
            log.exception("job failed")
            return pipe.Failed(run.job, "INTERNAL", "The server made a mistake; its log says more.")

    def _render(self, run: pipe.Run, memory: AttachedMemory) -> pipe.Finished:
        out = memory.layer(run.result).array
        request = RenderRequest(
            content=replace(memory.layer(run.content), is_linear=run.transfer == "linear"),
            content_key=(run.content.spec.digest, run.transfer),  # the same bytes may come as both
            out=out,
            regions=[_region(region, memory) for region in run.regions],
            stroke_size=run.stroke_size,
            detail=run.detail,
            compose=run.compose,
            smoothing=run.smoothing,
            previous=[unpack_region_statistics(packed) for packed in run.previous],
            quality=run.quality,
        )
        renderer = self._models.renderer(run.model, lambda: self._check("loading", 0, 1))
        painted = renderer.render(request, self._check, on_draft=self._show, is_accepted=self._is_accepted)
        for key, statistics in painted.new_styles.items():
            if isinstance(key, bytes):  # a picture that came over the wire, and may come again
                _say(self._connection, pipe.StyleMeasured(run.job, key, pack_style(statistics)))
        digest = run.result.spec.digest_of(out.data)
        packed = tuple(pack_region_statistics(statistics) for statistics in painted.statistics)
        return pipe.Finished(run.job, digest, painted.notice, packed)

    def _check(self, stage: str, step: int, steps: int) -> None:
        """Report a stage; raises Cancelled when the job is no longer wanted."""
        self._listen()
        self._step, self._steps = step, steps
        _say(self._connection, pipe.StageProgress(self._job, stage, step, steps))

    def _listen(self) -> None:
        """Handle the parent's messages about the job; raises Cancelled when it is no longer wanted."""
        while self._connection.poll():
            message = _hear(self._connection)
            if isinstance(message, pipe.Stop) or message.job != self._job:
                continue  # of a job that is over
            if isinstance(message, pipe.Cancel):
                raise Cancelled
            self._accepted |= isinstance(message, pipe.Accept)

    def _is_accepted(self) -> bool:
        """Whether the finish is to end; raises Cancelled when the job is no longer wanted."""
        self._listen()
        return self._accepted

    def _show(self, picture: Array) -> None:
        """Send a draft, (h, w, 3) uint8, of the step that has just ended, at most every DRAFT_EVERY_S."""
        now = time.monotonic()
        if now - self._drafted < DRAFT_EVERY_S:
            return
        self._drafted = now
        height, width, _channels = picture.shape
        pixels = picture.tobytes()
        _say(self._connection, pipe.DraftPicture(self._job, pixels, height, width, self._step + 1, self._steps))


class AttachedMemory:
    """The pieces of shared memory that a job names."""

    def __init__(self) -> None:
        self._attached: dict[str, SharedMemory] = {}

    def view(self, name: str) -> memoryview:
        """The bytes of a SharedBuffer of that name."""
        if name not in self._attached:
            self._attached[name] = SharedMemory(name=name)
        buffer = self._attached[name].buf
        assert buffer is not None
        return buffer

    def layer(self, picture: pipe.SharedPicture) -> Layer:
        """A picture in such memory; no copy."""
        spec = picture.spec
        shape = (spec.height, spec.width, protocol.LAYOUTS[spec.layout])
        pixels = np.frombuffer(self.view(picture.buffer), dtype=DTYPES[spec.depth], count=math.prod(shape))
        return Layer(pixels.reshape(shape), spec.layout)

    def close(self) -> None:
        """Detach everything; nothing may use it any more."""
        for memory in self._attached.values():
            memory.close()


def _region(region: pipe.JobRegion, memory: AttachedMemory) -> RegionInput:
    """A region of a job. Raises JobError BAD_STYLE."""
    return RegionInput(
        mask=None if region.mask is None else memory.layer(region.mask),
        mask_key=None if region.mask is None else region.mask.spec.digest,
        styles=[_style(style, memory) for style in region.styles],
        alpha=region.alpha,
        preserve_color=region.preserve_color,
    )


def _style(style: pipe.JobStyle, memory: AttachedMemory) -> Style:
    """A style of a job. Raises JobError BAD_STYLE."""
    if isinstance(style, pipe.NamedStyle):
        return _style_from_file(Path(style.path), style.weight)
    if isinstance(style, pipe.SavedStyleFile):
        file = bytes(memory.view(style.buffer)[: style.spec.size])
        return Style(style.spec.digest, style.weight, saved=parse_style(file))
    return Style(
        style.digest,
        style.weight,
        picture=None if style.picture is None else memory.layer(style.picture),
        statistics=None if style.statistics is None else unpack_style(style.statistics),
    )


def _style_from_file(path: Path, weight: float) -> Style:
    """A style that has a name: a saved one, or a picture of the user's own."""
    try:
        key = (str(path), path.stat().st_mtime_ns)
        if is_saved_style(path):
            return Style(key, weight, saved=read_style(path))
        return Style(key, weight, picture=Layer(np.array(style_picture(path)), "RGB"))
    except (OSError, WeightsError, PictureError) as error:
        raise JobError("BAD_STYLE", f"The style {path.stem} cannot be read: {error}") from None


def _say(connection: Connection, message: pipe.FromWorker) -> None:
    connection.send_bytes(pipe.pack(message))


def _hear(connection: Connection) -> pipe.ToWorker:
    message: pipe.ToWorker = pipe.unpack(connection.recv_bytes())
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
    """A region's statistics in a film's frame: a byte for its index, then the output of pack_statistics()."""
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
