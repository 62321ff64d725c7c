"""Models for the mirror, made of the embedded one, and what the tests look for afterwards."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from adain_net.layout import decoder_to_public, encoder_to_public
from adain_weights.catalog import ABOUT, CARD, DECODER, AboutModel, about_bytes
from adain_weights.hub import HubReference
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_model, safetensors_bytes
from hub.mirror import sha256
from support.helpers import embedded_network

MINE = HubReference("atelier", "made-up", "")
NAME = "atelier--made-up"
CARD_TEXT = b"---\nlicense: mit\n---\n# A model\n"


@cache
def decoder_tensors() -> dict[str, Tensor]:
    """The embedded decoder's."""
    return load_model(DEFAULT_MODEL).decoder


def decoder_bytes(change: float = 0.0) -> bytes:
    """A decoder's file; another one for another change."""
    tensors = decoder_tensors()
    return safetensors_bytes({**tensors, "conv1_1.bias": tensors["conv1_1.bias"] + change}, {})


def model_files(change: float = 0.0) -> dict[str, bytes]:
    """A model as adain-trainer exports it."""
    decoder = decoder_bytes(change)
    about = AboutModel("Made up", "for tests", "MIT", "nowhere", {"style": 0.5}, {DECODER: sha256(decoder)})
    return {DECODER: decoder, CARD: CARD_TEXT, ABOUT: about_bytes(about)}


@cache
def public_pair() -> dict[str, bytes]:
    """The embedded weights as the public pair of pickled files, with a part of what lies beyond relu4_1."""
    network = embedded_network()
    encoder = {
        name: tensor for name, tensor in encoder_to_public(network.encoder).items() if int(name.split(".")[0]) <= 32
    }
    return {"vgg_normalised.pth": _pickled(encoder), "decoder.pth": _pickled(decoder_to_public(network.decoder))}


def _pickled(state: dict[str, Tensor]) -> bytes:
    buffer = BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def leftovers(*folders: Path) -> list[str]:
    """Names of unfinished files and folders."""
    marks = (".incomplete", ".tmp")
    paths = [path for folder in folders for path in folder.rglob("*")]
    return [path.name for path in paths if path.name.endswith(marks) or path.name.startswith((".new-", ".old-"))]


def is_sentence(text: str) -> bool:
    """Whether it is one line for people."""
    return text.endswith(".") and "\n" not in text and "Traceback" not in text and "Error" not in text
