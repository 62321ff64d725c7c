"""adain-trainer: train a decoder, look at it, measure it, export it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from tqdm import tqdm

from adain_net.decoder import Decoder
from adain_net.layout import LayoutError, decoder_to_public, encoder_to_public, load_decoder, load_encoder, load_network
from adain_net.network import AdainNetwork
from adain_trainer.checkpoint import Checkpoint, load_checkpoint
from adain_trainer.config import FitConfig
from adain_trainer.data import load_pictures
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import evaluate
from adain_trainer.export import export_state
from adain_trainer.fit import PictureFolders, fit, initialize_decoder
from adain_trainer.pictures import collect
from adain_trainer.sheets import sample_sheet
from adain_trainer.styles import build_styles
from adain_weights.errors import WeightsError
from adain_weights.models import load_embedded_encoder, load_model, write_safetensors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (TrainerError, WeightsError, LayoutError) as error:
        print(f"adain-trainer: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"adain-trainer: {error.filename or 'a file'}: {error.strerror}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("adain-trainer: stopped.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adain-trainer", description="Trains decoders for AdaIN Style.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    training = commands.add_parser("fit", help="train a decoder, or go on with a run")
    _add_picture_folders(training)
    training.add_argument(
        "--run", type=Path, required=True, dest="folder", help="the run's folder; an old one is resumed"
    )
    training.add_argument(
        "--from", dest="model", metavar="MODEL", help="start from this model's decoder, not from nothing"
    )
    training.add_argument(
        "--sheet-content", type=Path, metavar="DIR", help="contents of the sample sheets (with --sheet-style)"
    )
    training.add_argument("--sheet-style", type=Path, metavar="DIR", help="styles of the sample sheets")
    recipe = training.add_argument_group("recipe")
    for field in fields(FitConfig):
        boolean = field.type == "bool"
        recipe.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=_boolean if boolean else {"int": int, "float": float}[str(field.type)],
            default=field.default,
            metavar="yes|no" if boolean else "N",
            help=f"{field.metadata['meaning']} (default: {'yes' if field.default is True else field.default})",
        )
    training.set_defaults(run=_fit)

    sheet = commands.add_parser("sheet", help="paint every content in every style on one sheet")
    _add_picture_folders(sheet)
    _add_source(sheet)
    sheet.add_argument("--side", type=int, default=256, help="pixels of each picture (default: %(default)s)")
    sheet.add_argument("-o", "--output", type=Path, required=True)
    sheet.set_defaults(run=_sheet)

    measuring = commands.add_parser("evaluate", help="measure style, content and target distance on pairs")
    _add_picture_folders(measuring)
    _add_source(measuring)
    measuring.add_argument("--side", type=int, default=512, help="pixels of each picture (default: %(default)s)")
    measuring.add_argument("--pairs", type=int, default=40, help="at most this many (default: %(default)s)")
    measuring.set_defaults(run=_evaluate)

    exporting = commands.add_parser("export", help="write a run's decoder for adain-server --model FOLDER")
    exporting.add_argument("--run", type=Path, required=True, dest="folder")
    exporting.add_argument("-o", "--output", type=Path, required=True, help="folder for decoder.safetensors")
    exporting.add_argument(
        "--public",
        action="store_true",
        help="write vgg_normalised.pth and decoder.pth for the public PyTorch code instead",
    )
    exporting.set_defaults(run=_export)

    collecting = commands.add_parser("pictures", help="collect the embedded decoder's training pictures from packages")
    collecting.add_argument("-o", "--output", type=Path, required=True)
    collecting.add_argument("--downloads", type=Path, required=True, help="folder for the packages")
    collecting.set_defaults(run=_collect)

    styles = commands.add_parser("styles", help="make the built-in styles from packages")
    styles.add_argument("-o", "--output", type=Path, required=True, help="folder for the styles")
    styles.add_argument("--downloads", type=Path, required=True, help="folder for the packages")
    styles.set_defaults(run=_styles)
    return parser


def _add_picture_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--content", type=Path, action="append", required=True, metavar="DIR", help="repeatable")
    parser.add_argument("--style", type=Path, action="append", required=True, metavar="DIR", help="repeatable")


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="NAME|FOLDER", help="a model")
    source.add_argument("--run", type=Path, dest="folder", help="a run's newest checkpoint")


def _boolean(text: str) -> bool:
    if text.lower() not in {"yes", "no"}:
        raise argparse.ArgumentTypeError("is yes or no")
    return text.lower() == "yes"


def _fit(options: argparse.Namespace) -> None:
    config = FitConfig(**{field.name: getattr(options, field.name) for field in fields(FitConfig)})
    if (options.sheet_content is None) != (options.sheet_style is None):
        raise TrainerError("Sample sheets need both --sheet-content and --sheet-style.")
    decoder = Decoder()
    if options.model is None:
        encoder = load_encoder(load_embedded_encoder())
        initialize_decoder(decoder, seed=config.seed)
    else:
        weights = load_model(options.model)
        encoder, decoder = load_encoder(weights.encoder), load_decoder(weights.decoder)
        config = replace(config, reconstruction_steps=0)  # a trained decoder inverts the encoder already
    samples = (options.sheet_content, options.sheet_style) if options.sheet_content is not None else None
    folders = PictureFolders(options.content, options.style, samples)
    steps = fit(encoder, decoder, config, folders, options.folder)
    print(f"{steps} steps are done; 'adain-trainer export --run {options.folder}' writes the decoder.")


def _sheet(options: argparse.Namespace) -> None:
    contents, _ = load_pictures(options.content)
    styles, _ = load_pictures(options.style)
    with tqdm(total=len(contents), unit="content") as bar:
        sheet = sample_sheet(
            _network(options),
            contents,
            styles,
            side=options.side,
            progress=lambda done, _total: bar.update(done - bar.n),
        )
    sheet.save(options.output)


def _evaluate(options: argparse.Namespace) -> None:
    contents, _ = load_pictures(options.content)
    styles, _ = load_pictures(options.style)
    network = _network(options)
    figures = evaluate(network, contents, styles, side=options.side, pairs=options.pairs)
    print(f"{figures.pairs} pairs at {options.side}")
    print(f"style loss        {figures.style:.3f}")
    print(f"content distance  {figures.content:.3f}")
    print(f"target distance   {figures.target:.3f}")
    print(f"identity error    {figures.identity:.4f}  (alpha 0, MSE of RGB in 0..1)")


def _export(options: argparse.Namespace) -> None:
    checkpoint = _checkpoint(options.folder)
    if options.public:
        network = load_network(load_embedded_encoder(), checkpoint.decoder)
        options.output.mkdir(parents=True, exist_ok=True)
        torch.save(encoder_to_public(network.encoder), options.output / "vgg_normalised.pth")
        torch.save(decoder_to_public(network.decoder), options.output / "decoder.pth")
        print(f"{options.output}  vgg_normalised.pth and decoder.pth, {checkpoint.step} steps")
        return
    path = options.output / "decoder.safetensors"
    digest = write_safetensors(path, export_state(checkpoint), metadata={"made_by": "adain-trainer export"})
    print(f"{path}  {checkpoint.step} steps, sha256 {digest}")


def _collect(options: argparse.Namespace) -> None:
    for place, count in collect(options.output, options.downloads).items():
        print(f"{options.output / place}: {count} pictures")


def _styles(options: argparse.Namespace) -> None:
    for path in build_styles(options.output, options.downloads):
        print(f"{path}  {path.stat().st_size:,} bytes")


def _network(options: argparse.Namespace) -> AdainNetwork:
    if options.folder is not None:
        return load_network(load_embedded_encoder(), _checkpoint(options.folder).decoder)
    weights = load_model(options.model)
    return load_network(weights.encoder, weights.decoder)


def _checkpoint(folder: Path) -> Checkpoint:
    checkpoint, note = load_checkpoint(folder)
    if checkpoint is None:
        raise TrainerError(f"There is no checkpoint in {folder}.")
    if note:
        print(note, file=sys.stderr)
    return checkpoint


if __name__ == "__main__":
    sys.exit(main())
