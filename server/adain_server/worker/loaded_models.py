"""The models in the worker's memory: the server's own, and those that clients chose recently."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from adain_net.engine import Engine, TorchEngine
from adain_net.layout import LayoutError, load_network, load_refinement
from adain_net.network import AdainNetwork
from adain_net.refinement import RefinementNetwork
from adain_server.cache import ByteCache, forget_oldest
from adain_server.errors import JobError
from adain_server.model_key import OWN_MODEL, ModelKey
from adain_server.worker.finish_speed import fastest_finish
from adain_server.worker.measured_styles import StyleEncoder
from adain_server.worker.ncnn_engine import best_engine
from adain_server.worker.rendering import Renderer
from adain_weights.errors import WeightsError
from adain_weights.models import ModelWeights, load_model, load_refinement_weights

MOST_LOADED = 3
"""Most models besides the server's own, about 100 MB each; the least recently used one goes first."""


class LoadedModels:
    """Renderers by model. They share one cache, because the features of one encoder serve all its decoders.

    Attributes:
        finish_s_per_megapixel: Seconds that a whole finish takes for a million pixels, by a short trial.
    """

    def __init__(
        self, own: ModelWeights, *, device: torch.device, models: Path, memory_budget: int, cache: ByteCache
    ) -> None:
        """Prepare the server's own model.

        Args:
            own: The model that paints when a job names none.
            device: For torch's engine.
            models: The user's folder of models.
            memory_budget: Bytes for tiles and for the cache, of all models together.
            cache: What all models keep between jobs.
        Raises:
            LayoutError: The weights are not those of this network.
        """
        self._device = device
        self._models = models
        self._memory_budget = memory_budget
        self._cache = cache
        weights = load_refinement_weights()
        network = load_refinement(weights.encoder, weights.decoder).eval().requires_grad_(False)
        self._refinement = StyleEncoder(_engines(network, device), weights.encoder_digest)
        speeds = [fastest_finish(network.encoder, place) for place in dict.fromkeys([device, torch.device("cpu")])]
        self._finishers = [speed.engine for speed in speeds]
        self.finish_s_per_megapixel = speeds[0].s_per_megapixel
        self._own = self._make(own)
        self._others: OrderedDict[ModelKey, Renderer] = OrderedDict()

    def renderer(self, key: ModelKey, on_loading: Callable[[], None]) -> Renderer:
        """The renderer of a model, which is loaded if necessary.

        Args:
            key: The model's key.
            on_loading: Called before one is loaded, which takes a second or two.
        Raises:
            JobError: BAD_MODEL: its files are gone, damaged or of another network.
        """
        if key == OWN_MODEL:
            return self._own
        if key not in self._others:
            on_loading()
            self._others[key] = self._load(key[0])
            for older in [other for other in self._others if other[0] == key[0] and other != key]:
                del self._others[older]
            forget_oldest(self._others, MOST_LOADED)
        self._others.move_to_end(key)
        return self._others[key]

    def _load(self, name: str) -> Renderer:
        try:
            return self._make(load_model(name, self._models))
        except (WeightsError, LayoutError) as error:
            raise JobError("BAD_MODEL", f"The model {name} cannot be used: {error}") from None

    def _make(self, weights: ModelWeights) -> Renderer:
        network = load_network(weights.encoder, weights.decoder).eval().requires_grad_(False)
        return Renderer(
            _engines(network, self._device),
            encoder_digest=weights.encoder_digest,
            refinement=self._refinement,
            finishers=self._finishers,
            memory_budget=self._memory_budget,
            cache=self._cache,
        )


def _engines(network: AdainNetwork | RefinementNetwork, device: torch.device) -> list[Engine]:
    """The engine for the device, then the one that takes over when a graphics card's memory is too small."""
    processor = best_engine(network)
    if device.type == "cpu":
        return [processor]
    return [TorchEngine(network, device), processor]
