"""adain-stylize: the command-line client, for files, folders and frames of a film."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from adain_style.client import protocol
from adain_style.client.choices import (
    SAVED_STYLE_SUFFIX,
    RegionChoice,
    is_saved_style,
    parse_number,
    parse_region,
    parse_style,
    picture_and_crop,
    refuse_address,
)
from adain_style.client.client import Client
from adain_style.client.errors import AdainError, RequestError
from adain_style.client.folders import user_styles_folder
from adain_style.client.jobs import Pixels, Progress, Region, StyleFile, StyleSource, StylizeRequest, StylizeResult
from adain_style.client.launcher import connect
from adain_style.client.progress import fraction
from adain_style.client.version import VERSION
from adain_stylize.contents import Content, Frame, mask_samples, read_content
from adain_stylize.pictures import (
    NoRoomError,
    check_target,
    holds_profile,
    mask_pixels,
    pixels_of,
    result_samples,
    save_result,
)
from adain_stylize.plan import UsageError, find_contents, find_targets, make_folder
from adain_stylize.terminal import Forecast, KeepOnInterrupt
from adain_weights.console import run_command
from adain_weights.errors import WeightsError
from adain_weights.picture_files import PictureError, style_picture
from adain_weights.samples import Samples
from adain_weights.styles import read_style

OF_ONE_PICTURE = {"TOO_LARGE", "OUT_OF_MEMORY"}
"""Codes of refusals that concern only one picture, so that the next one may succeed."""


@dataclass(frozen=True)
class LoadedRegion:
    """A region with its files read; the mask is resized to each content."""

    styles: list[tuple[StyleSource, float]]
    alpha: float
    preserve_color: str
    mask: Samples | None

    def fitted_to(self, size: tuple[int, int]) -> Region:
        """Return the region for a content of this width and height."""
        mask = None if self.mask is None else mask_pixels(self.mask, size)
        return Region(self.styles, alpha=self.alpha, mask=mask, preserve_color=self.preserve_color)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command(
        "adain-stylize",
        lambda: _run(arguments),
        failures=(UsageError, PictureError, WeightsError, AdainError),
        interrupted="cancelled; pictures that were finished are kept.",
    )


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.list_styles:
        failures = _list_styles(options)
    elif options.list_models:
        failures = _list_models(options)
    elif options.save_style is not None:
        failures = _save_style(options)
    else:
        failures = _stylize_all(options)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adain-stylize",
        description="Paints pictures in the style of others, through the AdaIN server.",
        epilog="Where a file's name has one of the signs = + @ : of a style or region, a file that exists is found "
        "first. Double quotes around a whole mask or style take it as it is; keep them from your shell: "
        """--region '"a=b.png"="c+d@2.png":2@0.5'. A drive, as in C:\\pictures\\a.png:2, needs none.""",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    parser.add_argument("content", nargs="*", metavar="CONTENT", help="a picture, or a folder of pictures")
    parser.add_argument(
        "--style",
        action="append",
        default=[],
        metavar="STYLE[:WEIGHT]",
        help="a picture, PICTURE[LEFT,TOP,WIDTH,HEIGHT] for a part of it, a saved style's file, or a name from "
        "--list-styles; several are mixed by their relative weights (default weight: 1)",
    )
    parser.add_argument("--alpha", default="1", metavar="A", help="0 = content, 1 = full style (default: %(default)s)")
    parser.add_argument(
        "--mask",
        metavar="MASK",
        help="stylize only where this picture is white; a mask with transparency counts as its light times its opacity",
    )
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA][@COLOUR]",
        help="styles of its own for the white part of a mask, instead of --style, --alpha and --mask; COLOUR as in "
        "--preserve-color; repeatable",
    )
    parser.add_argument(
        "--preserve-color",
        choices=protocol.PRESERVE_COLOR,
        default="none",
        help="keep the picture's colours: recolour the styles to it (match), or take only their light and dark "
        "(luminance) (default: %(default)s)",
    )
    parser.add_argument(
        "--stroke-size",
        default="1",
        metavar="S",
        help=f"1 = fine; up to {protocol.MAX_STROKE_SIZE:g} = as many times broader (default: %(default)s)",
    )
    parser.add_argument(
        "--detail",
        default="0.7",
        metavar="D",
        help="how much fine detail stays when strokes are broad, 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        choices=protocol.QUALITY,
        default="fine",
        help="fast = one pass; fine = refined afterwards; best = refined, then finished step by step, which takes much "
        "longer: Ctrl-C once keeps the picture as it is then (default: %(default)s)",
    )
    parser.add_argument(
        "--smooth",
        metavar="S",
        help="the pictures are a film's frames, in order of their names: keep this share, 0 to below 1, of the frame "
        "before's statistics, against flicker",
    )
    parser.add_argument(
        "--frames",
        action="store_true",
        help="paint every frame of an animation, or every page of a TIFF, into a file of the same kind; without it "
        "only the first",
    )
    parser.add_argument("--resume", action="store_true", help="leave out pictures whose result is there already")
    parser.add_argument("-o", "--output", metavar="OUT|FOLDER", help="the result's file, or a folder for many")
    parser.add_argument(
        "--model", default="", metavar="NAME", help="one from --list-models (default: the server's own)"
    )
    parser.add_argument("--list-models", action="store_true", help="name the models that the server has, and end")
    parser.add_argument("--list-styles", action="store_true", help="name the styles that the server knows, and end")
    parser.add_argument(
        "--save-style",
        metavar="FILE|NAME",
        help="save the one --style picture as a small file, or under a name in your own styles folder, and end",
    )
    for field, meaning in (("title", "what it is called"), ("artist", "who made it"), ("licence", "who may use it")):
        parser.add_argument(f"--{field}", default="", help=f"with --save-style: {meaning}")
    parser.add_argument("--connection-file", type=Path, metavar="FILE", help="of the server (default: the running one)")
    parser.add_argument("--no-start", action="store_true", help="fail when no server runs, instead of starting one")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _connect(options: argparse.Namespace) -> Client:
    return connect(
        name="adain-stylize",
        connection_file=options.connection_file,
        command=[sys.executable, "-m", "adain_server"],
        start=not options.no_start,
        on_start=lambda message: tqdm.write(message, file=sys.stderr),
    )


def _list_styles(options: argparse.Namespace) -> int:
    with _connect(options) as client:
        styles = client.styles()
    return _print_names({style.name: (style.artist, style.title, style.origin, style.licence) for style in styles})


def _list_models(options: argparse.Namespace) -> int:
    with _connect(options) as client:
        models, own = client.models(), client.hello().model
    return _print_names(
        {model.name: (model.title, model.description, model.origin, model.licence) for model in models}, own=own
    )


def _print_names(listed: Mapping[str, Iterable[str]], *, own: str = "") -> int:
    """Print a line for each name, with its description; returns 0 failures."""
    width = max(map(len, listed), default=0)
    for name, words in listed.items():
        mark = " (the server's own)" if name == own else ""
        print(f"{name:{width}}  {', '.join(filter(None, words))}{mark}")
    return 0


def _save_style(options: argparse.Namespace) -> int:
    """Save a style picture with its statistics, which are computed in this process, without a server."""
    if len(options.style) != 1 or options.region or options.content:
        raise UsageError("--save-style takes exactly one --style, a picture, and no content.")
    text = parse_style(options.style[0]).source
    target = Path(options.save_style)
    if not is_saved_style(target):
        if not protocol.STYLE_NAME.fullmatch(options.save_style):
            raise UsageError("A style's name has small letters, digits and hyphens only; a file ends in .safetensors.")
        target = user_styles_folder() / f"{options.save_style}{SAVED_STYLE_SUFFIX}"
    path, crop = picture_and_crop(text)
    picture = style_picture(path, crop=crop)
    make_folder(target.parent)
    # Imported here: it loads torch, which every other use of this command leaves to the server.
    from adain_stylize.style_files import save_style

    save_style(
        target,
        picture,
        title=options.title or _printable(path.stem),
        artist=options.artist,
        origin=f"saved from {_printable(path.name)}",
        licence=options.licence,
    )
    print(f"Saved {target}")
    return 0


def _printable(name: str) -> str:
    """A file's name for people, with unprintable characters replaced."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)


def _stylize_all(options: argparse.Namespace) -> int:
    """Paint every picture; returns how many could not be read, painted or written."""
    # All errors in the request are found before a server is started.
    if not options.content or options.output is None:
        raise UsageError("A picture to paint, and -o with the result's place, are needed.")
    settings = Settings(
        stroke_size=parse_number(options.stroke_size, "--stroke-size", 1, protocol.MAX_STROKE_SIZE),
        detail=parse_number(options.detail, "--detail", 0, 1),
        model=options.model,
        quality=options.quality,
        smoothing=0.0 if options.smooth is None else parse_number(options.smooth, "--smooth", 0, 0.999),
        sequence=b"" if options.smooth is None else os.urandom(16),
    )
    choices = _region_choices(options)
    for text in (*options.content, options.output):
        refuse_address(text)
    contents = find_contents([Path(text) for text in options.content])
    targets = find_targets(
        contents.paths, Path(options.output), all_frames=options.frames, other_inputs=_files_of(choices)
    )
    regions = [
        LoadedRegion(
            styles=[(_load_style(style.source), style.weight) for style in choice.styles],
            alpha=choice.alpha,
            preserve_color=choice.preserve_color,
            mask=mask_samples(Path(choice.mask)) if choice.mask else None,
        )
        for choice in choices
    ]
    waiting = list(zip(contents.paths, targets, strict=True))
    if options.resume:
        waiting = _unfinished(waiting, keep_last=bool(settings.sequence))
    make_folder(targets[0].parent)
    failures = _paint_all(options, waiting, regions, settings, already_done=len(targets) - len(waiting))
    if rest := contents.about_the_rest():
        _say(rest)
    return failures


def _paint_all(
    options: argparse.Namespace,
    waiting: Sequence[tuple[Path, Path]],
    regions: list[LoadedRegion],
    settings: Settings,
    *,
    already_done: int,
) -> int:
    """Paint contents into their targets; returns how many could not be read, painted or written."""
    # A single content is read before a server is started for it; several are read one after the other.
    alone = [_read_checked(*pair, all_frames=options.frames) for pair in waiting] if len(waiting) == 1 else []
    failures = 0
    with _connect(options) as client, _Bar(len(waiting) + already_done, already_done, quiet=options.quiet) as bar:
        stylizer = _Stylizer(client, regions, settings, bar, all_frames=options.frames)
        for path, target in waiting:
            try:
                content = alone.pop() if alone else _read_checked(path, target, all_frames=options.frames)
                stylizer.stylize(content, target)
            except NoRoomError:  # the next one would be painted in vain
                raise
            # One bad file does not stop the others.
            except PictureError as error:
                _say(str(error))
                failures += 1
            except RequestError as error:
                if error.code not in OF_ONE_PICTURE:
                    raise
                _say(f"{path}: {error}")
                failures += 1
    return failures


def _read_checked(path: Path, target: Path, *, all_frames: bool) -> Content:
    """Read a content that its target can hold, and report what is lost. Raises PictureError."""
    content = read_content(path)
    for sentence in (*content.notes, *check_target(content, target, all_frames=all_frames)):
        _say(sentence)
    return content


def _say(sentence: str) -> None:
    tqdm.write(f"adain-stylize: {sentence}", file=sys.stderr)


def _files_of(choices: Iterable[RegionChoice]) -> list[Path]:
    """The files that regions are read from, as paths; a style's name gives a path without a file."""
    styles = [picture_and_crop(style.source)[0] for choice in choices for style in choice.styles]
    return [*styles, *(Path(choice.mask) for choice in choices if choice.mask)]


@dataclass(frozen=True)
class Settings:
    """The settings of a whole picture, as in StylizeRequest."""

    stroke_size: float
    detail: float
    model: str
    quality: str
    smoothing: float
    sequence: bytes


class _Stylizer:
    """Paints pictures one after the other."""

    def __init__(
        self, client: Client, regions: list[LoadedRegion], settings: Settings, bar: _Bar, *, all_frames: bool
    ) -> None:
        self._client, self._regions, self._settings, self._bar = client, regions, settings, bar
        self._all_frames = all_frames
        self._forecast = Forecast(client, settings.stroke_size, bar.say)

    def stylize(self, content: Content, target: Path) -> None:
        """Paint a content and write the result. Raises PictureError and AdainError."""
        profile = content.profile if holds_profile(content, target) else None
        settings = self._settings_of_frames(content)
        painted, durations = [], []
        for frame in content.each() if self._all_frames else [content.first]:
            painted.append(frame.in_own_colours(self._paint_frame(frame, settings, content.path.name), profile))
            durations.append(frame.duration_ms)
        icc = b"" if profile is None else profile.icc
        save_result(painted, target, kept=content.kept, icc=icc, durations_ms=durations)
        self._bar.finished(str(target))

    def _settings_of_frames(self, content: Content) -> Settings:
        """Return the settings for a content's frames: each animation is a film of its own."""
        if not (self._all_frames and content.frames > 1 and self._settings.sequence):
            return self._settings
        return replace(self._settings, sequence=os.urandom(16))

    def _paint_frame(self, frame: Frame, settings: Settings, name: str) -> Samples:
        """Paint a frame; returns the result in sRGB."""
        height, width, _ = frame.srgb.shape
        if settings.quality == "best":
            self._forecast.announce(height, width)
        regions = [region.fitted_to((width, height)) for region in self._regions]
        request = StylizeRequest(pixels_of(frame.srgb), regions, **vars(settings))
        with KeepOnInterrupt() as interrupt:
            result = self._paint(request, name, interrupt)
        if result.notice:
            tqdm.write(f"{name}: {result.notice}", file=sys.stderr)
        return result_samples(result.pixels)

    def _paint(self, request: StylizeRequest, name: str, interrupt: KeepOnInterrupt) -> StylizeResult:
        show = self._bar.show(name)

        def listen(progress: Progress) -> None:
            interrupt.progress = progress
            show(progress)

        return self._client.stylize(request, on_progress=listen, accepted=lambda: interrupt.has_come)


def _unfinished(pairs: list[tuple[Path, Path]], *, keep_last: bool) -> list[tuple[Path, Path]]:
    """Return the pictures whose result is missing.

    Args:
        pairs: Contents and their targets, in order.
        keep_last: Whether to paint the last finished one again, because a film's next frame needs its statistics.
    """
    missing = [index for index, (_, target) in enumerate(pairs) if not target.exists()]
    if keep_last and missing and missing[0] > 0:
        missing.insert(0, missing[0] - 1)
    return [pairs[index] for index in missing]


class _Bar:
    """One progress bar, of a single picture, or of all pictures with their rate and the time left."""

    def __init__(self, pictures: int, done: int, *, quiet: bool) -> None:
        many = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f} [{elapsed}<{remaining}, {rate_fmt}] {postfix}"
        one = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} {postfix}"
        self._bar = tqdm(
            total=float(pictures),
            initial=float(done),
            disable=quiet,
            unit="pictures",
            bar_format=many if pictures > 1 else one,
        )
        self._done = float(done)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def say(self, sentence: str) -> None:
        """Print a line above the bar, unless it is disabled."""
        if not self._bar.disable:
            tqdm.write(sentence, file=sys.stderr)

    def show(self, name: str) -> Callable[[Progress], None]:
        """Return a listener for the progress of a picture of this name."""
        self._bar.set_description(name)

        def listen(progress: Progress) -> None:
            now = self._done + fraction(progress)
            # A step of the finish takes long enough to be shown at once.
            steps = f" {progress.step}/{progress.steps}" if progress.stage == "finish" else ""
            self._bar.set_postfix_str(progress.stage + steps, refresh=bool(steps))
            self._bar.update(max(0.0, now - self._bar.n))

        return listen

    def finished(self, where: str) -> None:
        """Count a finished picture. where: The result's file."""
        self._done += 1
        self._bar.set_postfix_str(where, refresh=False)
        self._bar.update(self._done - self._bar.n)


def _region_choices(options: argparse.Namespace) -> list[RegionChoice]:
    if options.region:
        if options.style or options.mask:
            raise UsageError("--region names its own styles and mask; leave --style and --mask away.")
        return [parse_region(text, options.preserve_color) for text in options.region]
    if not options.style:
        raise UsageError("At least one --style or --region is needed.")
    styles = [parse_style(text) for text in options.style]
    alpha = parse_number(options.alpha, "--alpha", 0, 1)
    refuse_address(options.mask or "")
    return [RegionChoice(tuple(styles), alpha, options.preserve_color, options.mask or "")]


def _load_style(text: str) -> StyleSource:
    """Read a picture or a part of one, or a saved style's file; or return a name, which the server looks up."""
    if is_saved_style(Path(text)):
        read_style(Path(text))  # a damaged file is found here, with its path in the message
        return StyleFile(Path(text).read_bytes())
    path, crop = picture_and_crop(text)
    if crop is None and not path.exists() and protocol.STYLE_NAME.fullmatch(text):
        return text
    picture = style_picture(path, crop=crop)
    return Pixels(picture.tobytes(), picture.height, picture.width)


if __name__ == "__main__":
    sys.exit(main())
