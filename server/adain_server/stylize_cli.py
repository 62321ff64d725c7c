"""adain-stylize: the client without a window, for files and folders."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from adain_client.client import Client
from adain_client.errors import AdainError
from adain_client.jobs import Pixels, Progress, Region, StylizeRequest
from adain_client.launcher import connect
from adain_server.picture_files import SUFFIXES, PictureError, open_picture, save_picture, style_pixels, to_pixels


class UsageError(Exception):
    """What the user asked for cannot be done; the message is one sentence."""


@dataclass(frozen=True)
class StyleChoice:
    """A style picture and its relative weight."""

    path: Path
    weight: float


@dataclass(frozen=True)
class RegionChoice:
    """A region as it was typed."""

    styles: list[StyleChoice]
    alpha: float
    mask: Path | None


@dataclass(frozen=True)
class LoadedRegion:
    """A region with its pictures opened; the mask takes each content's size."""

    styles: list[tuple[Pixels, float]]
    alpha: float
    mask: Image.Image | None

    def fitted_to(self, size: tuple[int, int]) -> Region:
        """For a content of this width and height."""
        mask = None if self.mask is None else to_pixels(self.mask.resize(size, Image.Resampling.BILINEAR))
        return Region(self.styles, alpha=self.alpha, mask=mask)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        failures = _stylize_all(options)
    except (UsageError, PictureError, AdainError) as error:
        print(f"adain-stylize: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("adain-stylize: cancelled; pictures that were finished are kept.", file=sys.stderr)
        return 130
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adain-stylize", description="Paints pictures in the style of others, through the AdaIN server."
    )
    parser.add_argument("content", nargs="+", type=Path, metavar="CONTENT", help="a picture, or a folder of pictures")
    parser.add_argument(
        "--style",
        action="append",
        default=[],
        metavar="IMAGE[:WEIGHT]",
        help="a style picture; several are mixed by their relative weights (default weight: 1)",
    )
    parser.add_argument("--alpha", default="1", metavar="A", help="0 = content, 1 = full style (default: %(default)s)")
    parser.add_argument("--mask", type=Path, metavar="MASK", help="stylize only where this picture is white")
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA]",
        help="styles of its own for the white part of a mask, instead of --style, --alpha and --mask; repeatable",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT|FOLDER", help="the result's file, or a folder for many"
    )
    parser.add_argument("--connection-file", type=Path, metavar="FILE", help="of the server (default: the running one)")
    parser.add_argument("--no-start", action="store_true", help="fail when no server runs, instead of starting one")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _stylize_all(options: argparse.Namespace) -> int:
    """Do every picture; returns how many could not be read or written."""
    # Everything that can be wrong with the request is found before a server is started.
    choices = _region_choices(options)
    contents = _content_paths(options.content)
    targets = _targets(contents, options.output)
    regions = [
        LoadedRegion(
            styles=[(style_pixels(style.path), style.weight) for style in choice.styles],
            alpha=choice.alpha,
            mask=open_picture(choice.mask).convert("L") if choice.mask is not None else None,
        )
        for choice in choices
    ]
    failures = 0
    with connect(
        name="adain-stylize",
        connection_file=options.connection_file,
        command=[sys.executable, "-m", "adain_server"],
        start=not options.no_start,
        on_start=lambda message: tqdm.write(message, file=sys.stderr),
    ) as client:
        for content, target in zip(contents, targets, strict=True):
            try:
                _stylize_one(client, content, target, regions, quiet=options.quiet)
            except PictureError as error:
                # One bad file among many does not cost the others.
                print(f"adain-stylize: {error}", file=sys.stderr)
                failures += 1
    return failures


def _stylize_one(client: Client, path: Path, target: Path, regions: list[LoadedRegion], *, quiet: bool) -> None:
    picture = open_picture(path)
    has_alpha = picture.has_transparency_data
    content = to_pixels(picture.convert("RGBA" if has_alpha else "RGB"))
    request = StylizeRequest(content, [region.fitted_to(picture.size) for region in regions])
    with tqdm(
        total=1.0, desc=path.name, disable=quiet, bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed} {postfix}"
    ) as bar:
        result = client.stylize(request, on_progress=lambda progress: _show(bar, progress))
        bar.n = 1.0
        bar.set_postfix_str(str(target))
    stylized = Image.frombytes("RGBA" if has_alpha else "RGB", picture.size, bytes(result))
    save_picture(stylized, target)


# Where each stage begins and ends on the progress bar.
_STAGES = {
    "upload": (0.0, 0.05),
    "queued": (0.05, 0.05),
    "loading": (0.05, 0.05),
    "style": (0.05, 0.3),
    "encode": (0.3, 0.6),
    "decode": (0.6, 0.95),
    "download": (0.95, 1.0),
}


def _show(bar: tqdm[None], progress: Progress) -> None:
    begin, end = _STAGES.get(progress.stage, (0.0, 1.0))
    bar.n = begin + (end - begin) * progress.step / max(progress.steps, 1)
    bar.set_postfix_str(progress.stage)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{what} is a number, not '{text}'.")
    return value


def _region_choices(options: argparse.Namespace) -> list[RegionChoice]:
    if options.region:
        if options.style or options.mask is not None:
            raise UsageError("--region names its own styles and mask; leave --style and --mask away.")
        return [_parse_region(text) for text in options.region]
    if not options.style:
        raise UsageError("At least one --style or --region is needed.")
    styles = [_parse_style(text) for text in options.style]
    return [RegionChoice(styles, _alpha(options.alpha, "--alpha"), options.mask)]


def _parse_region(text: str) -> RegionChoice:
    """MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA]."""
    mask, separator, rest = text.partition("=")
    if not separator or not mask or not rest:
        raise UsageError(f"A region is MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA], not '{text}'.")
    alpha = 1.0
    if "@" in rest and not Path(rest).exists():
        rest, _, alpha_text = rest.rpartition("@")
        alpha = _alpha(alpha_text, f"the alpha of region {mask}")
    names = [rest] if Path(rest).exists() else rest.split("+")
    return RegionChoice([_parse_style(name) for name in names], alpha, Path(mask))


def _alpha(text: str, what: str) -> float:
    value = _number(text, what)
    if not 0 <= value <= 1:
        raise UsageError(f"{what} is between 0 and 1, not {text}.")
    return value


def _parse_style(text: str) -> StyleChoice:
    """IMAGE or IMAGE:WEIGHT; a file whose name has a colon is found first."""
    if Path(text).exists() or ":" not in text:
        return StyleChoice(Path(text), 1.0)
    name, _, weight_text = text.rpartition(":")
    weight = _number(weight_text, f"the weight of style {name}")
    if weight < 0:
        raise UsageError(f"The weight of style {name} is at least 0, not {weight_text}.")
    return StyleChoice(Path(name), weight)


def _content_paths(given: Sequence[Path]) -> list[Path]:
    paths = []
    for path in given:
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SUFFIXES)
            if not inside:
                raise UsageError(f"There is no picture in the folder {path}.")
            paths += inside
        else:
            paths.append(path)
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file {path}.")
    return paths


def _targets(contents: Sequence[Path], output: Path) -> list[Path]:
    """Where each result goes; its folder is made. Nothing that is an input is ever overwritten."""
    is_folder = output.is_dir() or not output.suffix
    if not is_folder and len(contents) > 1:
        raise UsageError(f"{len(contents)} pictures need a folder for their results, and {output} is a file's name.")
    targets = [output / f"{path.stem}.png" if is_folder else output for path in contents]
    if len(set(targets)) < len(targets):
        raise UsageError("Two of the pictures have the same name, so their results would overwrite each other.")
    for target in targets:
        if target.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{target} has no picture format's ending; use .png or .jpg.")
        if any(target.exists() and target.samefile(path) for path in contents):
            raise UsageError(f"The result would overwrite {target}; choose another output.")
    folder = targets[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror}.") from None
    return targets


if __name__ == "__main__":
    sys.exit(main())
