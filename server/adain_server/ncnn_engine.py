"""ncnn as an engine for the CPU: its Winograd convolutions need a quarter of the multiplications.

ncnn is optional: best_engine() takes torch where it cannot be imported, or does not give what torch gives.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder
from adain_net.engine import Engine, TorchEngine
from adain_net.network import MIN_SIDE, AdainNetwork
from adain_net.tiling import CELL, RELU4_1_CHANNELS

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""How much an engine may differ from torch: in the picture, and in the features as a part of the largest."""
MIN_CELLS = 2
"""Reflection needs two cells of relu4_1; ncnn would read beyond one."""
PARAM_MAGIC = 7767517
"""The first line of ncnn's text format."""
OUT_OF_MEMORY = -100
"""What ncnn's functions return when they could not allocate."""
REPLICATE, REFLECT = 1, 2
"""Kinds of ncnn's Padding layer."""


class EngineError(RuntimeError):
    """An engine that cannot be used, or failed; the message says why."""


def best_engine(network: AdainNetwork, *, threads: int | None = None) -> Engine:
    """The fastest engine for the CPU that gives what torch gives; the log says which, and why.

    Args:
        network: float32, on the CPU; is left as it is.
        threads: For ncnn; as many as torch uses when None.
    """
    reference = TorchEngine(network, torch.device("cpu"))
    try:
        engine = NcnnEngine(network, threads or torch.get_num_threads())
        check_engine(engine, reference)
    except ImportError:
        log.info("ncnn is not installed, so torch computes, several times slower; see `pip install ncnn`")
        return reference
    except Exception as error:  # a broken wheel must not stop the server, whatever it raises
        log.warning("ncnn cannot be used, so torch computes, several times slower: %s", error)
        return reference
    log.info("ncnn computes")
    return engine


def check_engine(engine: Engine, reference: Engine) -> None:
    """Compare an engine with the reference on a small picture of odd size.

    Raises:
        EngineError: They differ by more than TOLERANCE.
    """
    picture = torch.rand(1, 3, 37, 58, generator=torch.Generator().manual_seed(0))
    feat = reference.encode(picture)
    feat_error = float((engine.encode(picture) - feat).abs().max() / feat.abs().max())
    picture_error = float((engine.decode(feat) - reference.decode(feat)).abs().max())
    for error in (feat_error, picture_error):
        # Not `>`: an error that is not a number is too large as well.
        if not error <= TOLERANCE:
            raise EngineError(f"its results differ from torch's by {error:.1e}")


class NcnnEngine:
    """Encoder and decoder as ncnn nets, float32.

    ncnn keeps the weights transformed for Winograd's F(4x4, 3x3), four times their size, and the buffers of its layers
    for the next call. Tensors are read in place, results copied out.
    """

    def __init__(self, network: AdainNetwork, threads: int) -> None:
        """Build the nets.

        Args:
            network: Is copied from, and not needed afterwards.
            threads: At least 1.
        Raises:
            ImportError: There is no ncnn.
            EngineError: ncnn refuses the nets.
        """
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        pools = _Pools()
        self._encoder = _encoder_layers(network.encoder).load(threads, pools)
        self._decoder = _decoder_layers(network.decoder).load(threads, pools)
        self._pools = pools  # the nets do not hold them

    def encode(self, picture: Tensor) -> Tensor:
        """As Engine.encode().

        Raises:
            ValueError: Another shape or type.
            MemoryError: The picture is too large.
            EngineError: ncnn failed.
        """
        _check(picture, 3, MIN_SIDE)
        self._pools.make_ready(picture[0, 0].numel())
        return _run(self._encoder, picture)

    def decode(self, feat: Tensor) -> Tensor:
        """As Engine.decode(). Raises as encode() does."""
        _check(feat, RELU4_1_CHANNELS, MIN_CELLS)
        self._pools.make_ready(feat[0, 0].numel() * CELL**2)
        return functional.pixel_shuffle(_run(self._decoder, feat), 2)


class _Pools:
    """Buffers that both nets use in turn. With pools of its own each keeps as much again: 0.6 GiB with tiles of 576."""

    def __init__(self) -> None:
        import ncnn

        self.blobs, self.workspace = ncnn.PoolAllocator(), ncnn.PoolAllocator()
        self._pixels = 0

    def make_ready(self, pixels: int) -> None:
        """Before a run. One that is larger than all before needs larger buffers: the smaller ones go first."""
        if pixels > self._pixels:
            self.blobs.clear()
            self.workspace.clear()
            self._pixels = pixels


class _Layers:
    """A net under construction, one layer after another.

    Source:
        ncnn's documentation of its param and model files and of its layers' numbered parameters.
    """

    def __init__(self) -> None:
        self._lines = ["Input input 0 1 0"]
        self._weights: list[bytes] = []

    def conv(self, weight: Tensor, bias: Tensor, *, padding: int, relu: bool = True) -> None:
        """A 3x3 convolution with a padding of one pixel."""
        self._add("Padding", f"0=1 1=1 2=1 3=1 4={padding}")
        outputs, activation = weight.shape[0], int(relu)
        self._add("Convolution", f"0={outputs} 1=3 5=1 6={weight.numel()} 9={activation}")
        self._weights += [_raw(torch.zeros(1)), _raw(weight), _raw(bias)]  # zeros: float32 follows, not compressed

    def reflect_conv(self, module: nn.Conv2d) -> None:
        """A layer as encoder.reflect_conv() makes it, with its ReLU."""
        assert module.bias is not None
        self.conv(module.weight, module.bias, padding=REFLECT)

    def pool(self) -> None:
        """The largest of 2x2, rounded up at the edges."""
        self._add("Pooling", "0=0 1=2 2=2 5=0")

    def upsample(self) -> None:
        """Twice the size, nearest neighbour."""
        # Not `2`: some releases would take an integer's bits for a float's.
        self._add("Interp", "0=1 1=2.0 2=2.0")

    def load(self, threads: int, pools: _Pools) -> Any:
        """The finished ncnn.Net, which has to end before the pools do. Raises ImportError, EngineError."""
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.blob_allocator, net.opt.workspace_allocator = pools.blobs, pools.workspace
        # ncnn would halve the precision where a processor is faster with that.
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = net.opt.use_int8_inference = False
        header = f"{PARAM_MAGIC}\n{len(self._lines)} {len(self._lines)}\n"
        if net.load_param_mem(header + "\n".join(self._lines) + "\n"):
            raise EngineError("ncnn does not understand the layers.")
        reader = _memory_reader(b"".join(self._weights))
        if net.load_model(reader):
            raise EngineError("ncnn does not take the weights.")
        return net

    def _add(self, kind: str, parameters: str) -> None:
        # A layer is named after its output: blob n is the output of line n.
        number = len(self._lines)
        self._lines.append(f"{kind} {number} 1 1 {number - 1} {number} {parameters}")


def _encoder_layers(encoder: Encoder) -> _Layers:
    layers = _Layers()
    layers.reflect_conv(encoder.conv1_1)
    layers.reflect_conv(encoder.conv1_2)
    layers.pool()
    layers.reflect_conv(encoder.conv2_1)
    layers.reflect_conv(encoder.conv2_2)
    layers.pool()
    layers.reflect_conv(encoder.conv3_1)
    layers.reflect_conv(encoder.conv3_2)
    layers.reflect_conv(encoder.conv3_3)
    layers.reflect_conv(encoder.conv3_4)
    layers.pool()
    layers.reflect_conv(encoder.conv4_1)
    return layers


def _decoder_layers(decoder: Decoder) -> _Layers:
    """The decoder up to the picture's four phases: (12, 4h, 4w), what pixel_shuffle() takes.

    The last upsampling and the two convolutions after it are done at half the resolution, on phases: 5 to 10 % faster,
    because the largest layers are neither upsampled nor padded. Further up the phases would have to be put together
    inside the net. At the edges, reflection at full resolution is replication at half, for both convolutions.
    """
    layers = _Layers()
    layers.reflect_conv(decoder.conv4_1)
    layers.upsample()
    layers.reflect_conv(decoder.conv3_4)
    layers.reflect_conv(decoder.conv3_3)
    layers.reflect_conv(decoder.conv3_2)
    layers.reflect_conv(decoder.conv3_1)
    layers.upsample()
    layers.reflect_conv(decoder.conv2_2)
    layers.reflect_conv(decoder.conv2_1)
    # All phases of an upsampled pixel are the pixel: their weights add up.
    upsampled = _phased(decoder.conv1_2.weight).sum(dim=(4, 5))
    layers.conv(upsampled.flatten(0, 2), _phased_bias(decoder.conv1_2), padding=REPLICATE)
    last = _phased(decoder.conv1_1.weight)
    layers.conv(last.flatten(3, 5).flatten(0, 2), _phased_bias(decoder.conv1_1), padding=REPLICATE, relu=False)
    return layers


def _phased(weight: Tensor) -> Tensor:
    """A 3x3 convolution as one of half the resolution, from the input's phases to the output's.

    Pixel (2r + p, 2s + q) is phase (p, q) of cell (r, s). An output in phase p reads, through the kernel's row k, the
    input's row 2r + p + k - 1: that is phase (p + k - 1) mod 2, (p + k - 1) div 2 cells further down. So for columns.

    Args:
        weight: (O, I, 3, 3).
    Returns:
        (O, 2, 2, I, 2, 2, 3, 3), float64: phases of the output, phases of the input, rows and columns of cells.
    """
    outputs, inputs = weight.shape[:2]
    phased = torch.zeros(outputs, 2, 2, inputs, 2, 2, 3, 3, dtype=torch.float64)
    for p, q, k, m in itertools.product(range(2), range(2), range(3), range(3)):
        row, column = p + k - 1, q + m - 1
        phased[:, p, q, :, row % 2, column % 2, row // 2 + 1, column // 2 + 1] = weight[:, :, k, m].detach()
    return phased


def _phased_bias(module: nn.Conv2d) -> Tensor:
    assert module.bias is not None
    return module.bias.repeat_interleave(4)


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().float().numpy().tobytes()


def _memory_reader(data: bytes) -> Any:
    """An ncnn.DataReader of these bytes.

    Not load_model_mem(): its nets keep pointing into the bytes, which Python frees.
    """
    import ncnn

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

    class MemoryReader(ncnn.DataReader):  # type: ignore[misc]  # the base exists only where ncnn is installed
        def __init__(self) -> None:
            super().__init__()
            self._position = 0

        def read(self, buffer: Any, size: int) -> int:
            part = data[self._position : self._position + size]
            ctypes.memmove(pointer(buffer, None), part, len(part))
            self._position += len(part)
            return len(part)

    return MemoryReader()


def _check(tensor: Tensor, channels: int, min_side: int) -> None:
    """Refuse what ncnn would read beyond the end of: it is told a shape and looks no further."""
    fits = tensor.dim() == 4 and tensor.shape[:2] == (1, channels) and min(tensor.shape[2:]) >= min_side
    if not fits or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise ValueError(
            f"A float32 tensor (1, {channels}, at least {min_side}, at least {min_side}) on the CPU is wanted, "
            f"not {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}."
        )


def _run(net: Any, tensor: Tensor) -> Tensor:
    """A net's last output, (1, C, h, w), for its input, (1, C, h, w)."""
    import ncnn

    array = tensor.detach()[0].contiguous().numpy()
    last = net.output_indexes()[0]
    with net.create_extractor() as extractor:
        # The Mat points into the array, which therefore has to live as long as the extractor.
        status = extractor.input(0, ncnn.Mat(array))
        if status == 0:
            status, result = extractor.extract(last)
        if status == OUT_OF_MEMORY:
            raise MemoryError("ncnn could not allocate its memory")
        if status:
            raise EngineError(f"ncnn failed with status {status}")
        return torch.from_numpy(np.array(result))[None]
