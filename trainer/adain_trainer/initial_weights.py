"""The initial weights of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from adain_net.layout import load_decoder, load_network, load_refinement
from adain_net.network import AdainNetwork
from adain_trainer.errors import TrainerError
from adain_trainer.first_weights import refinement_from
from adain_trainer.networks import RefinedNetwork
from adain_trainer.run_folder import NOTHING, read_record
from adain_weights.manifest import DEFAULT_MODEL, read_manifest
from adain_weights.models import load_model, load_refinement_weights, read_safetensors, write_safetensors

START = "start.safetensors"
ENCODER = "encoder.safetensors"
PAINTER = "painter.safetensors"


@dataclass(frozen=True)
class InitialWeights:
    """The initial weights of a run.

    Attributes:
        model: The model's name; empty for a decoder from nothing.
        begun: The decoder's origin, for people, as in "begun with ...".
        encoder, decoder: Weights in either of adain_net's layouts; decoder is None for one from nothing.
        encoder_digest: SHA-256 of the encoder's file.
        own_encoder: Whether the encoder differs from the embedded one.
        painter: When a refinement is trained, the decoder of the model whose pictures it refines.
    """

    model: str
    begun: str
    encoder: Mapping[str, Tensor]
    decoder: Mapping[str, Tensor] | None
    encoder_digest: str
    own_encoder: bool
    painter: Mapping[str, Tensor] | None = None

    @classmethod
    def from_model(cls, model: str) -> InitialWeights:
        """A released model's decoder and encoder. Raises WeightsError."""
        weights = load_model(model)
        own = weights.encoder_digest != read_manifest()[DEFAULT_MODEL].encoder.sha256
        begun = f"the decoder of {weights.name}"
        return cls(weights.name, begun, weights.encoder, weights.decoder, weights.encoder_digest, own)

    @classmethod
    def from_nothing(cls) -> InitialWeights:
        """The embedded encoder and no decoder, to start from scratch. Raises WeightsError."""
        return replace(cls.from_model(DEFAULT_MODEL), model="", begun=NOTHING, decoder=None)

    @classmethod
    def of_refinement(cls, model: str, file: str | None, *, from_scratch: bool, seed: int) -> InitialWeights:
        """A refinement of a model's pictures.

        Args:
            model: As for load_model().
            file: A refinement's weights; None for the embedded ones.
            from_scratch: Take the end of the model's decoder instead; its new inputs are random, decided by `seed`.
        Raises:
            TrainerError: The model has an encoder of its own.
            WeightsError, LayoutError: A file is missing, damaged or of another network.
        """
        painting = cls.from_model(model)
        assert painting.decoder is not None
        if painting.own_encoder:
            raise TrainerError(
                f"The model {painting.model} has an encoder of its own; a refinement is trained on what a model with "
                "the embedded encoder paints."
            )
        if from_scratch:
            tail = refinement_from(load_decoder(painting.decoder), seed=seed)
            begun, decoder = f"the end of the decoder of {painting.model}", tail.state_dict()
        elif file is not None:
            begun, decoder = f"the refinement {Path(file).name}", read_safetensors(Path(file))
        else:
            begun, decoder = "the embedded refinement", load_refinement_weights().decoder
        return replace(painting, begun=begun, decoder=decoder, painter=painting.decoder)

    @classmethod
    def of_run(cls, run: Path) -> InitialWeights:
        """The initial weights that a run's folder records; without a record, those of a run from nothing.

        Raises:
            TrainerError, WeightsError: A file is missing or damaged.
        """
        record = read_record(run)
        start = cls.from_nothing()
        if record is None:
            return start
        if (run / ENCODER).exists():
            start = replace(start, encoder=read_safetensors(run / ENCODER), own_encoder=True)
        if record.model:
            start = replace(start, model=record.model, decoder=read_safetensors(run / START))
        if record.config.refines:
            start = replace(start, painter=read_safetensors(run / PAINTER))
        return replace(start, begun=record.begun, encoder_digest=record.encoder)

    def write(self, run: Path) -> None:
        """Write the files that of_run() needs. Raises WeightsError."""
        kept = {
            ENCODER: self.encoder if self.own_encoder else None,
            START: self.decoder,
            PAINTER: self.painter,
        }
        for name, tensors in kept.items():
            if tensors is not None:
                write_safetensors(run / name, tensors, metadata={"origin": self.model})

    def network(self) -> AdainNetwork | RefinedNetwork | None:
        """The network that the run began with; None when the decoder came from nothing. Raises LayoutError."""
        return None if self.decoder is None else self.network_with(self.decoder)

    def network_with(self, decoder: Mapping[str, Tensor]) -> AdainNetwork | RefinedNetwork:
        """The encoder with a decoder of the run; for a refinement, also the model that paints. Raises LayoutError."""
        if self.painter is None:
            return load_network(self.encoder, decoder).requires_grad_(False)
        refinement = load_refinement(self.encoder, decoder)
        painting = AdainNetwork(refinement.encoder, load_decoder(self.painter))
        return RefinedNetwork(painting, refinement).requires_grad_(False)
