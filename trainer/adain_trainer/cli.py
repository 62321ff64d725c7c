"""adain-trainer: trains a decoder, shows, measures and exports it. Only the options; commands.py does the work."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path

from adain_net.layout import LayoutError
from adain_net.stylizer import QUALITIES
from adain_style.client.version import VERSION
from adain_trainer import commands
from adain_trainer.config import PRESETS, FitConfig
from adain_trainer.errors import TrainerError
from adain_trainer.fit import MEMORY_BUDGET
from adain_weights.console import run_command
from adain_weights.errors import WeightsError
from adain_weights.manifest import DEFAULT_MODEL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command("adain-trainer", lambda: _run(arguments), failures=(TrainerError, WeightsError, LayoutError))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    options.run(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adain-trainer", description="Trains decoders for AdaIN Style.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_fit, _add_looking, _add_evaluate, _add_export, _add_push, _add_collecting):
        add(subparsers)
    return parser


_Subparsers = argparse._SubParsersAction  # argparse has no public name for it


def _add_fit(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    training = subparsers.add_parser(
        "fit",
        help="train a decoder, or go on with a run",
        description="Trains a decoder, or goes on with a run. Under torchrun, all its processes share the work.",
    )
    _add_picture_folders(training)
    training.add_argument(
        "--run", type=Path, required=True, dest="folder", help="the run's folder; an old one is resumed"
    )
    training.add_argument(
        "--preset",
        choices=PRESETS,
        help="finetune: a released decoder to a few pictures; full: one for every style; gpu: likewise, from a "
        "released one, on a card; refinement: the second pass's decoder (default: full, or as the run was)",
    )
    beginning = training.add_mutually_exclusive_group()
    beginning.add_argument(
        "--from",
        dest="begin",
        metavar="MODEL|FILE",
        help="start from this model's decoder, or refinement's file (default: nothing for full, else the embedded one)",
    )
    beginning.add_argument(
        "--from-scratch",
        action="store_true",
        help="start from nothing; a refinement from the end of the model's decoder",
    )
    training.add_argument(
        "--model",
        metavar="NAME|FOLDER",
        help=f"the model whose pictures a refinement is trained on (default: {DEFAULT_MODEL})",
    )
    training.add_argument(
        "--sheet-content", type=Path, metavar="DIR", help="contents of the sample sheets (with --sheet-style)"
    )
    training.add_argument("--sheet-style", type=Path, metavar="DIR", help="styles of the sample sheets")
    training.add_argument(
        "--tensorboard", action="store_true", help="also write for TensorBoard, into the run's folder"
    )
    training.add_argument(
        "--minutes",
        type=_above_zero,
        default=math.inf,
        metavar="N",
        help="stop after so long, measure, and save; the same command goes on (default: at the last step)",
    )
    training.add_argument(
        "--memory-budget",
        type=_above_zero,
        default=MEMORY_BUDGET / 1024**3,
        metavar="GIB",
        help="memory for pictures and encoded crops, in each process (default: %(default)g); pictures that do not fit "
        "are read again each time",
    )
    _add_device(training)
    recipe = training.add_argument_group("recipe", "values given here come before the preset's")
    for field in fields(FitConfig):
        defaults = {name: getattr(preset, field.name) for name, preset in PRESETS.items()}
        assert field.default is not MISSING
        different = ", ".join(f"{name} {value}" for name, value in defaults.items())
        recipe.add_argument(
            f"--{field.name.replace('_', '-')}",
            type={"int": int, "float": float, "str": str}[str(field.type)],
            choices=field.metadata["choices"] or None,
            metavar=field.metadata["form"],
            help=f"{field.metadata['meaning']} ({different if len(set(defaults.values())) > 1 else field.default})",
        )
    training.set_defaults(run=commands.fit_run)


def _add_looking(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    sheet = subparsers.add_parser("sheet", help="paint every content in every style on one sheet")
    _add_picture_folders(sheet)
    _add_source(sheet)
    _add_device(sheet)
    sheet.add_argument("--side", type=_at_least(16), default=256, help="pixels of each picture (default: %(default)s)")
    sheet.add_argument("-o", "--output", type=Path, required=True)
    sheet.set_defaults(run=commands.paint_sheet)

    preview = subparsers.add_parser("preview", help="one picture in a few styles, before and after a run")
    preview.add_argument("--content", type=Path, required=True, metavar="FILE")
    preview.add_argument("--style", type=Path, action="append", required=True, metavar="FILE", help="repeatable")
    _add_source(preview)
    _add_device(preview)
    preview.add_argument(
        "--side", type=_at_least(16), default=256, help="pixels of each picture (default: %(default)s)"
    )
    preview.add_argument("-o", "--output", type=Path, required=True)
    preview.set_defaults(run=commands.preview)

    report = subparsers.add_parser("report", help="write a run's report.html again")
    report.add_argument("--run", type=Path, required=True, dest="folder")
    _add_device(report)
    report.set_defaults(run=commands.report)


def _add_evaluate(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    measuring = subparsers.add_parser(
        "evaluate",
        help="measure style, content and target distance on pairs",
        description="Measures on pairs; with --beside, in another model's scale and beside that model. Without folders "
        "of pictures, the pairs are those that a run does not train on.",
    )
    _add_picture_folders(measuring, required=False)
    measuring.add_argument(
        "--held-out", type=Path, metavar="RUN", help="take this run's held-out pairs (default: those of --run)"
    )
    _add_source(measuring, default=DEFAULT_MODEL)
    measuring.add_argument(
        "--beside",
        metavar="MODEL",
        help="compare with a model, or with a folder that holds vgg_normalised.safetensors and decoder.safetensors",
    )
    measuring.add_argument(
        "--quality",
        choices=QUALITIES,
        help="of our pictures beside theirs (default: fast; fine for a refinement's run)",
    )
    measuring.add_argument(
        "--sheet",
        type=Path,
        metavar="FILE",
        help="where the pairs are shown side by side (default: beside-MODEL.jpg in the run's or the current folder)",
    )
    _add_device(measuring)
    measuring.add_argument(
        "--side", type=_at_least(16), default=512, help="pixels of each picture (default: %(default)s)"
    )
    measuring.add_argument("--pairs", type=_at_least(1), default=20, help="at most this many (default: %(default)s)")
    measuring.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    measuring.set_defaults(run=commands.measure)


def _at_least(least: int) -> Callable[[str], int]:
    """A parser for an option that is a whole number of at least this size."""

    def whole(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return whole


def _add_export(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    exporting = subparsers.add_parser(
        "export",
        help="make a model of a run's decoder, for the server and the hosts",
        description="Makes a model of a run's decoder; of a refinement's run, the file refinement.safetensors, in the "
        "run's folder unless -o names another one.",
    )
    exporting.add_argument("--run", type=Path, required=True, dest="folder")
    place = exporting.add_mutually_exclusive_group()
    place.add_argument("--name", help="the model's name, under which servers find it (default: the run folder's)")
    place.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write the model here instead")
    _add_description(exporting)
    _add_device(exporting)
    exporting.add_argument(
        "--public",
        action="store_true",
        help="write vgg_normalised.pth and decoder.pth for the public PyTorch code instead (with -o)",
    )
    exporting.add_argument(
        "--embed",
        action="store_true",
        help="for this project's developers: make a refinement the embedded one, if its figures are not worse",
    )
    exporting.set_defaults(run=commands.export)


def _add_push(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    pushing = subparsers.add_parser("push", help="put a run's decoder, or a model of yours, on the Hugging Face Hub")
    pushing.add_argument("repository", metavar="ORG/REPO")
    source = pushing.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="NAME|FOLDER", help="a model that was exported")
    source.add_argument("--run", type=Path, dest="folder", help="a run, which is exported for this")
    _add_description(pushing)
    _add_device(pushing)
    pushing.add_argument("--private", action="store_true", help="only you may see it")
    pushing.add_argument("--revision", help="a branch (default: the main one)")
    pushing.set_defaults(run=commands.push_model)


def _add_collecting(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    collecting = subparsers.add_parser(
        "pictures", help="collect the embedded decoder's training pictures from packages"
    )
    collecting.add_argument("-o", "--output", type=Path, required=True)
    collecting.add_argument("--downloads", type=Path, required=True, help="folder for the packages")
    collecting.set_defaults(run=commands.collect_pictures)

    styles = subparsers.add_parser("styles", help="make the built-in styles from packages")
    styles.add_argument("-o", "--output", type=Path, required=True, help="folder for the styles")
    styles.add_argument("--downloads", type=Path, required=True, help="folder for the packages")
    styles.set_defaults(run=commands.make_styles)


def _add_description(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--title", help="of the model, for lists (default: its name)")
    parser.add_argument("--licence", default="", help="under which you give the decoder (default: not stated)")
    parser.add_argument("--newest", action="store_true", help="the newest decoder, not the best on held-out pairs")
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="even if it is worse than what is replaced, or than what the run began with",
    )


def _above_zero(text: str) -> float:
    if not 0 < (value := float(text)) < math.inf:
        raise argparse.ArgumentTypeError("must be above 0 and finite")
    return value


def _add_picture_folders(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    for kind in ("--content", "--style"):
        parser.add_argument(kind, type=Path, action="append", required=required, metavar="DIR", help="repeatable")


def _add_source(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Add --model and --run; one of them is required unless there is a default model."""
    source = parser.add_mutually_exclusive_group(required=default is None)
    said = f" (default: {default})" if default else ""
    source.add_argument("--model", metavar="NAME|FOLDER", default=default, help=f"a model{said}")
    source.add_argument("--run", type=Path, dest="folder", help="a run's best decoder on held-out pairs, or newest one")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="what to compute on (default: a graphics card when there is one)",
    )


if __name__ == "__main__":
    sys.exit(main())
