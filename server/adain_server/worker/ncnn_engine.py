"""ncnn as an engine for the CPU: its Winograd convolutions need a quarter of the multiplications.

ncnn is optional: best_engine() falls back to torch where it cannot be imported or its results differ from torch's.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import logging
from collections.abc import Sequence
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from adain_net.decoder import Decoder
from adain_net.encoder import (
    LAYERS,
    RELU1_1,
    RELU2_1,
    RELU3_1,
    RELU4_1,
    Encoder,
    EncoderFeatures,
    FeatureLayer,
)
from adain_net.engine import Engine, TorchEngine
from adain_net.network import MIN_SIDE, AdainNetwork
from adain_net.refinement import GUIDE_CHANNELS, RefinementDecoder, RefinementNetwork

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Largest difference from torch: absolute for the picture, relative to the largest value for the features."""
MIN_CELLS = 2
"""Reflection needs two cells; with a single one ncnn would read out of bounds."""
PARAM_MAGIC = 7767517
"""The first line of ncnn's text format."""
OUT_OF_MEMORY = -100
"""The status of ncnn's functions when they could not allocate memory."""
REPLICATE, REFLECT = 1, 2
"""Kinds of ncnn's Padding layer."""


class EngineError(RuntimeError):
    """An engine that cannot be used, or failed; the message says why."""


def best_engine(network: AdainNetwork | RefinementNetwork, *, threads: int | None = None) -> Engine:
    """The fastest engine for the CPU whose results match torch's; the log tells which one, and why.

    Args:
        network: float32, on the CPU; not changed.
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
    feats = [reference.encode(picture), *reference.features(picture)]
    found = [engine.encode(picture), *engine.features(picture)]
    errors = [float((mine - feat).abs().max() / feat.abs().max()) for mine, feat in zip(found, feats, strict=True)]
    guide = None
    if reference.layer == RELU3_1:  # a refinement's decoder needs one
        guide = torch.rand(1, GUIDE_CHANNELS, *(RELU3_1.cell * side for side in feats[0].shape[2:]))
    errors.append(float((engine.decode(feats[0], guide) - reference.decode(feats[0], guide)).abs().max()))
    for error in errors:
        # Not `>`: an error that is not a number is too large as well.
        if not error <= TOLERANCE:
            raise EngineError(f"its results differ from torch's by {error:.1e}")


class NcnnEngine:
    """Encoder and decoder as ncnn nets, float32.

    ncnn keeps the weights transformed for Winograd's F(4x4, 3x3), four times their size, and the buffers of its layers
    for the next call. Engines of equal encoders share the encoder's net. Tensors are read in place, results copied out.
    """

    def __init__(self, network: AdainNetwork | RefinementNetwork, threads: int) -> None:
        """Build the nets.

        Args:
            network: Its weights are copied; it is not needed afterwards.
            threads: At least 1.
        Raises:
            ImportError: ncnn is not installed.
            EngineError: ncnn refuses the nets.
        """
        self.layer = network.layer
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        pools = _pools()
        self._encoder = _encoder_net(network.encoder, threads, pools)
        if isinstance(network, RefinementNetwork):
            self._decoder = _refinement_decoder_layers(network.decoder).load(threads, pools)
        else:
            self._decoder = _decoder_layers(network.decoder).load(threads, pools)
        self._pools = pools  # the nets do not hold them

    def encode(self, picture: Tensor) -> Tensor:
        """See Engine.encode().

        Raises:
            ValueError: Another shape or type.
            MemoryError: The picture is too large.
            EngineError: ncnn failed.
        """
        return self._features(picture, [self.layer])[0]

    def features(self, picture: Tensor) -> EncoderFeatures:
        """See Engine.features(). Raises as encode() does."""
        return EncoderFeatures(*self._features(picture, LAYERS))

    def decode(self, feat: Tensor, guide: Tensor | None = None) -> Tensor:
        """See Engine.decode(). Raises as encode() does."""
        _check(feat, self.layer.channels, MIN_CELLS)
        self._pools.make_ready(feat[0, 0].numel() * self.layer.cell**2)
        inputs = [feat]
        if self.layer == RELU3_1:
            assert guide is not None, "a refinement's decoder wants both pictures"
            _check(guide, GUIDE_CHANNELS, MIN_CELLS)
            inputs.append(functional.pixel_unshuffle(guide, 2))
        picture = functional.pixel_shuffle(_run(self._decoder, inputs, self._decoder.output_indexes())[0], 2)
        return picture if guide is None else picture.add_(guide[:, :3])

    def _features(self, picture: Tensor, layers: Sequence[FeatureLayer]) -> list[Tensor]:
        _check(picture, 3, MIN_SIDE)
        self._pools.make_ready(picture[0, 0].numel())
        return _run(self._encoder.net, [picture], [self._encoder.blobs[layer] for layer in layers])


class _EncoderNet:
    """An encoder as a net.

    Attributes:
        net: The ncnn.Net. blobs: The blob of each of LAYERS.
    """

    def __init__(self, encoder: Encoder, threads: int, pools: _Pools) -> None:
        self.blobs: dict[FeatureLayer, int] = {}
        self.net = _encoder_layers(encoder, self.blobs).load(threads, pools)


_encoder_nets: WeakValueDictionary[tuple[bytes, int], _EncoderNet] = WeakValueDictionary()
"""Nets by digest of their weights and number of threads: most models share one encoder, of 100 MB."""


def _encoder_net(encoder: Encoder, threads: int, pools: _Pools) -> _EncoderNet:
    """The net of an encoder; the same one for equal weights."""
    digest = hashlib.sha256()
    for weights in encoder.state_dict().values():
        digest.update(_raw(weights))
    key = (digest.digest(), threads)
    net = _encoder_nets.get(key)
    if net is None:
        net = _encoder_nets[key] = _EncoderNet(encoder, threads, pools)
    return net


class _Pools:
    """Buffers that all nets use in turn. With its own pools each net would keep as much: 0.6 GiB with tiles of 576."""

    def __init__(self) -> None:
        import ncnn

        self.blobs, self.workspace = ncnn.PoolAllocator(), ncnn.PoolAllocator()
        self._pixels = 0

    def make_ready(self, pixels: int) -> None:
        """Prepare for a run. One larger than all before needs larger buffers, so the smaller ones are freed first."""
        if pixels > self._pixels:
            self.clear()
            self._pixels = pixels

    def clear(self) -> None:
        """Free the buffers; the next run makes new ones."""
        self.blobs.clear()
        self.workspace.clear()
        self._pixels = 0


def free_buffers() -> None:
    """Free the buffers that the nets keep for their next run. No net may be running."""
    if _pools.cache_info().currsize:
        _pools().clear()


@cache
def _pools() -> _Pools:
    """The pools of this process, in which one thread computes. Raises ImportError when ncnn is not installed."""
    return _Pools()


class _Layers:
    """A net under construction, one layer after another, each on the newest blob unless others are given.

    A blob is identified by its number, and each layer makes one.

    Attributes:
        newest: The blob that the last layer made.

    Source:
        ncnn's documentation of its param and model files and of its layers' numbered parameters.
    """

    def __init__(self) -> None:
        self.newest = -1
        self._lines: list[str] = []
        self._weights: list[bytes] = []

    def input(self) -> int:
        """An input of the net."""
        return self._add("Input", "", [])

    def concat(self, *blobs: int) -> None:
        """Concatenate blobs along the channels. ncnn frees a blob after its use, so each may be used only once."""
        self._add("Concat", "0=0", blobs)

    def conv(self, weight: Tensor, bias: Tensor, *, padding: int, relu: bool = True) -> int:
        """A 3x3 convolution with a padding of one pixel."""
        self._add("Padding", f"0=1 1=1 2=1 3=1 4={padding}")
        outputs, activation = weight.shape[0], int(relu)
        self._weights += [_raw(torch.zeros(1)), _raw(weight), _raw(bias)]  # zeros: float32 follows, not compressed
        return self._add("Convolution", f"0={outputs} 1=3 5=1 6={weight.numel()} 9={activation}")

    def reflect_conv(self, module: nn.Conv2d) -> int:
        """A layer as encoder.reflect_conv() makes it, with its ReLU."""
        assert module.bias is not None
        return self.conv(module.weight, module.bias, padding=REFLECT)

    def pool(self) -> None:
        """The largest of 2x2, rounded up at the edges."""
        self._add("Pooling", "0=0 1=2 2=2 5=0")

    def upsample(self) -> None:
        """Twice the size, nearest neighbour."""
        # Not `2`: some releases would read an integer's bits as a float's.
        self._add("Interp", "0=1 1=2.0 2=2.0")

    def load(self, threads: int, pools: _Pools) -> Any:
        """The finished ncnn.Net, which must be destroyed before the pools. Raises ImportError, EngineError."""
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

    def _add(self, kind: str, parameters: str, inputs: Sequence[int] | None = None) -> int:
        blobs = [self.newest] if inputs is None else list(inputs)
        self.newest = len(self._lines)
        self._lines.append(" ".join(map(str, [kind, self.newest, len(blobs), 1, *blobs, self.newest, parameters])))
        return self.newest


def _encoder_layers(encoder: Encoder, blobs: dict[FeatureLayer, int]) -> _Layers:
    """The encoder's layers; blobs receives the blob of each of LAYERS."""
    layers = _Layers()
    layers.input()
    blobs[RELU1_1] = layers.reflect_conv(encoder.conv1_1)
    layers.reflect_conv(encoder.conv1_2)
    layers.pool()
    blobs[RELU2_1] = layers.reflect_conv(encoder.conv2_1)
    layers.reflect_conv(encoder.conv2_2)
    layers.pool()
    blobs[RELU3_1] = layers.reflect_conv(encoder.conv3_1)
    layers.reflect_conv(encoder.conv3_2)
    layers.reflect_conv(encoder.conv3_3)
    layers.reflect_conv(encoder.conv3_4)
    layers.pool()
    blobs[RELU4_1] = layers.reflect_conv(encoder.conv4_1)
    return layers


def _decoder_layers(decoder: Decoder) -> _Layers:
    """The decoder up to the picture's four phases: (12, 4h, 4w), what pixel_shuffle() takes.

    The last upsampling and the two convolutions after it are done at half the resolution, on phases: 5 to 10 % faster,
    because the largest layers are neither upsampled nor padded. Further up the phases would have to be put together
    inside the net. At the edges, reflection at full resolution is replication at half, for both convolutions.
    """
    layers = _Layers()
    layers.input()
    layers.reflect_conv(decoder.conv4_1)
    layers.upsample()
    layers.reflect_conv(decoder.conv3_4)
    layers.reflect_conv(decoder.conv3_3)
    layers.reflect_conv(decoder.conv3_2)
    layers.reflect_conv(decoder.conv3_1)
    layers.upsample()
    layers.reflect_conv(decoder.conv2_2)
    layers.reflect_conv(decoder.conv2_1)
    _add_last_two(layers, decoder.conv1_2, decoder.conv1_1)
    return layers


def _refinement_decoder_layers(decoder: RefinementDecoder) -> _Layers:
    """Like _decoder_layers(), up to the difference that is added to the painted picture.

    The guide comes in phases, too, (24, 2h, 2w), once for each layer that takes it.
    """
    layers = _Layers()
    layers.input()
    guides = [layers.input() for _ in range(2)]
    layers.newest = 0
    layers.reflect_conv(decoder.conv3_1)
    layers.upsample()
    layers.concat(layers.newest, guides[0])
    layers.reflect_conv(decoder.conv2_2)
    layers.reflect_conv(decoder.conv2_1)
    layers.concat(layers.newest, guides[1])
    _add_last_two(layers, decoder.conv1_2, decoder.conv1_1, guides=GUIDE_CHANNELS)
    return layers


def _add_last_two(layers: _Layers, conv1_2: nn.Conv2d, conv1_1: nn.Conv2d, guides: int = 0) -> None:
    """Upsampling and the last two convolutions, on phases; the last `guides` inputs of the first are not upsampled."""
    features = conv1_2.in_channels - guides
    # All phases of an upsampled pixel are equal: their weights add up.
    upsampled = _phased(conv1_2.weight[:, :features]).sum(dim=(4, 5))
    guided = _phased(conv1_2.weight[:, features:]).flatten(3, 5)
    first = torch.cat([upsampled, guided], dim=3)
    layers.conv(first.flatten(0, 2), _phased_bias(conv1_2), padding=REPLICATE)
    last = _phased(conv1_1.weight)
    layers.conv(last.flatten(3, 5).flatten(0, 2), _phased_bias(conv1_1), padding=REPLICATE, relu=False)


def _phased(weight: Tensor) -> Tensor:
    """A 3x3 convolution as one of half the resolution, from the input's phases to the output's.

    Pixel (2r + p, 2s + q) is phase (p, q) of cell (r, s). An output in phase p reads, through the kernel's row k, the
    input's row 2r + p + k - 1: that is phase (p + k - 1) mod 2, (p + k - 1) div 2 cells further down. Columns likewise.

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
    """Refuse a tensor beyond whose end ncnn would read: it does not check shapes."""
    fits = tensor.dim() == 4 and tensor.shape[:2] == (1, channels) and min(tensor.shape[2:]) >= min_side
    if not fits or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise ValueError(
            f"A float32 tensor (1, {channels}, at least {min_side}, at least {min_side}) on the CPU is wanted, "
            f"not {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}."
        )


def _run(net: Any, tensors: Sequence[Tensor], outputs: Sequence[int]) -> list[Tensor]:
    """Blobs of a net, (1, C, h, w) each, in the order of their numbers, which is that of `outputs`.

    Args:
        tensors: (1, C, h, w) each: its inputs in their order; the last one also serves as all further inputs.
    """
    import ncnn

    arrays = [tensor.detach()[0].contiguous().numpy() for tensor in tensors]
    inputs = list(net.input_indexes())
    arrays += arrays[-1:] * (len(inputs) - len(arrays))
    found = []
    with net.create_extractor() as extractor:
        for blob, array in zip(inputs, arrays, strict=True):
            # The Mat points into the array, which therefore has to live as long as the extractor.
            _check_status(extractor.input(blob, ncnn.Mat(array)))
        for blob in outputs:
            status, result = extractor.extract(blob)
            _check_status(status)
            found.append(torch.from_numpy(np.array(result))[None])
    return found


def _check_status(status: int) -> None:
    if status == OUT_OF_MEMORY:
        raise MemoryError("ncnn could not allocate its memory")
    if status:
        raise EngineError(f"ncnn failed with status {status}")
