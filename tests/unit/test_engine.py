"""Engines: ncnn gives what torch gives, and torch computes where ncnn cannot."""

from __future__ import annotations

import logging
import sys

import pytest
import torch
from torch import Tensor

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder
from adain_net.engine import Engine, TorchEngine
from adain_net.network import AdainNetwork
from adain_server.worker import ncnn_engine
from adain_server.worker.ncnn_engine import EngineError, NcnnEngine, best_engine, check_engine

CPU = torch.device("cpu")
SIZES = [(16, 16), (16, 41), (17, 23), (131, 67), (192, 256), (256, 192), (64, 576)]
"""The smallest, odd ones, and those of tiles with their margins."""


@pytest.fixture(scope="module")
def reference(network: AdainNetwork) -> TorchEngine:
    """Torch in float32."""
    return TorchEngine(network, CPU)


@pytest.fixture(scope="module")
def engine(network: AdainNetwork) -> NcnnEngine:
    """Ncnn; without it the test is skipped."""
    pytest.importorskip("ncnn")
    return NcnnEngine(network, 2)


def _picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height * width))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_ncnn_equals_torch(engine: NcnnEngine, reference: TorchEngine, height: int, width: int) -> None:
    """Features agree as a part of the largest, and pictures in 0..1, at any size."""
    picture = _picture(height, width)
    feat, wanted_feat = engine.encode(picture), reference.encode(picture)
    assert feat.shape == (1, 512, -(-height // 8), -(-width // 8))
    assert float((feat - wanted_feat).abs().max() / wanted_feat.max()) < 1e-5
    painted, wanted = engine.decode(wanted_feat), reference.decode(wanted_feat)
    assert painted.shape == (1, 3, feat.shape[2] * 8, feat.shape[3] * 8)
    assert float((painted - wanted).abs().max()) < 1e-4


def test_ncnn_equals_torch_with_random_weights() -> None:
    """No layer hides behind weights that happen to be symmetric or biases that happen to be 0."""
    pytest.importorskip("ncnn")
    torch.manual_seed(0)
    own = AdainNetwork(Encoder(), Decoder())
    picture = _picture(33, 47)
    engine, reference = NcnnEngine(own, 1), TorchEngine(own, CPU)
    feat = reference.encode(picture)
    torch.testing.assert_close(engine.encode(picture), feat, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(engine.decode(feat), reference.decode(feat), rtol=1e-4, atol=1e-6)


def test_ncnn_takes_parts_of_larger_tensors(engine: NcnnEngine) -> None:
    """A tile is a view of the picture, and of the features: it is read as if it were a copy."""
    picture = _picture(64, 64)[:, :, 5:45, 8:40]
    feat = engine.encode(picture)
    torch.testing.assert_close(feat, engine.encode(picture.clone()), rtol=0, atol=0)
    part = feat[:, :, 1:, :3]
    torch.testing.assert_close(engine.decode(part), engine.decode(part.clone()), rtol=0, atol=0)


def test_ncnn_results_outlive_the_next_call(engine: NcnnEngine) -> None:
    """A result is a copy: ncnn's memory is used again."""
    first = engine.encode(_picture(32, 32))
    kept = first.clone()
    engine.encode(_picture(32, 40))
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


@pytest.mark.parametrize(
    "picture",
    [
        torch.zeros(1, 3, 15, 16),
        torch.zeros(2, 3, 16, 16),
        torch.zeros(1, 4, 16, 16),
        torch.zeros(3, 16, 16),
        torch.zeros(1, 3, 16, 16, dtype=torch.float64),
    ],
    ids=["small", "two", "channels", "dimensions", "type"],
)
def test_ncnn_refuses_other_pictures(engine: NcnnEngine, picture: Tensor) -> None:
    """What ncnn would misread is an error, not a wrong result."""
    with pytest.raises(ValueError, match="is wanted"):
        engine.encode(picture)


def test_ncnn_refuses_one_cell(engine: NcnnEngine) -> None:
    """Features need two cells a side to be reflected."""
    with pytest.raises(ValueError, match="is wanted"):
        engine.decode(torch.zeros(1, 512, 1, 2))


def test_best_engine_is_ncnn(network: AdainNetwork) -> None:
    """Where ncnn works, it computes."""
    pytest.importorskip("ncnn")
    assert isinstance(best_engine(network), NcnnEngine)


def test_torch_computes_without_ncnn(
    network: AdainNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where ncnn cannot be imported, torch computes, and the log says so."""
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with caplog.at_level(logging.INFO):
        assert isinstance(best_engine(network), TorchEngine)
    assert "ncnn is not installed" in caplog.text


@pytest.mark.parametrize("fault", [1e-3, float("nan")])
def test_wrong_engine_is_not_used(
    network: AdainNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: float
) -> None:
    """An engine that does not give what torch gives is refused, and the log says why."""

    class WrongEngine(TorchEngine):
        def __init__(self, network: AdainNetwork, threads: int) -> None:
            assert threads > 0
            super().__init__(network, CPU)

        def decode(self, feat: Tensor, guide: Tensor | None = None) -> Tensor:
            return super().decode(feat, guide) + fault

    monkeypatch.setattr(ncnn_engine, "NcnnEngine", WrongEngine)
    assert type(best_engine(network)) is TorchEngine
    assert "differ from torch's" in caplog.text


def test_check_looks_at_the_features_too(reference: TorchEngine, network: AdainNetwork) -> None:
    """Wrong features are found, although the check decodes the reference's."""

    class WrongEngine(TorchEngine):
        def encode(self, picture: Tensor) -> Tensor:
            return super().encode(picture) * 1.001

    check_engine(reference, reference)
    with pytest.raises(EngineError):
        check_engine(WrongEngine(network, CPU), reference)


def test_torch_engine_leaves_the_network_alone(network: AdainNetwork) -> None:
    """Another type is a copy: the network belongs to other engines as well."""
    double: Engine = TorchEngine(network, CPU, torch.float64)
    assert double.dtype is torch.float64
    assert double.encode(_picture(16, 16).double()).dtype is torch.float64
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
