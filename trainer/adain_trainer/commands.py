"""The commands of adain-trainer, called with their options."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image
from tqdm import tqdm

from adain_net.network import AdainNetwork
from adain_trainer.checkpoint import write_whole
from adain_trainer.config import PRESETS, REFINEMENT, FitConfig
from adain_trainer.distributed import choose_device, joined_group
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import evaluate
from adain_trainer.export import export_model, export_public, model_folder
from adain_trainer.export_refinement import embed_refinement, export_refinement
from adain_trainer.fit import PictureFolders, fit
from adain_trainer.heldout import read_held_out
from adain_trainer.initial_weights import InitialWeights
from adain_trainer.load import load_pictures, open_rgb
from adain_trainer.networks import RefinedNetwork, network_of_model, placed
from adain_trainer.pictures import collect
from adain_trainer.report import write_report
from adain_trainer.run_folder import RunRecord, read_record, trained_decoder
from adain_trainer.sheets import comparison_sheet, numbered_pages, sample_sheet
from adain_trainer.styles import build_styles
from adain_trainer.yardstick import Comparison, compare, mean_distances, painter
from adain_weights.hub import push
from adain_weights.manifest import DEFAULT_MODEL


def fit_run(options: argparse.Namespace) -> None:
    """Run `fit`. Raises as adain_trainer.fit.fit()."""
    if (options.sheet_content is None) != (options.sheet_style is None):
        raise TrainerError("Sample sheets need both --sheet-content and --sheet-style.")
    config, start = _recipe(options)
    samples = (options.sheet_content, options.sheet_style) if options.sheet_content is not None else None
    folders = PictureFolders(options.content, options.style, samples)
    with joined_group(options.device) as group:
        steps = fit(
            start,
            config,
            folders,
            options.folder,
            group,
            memory_budget=int(options.memory_budget * 1024**3),
            tensorboard=options.tensorboard,
            minutes=options.minutes,
        )
        if group.first:
            what = "a refinement" if config.refines else "a model"
            print(f"{steps} steps are done; 'adain-trainer export --run {options.folder}' makes {what} of them.")


def _recipe(options: argparse.Namespace) -> tuple[FitConfig, InitialWeights]:
    """The options given, over the preset's values or, in an old run, over the run's own; and the initial weights."""
    given = {each.name: value for each in fields(FitConfig) if (value := getattr(options, each.name)) is not None}
    record = read_record(options.folder)
    preset = PRESETS[options.preset] if options.preset else None
    base = preset or (record.config if record is not None else PRESETS["full"])
    trains = given.get("trains", base.trains)
    start = _begun(options, record, trains) if record is not None else _new_start(options, trains, given)
    if start.decoder is not None:
        given.setdefault("reconstruction_steps", 0)  # a trained decoder inverts the encoder already
    return replace(base, **given), start


def _begun(options: argparse.Namespace, record: RunRecord, trains: str) -> InitialWeights:
    """The initial weights of an old run. Raises TrainerError when the options ask for others."""
    if trains != record.config.trains:
        raise TrainerError(
            f"The run in {options.folder} trains the {record.config.trains} of a model; choose another folder for the "
            f"{trains}."
        )
    start = InitialWeights.of_run(options.folder)
    if options.model or options.begin or options.from_scratch:
        wanted = _new_start(options, trains, {"seed": record.config.seed})
        if (wanted.model, wanted.begun) != (record.model, record.begun):
            raise TrainerError(
                f"The run in {options.folder} was begun with {record.begun}; choose another folder for {wanted.begun}."
            )
    return start


def _new_start(options: argparse.Namespace, trains: str, given: Mapping[str, Any]) -> InitialWeights:
    """The initial weights of a new run."""
    if trains == REFINEMENT:
        return InitialWeights.of_refinement(
            options.model or DEFAULT_MODEL,
            options.begin,
            from_scratch=options.from_scratch,
            seed=given.get("seed", FitConfig.seed),
        )
    if options.model:
        raise TrainerError("--model says whose pictures a refinement refines; a decoder begins with --from MODEL.")
    begin = options.begin or (DEFAULT_MODEL if options.preset in ("finetune", "gpu") else None)
    return InitialWeights.from_model(begin) if begin and not options.from_scratch else InitialWeights.from_nothing()


def paint_sheet(options: argparse.Namespace) -> None:
    """Run `sheet`."""
    contents, styles = load_pictures(options.content).pictures, load_pictures(options.style).pictures
    network = _network(options)
    with tqdm(total=len(contents), unit="content") as bar:
        sheet = sample_sheet(
            network, contents, styles, side=options.side, progress=lambda done, _total: bar.update(done - bar.n)
        )
    _save_picture(sheet, options.output)


def preview(options: argparse.Namespace) -> None:
    """Run `preview`: a row before and a row after; for a model, or a run from nothing, the latter only."""
    content, *styles = (_opened(path) for path in (options.content, *options.style))
    before = InitialWeights.of_run(options.folder).network() if options.folder is not None else None
    if before is not None:
        before = placed(before, choose_device(options.device))
    _save_picture(comparison_sheet(before, _network(options), [content], styles, side=options.side), options.output)


def measure(options: argparse.Namespace) -> None:
    """Run `evaluate`: figures alone, or with --beside also those of another model."""
    if options.beside is not None:
        _compare(options)
        return
    if options.quality is not None or options.sheet is not None:
        raise TrainerError("Qualities and sheets are for a comparison; add --beside MODEL.")
    contents, styles = _measured_pictures(options)
    network = _network(options)
    with _pair_bar() as show:
        figures = evaluate(network, contents, styles, side=options.side, pairs=options.pairs, progress=show)
    print(f"{figures.pairs} pairs at {options.side}")
    print(f"style loss        {figures.style:.3f}")
    print(f"content distance  {figures.content:.3f}")
    print(f"target distance   {figures.target:.3f}")
    print(f"identity error    {figures.identity:.4f}  (alpha 0, MSE of RGB in 0..1)")
    _write_json(options.json, {**asdict(figures), "side": options.side})


def _compare(options: argparse.Namespace) -> None:
    """Run `evaluate --beside`: a table, and a sheet of all pairs."""
    ours, other = _network(options), placed(network_of_model(options.beside), choose_device(options.device))
    quality = options.quality or ("fine" if isinstance(ours, RefinedNetwork) else "fast")
    paint, theirs = painter(ours, quality), painter(other, "fast")
    contents, styles = _measured_pictures(options)
    with _pair_bar() as show:
        found, rows = compare(
            paint, theirs, other.encoder, contents, styles, side=options.side, pairs=options.pairs, progress=show
        )
    name, seconds = Path(options.beside).resolve().name, [median(each.seconds) for each in (paint, theirs)]
    print(f"Pairs: {len(rows)} at {options.side}; ours: {quality}; theirs: {name}, whose encoder measures.")
    print(found.table())
    print(f"Seconds a picture: ours {seconds[0]:.2f}, theirs {seconds[1]:.2f}.")
    sheet = options.sheet or (options.folder or Path()) / f"beside-{name}.jpg"
    for path in _save_pages(numbered_pages(rows), sheet):
        print(f"{path}: content, style, ours, theirs")
    measured = {"pairs": len(rows), "side": options.side, "quality": quality, "seconds": seconds}
    _write_json(options.json, {**measured, **_comparison_values(found)})


def _comparison_values(found: Comparison) -> dict[str, object]:
    """The values for --json: means of both, their ratios, and each pair's distances."""
    means = {"ours": mean_distances(found.ours), "theirs": mean_distances(found.theirs), "ratios": found.ratios}
    each = [{"ours": a._asdict(), "theirs": b._asdict()} for a, b in zip(found.ours, found.theirs, strict=True)]
    return {**{name: values._asdict() for name, values in means.items()}, "each": each}


def _measured_pictures(options: argparse.Namespace) -> tuple[Sequence[Image.Image], Sequence[Image.Image]]:
    """Contents and styles of --content and --style, otherwise of a run's held-out pairs."""
    if options.content and options.style:
        return load_pictures(options.content).pictures, load_pictures(options.style).pictures
    if options.content or options.style:
        raise TrainerError("Pairs need both contents and styles; give --content and --style, or neither.")
    run = options.held_out or options.folder
    if run is None:
        raise TrainerError("There are no pictures to measure with; give --content and --style, or --held-out RUN.")
    held_out = read_held_out(run)
    return held_out.content, held_out.style


@contextmanager
def _pair_bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar that counts pairs."""
    with tqdm(unit="pair") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _write_json(path: Path | None, values: Mapping[str, object]) -> None:
    if path is not None:
        write_whole(path, (json.dumps(values, indent=2) + "\n").encode())


def report(options: argparse.Namespace) -> None:
    """Run `report`."""
    print(write_report(options.folder, device=choose_device(options.device)))


def export(options: argparse.Namespace) -> None:
    """Run `export`."""
    record = read_record(options.folder)
    if record is not None and record.config.refines:
        _export_refinement(options)
        return
    if options.embed:
        raise TrainerError("Only a refinement can be embedded; this run has a model's decoder.")
    if options.public:
        if options.output is None:
            raise TrainerError("The public files need a folder; add -o FOLDER.")
        steps = export_public(options.folder, options.output, newest=options.newest)
        print(f"{options.output}  vgg_normalised.pth and decoder.pth, {steps} steps")
        return
    name = options.name or options.folder.resolve().name
    folder = options.output or model_folder(name)
    steps = _export(options, folder, options.title or (folder.resolve().name if options.output else name))
    where = "" if options.output else f"; it is called '{name}' in the lists of models"
    print(f"{folder}  {steps} steps{where}")


def _export_refinement(options: argparse.Namespace) -> None:
    """Run `export` for a refinement: write a file, or with --embed the project's own."""
    if options.public or options.name or options.title or options.licence:
        raise TrainerError("A refinement is no model: it has no public form, name, title or licence of its own.")
    settings = {"newest": options.newest, "anyway": options.anyway, "device": choose_device(options.device)}
    if options.embed:
        path, steps, digest = embed_refinement(options.folder, **settings)
    else:
        path, steps, digest = export_refinement(options.folder, options.output or options.folder, **settings)
    print(f"{path}  {steps} steps, SHA-256 {digest}")


def push_model(options: argparse.Namespace) -> None:
    """Run `push`."""
    settings = {"private": options.private, "revision": options.revision}
    if options.folder is None:
        folder = Path(options.model)
        print(push(folder if folder.is_dir() else model_folder(options.model), options.repository, **settings))
        return
    record = read_record(options.folder)
    if record is not None and record.config.refines:
        raise TrainerError("A refinement is no model and cannot be pushed; its file can be given to others.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        _export(options, folder, options.title or options.repository.rpartition("/")[2])
        print(push(folder, options.repository, **settings))


def collect_pictures(options: argparse.Namespace) -> None:
    """Run `pictures`."""
    for place, count in collect(options.output, options.downloads).items():
        print(f"{options.output / place}: {count} pictures")


def make_styles(options: argparse.Namespace) -> None:
    """Run `styles`."""
    for path in build_styles(options.output, options.downloads):
        print(f"{path}  {path.stat().st_size:,} bytes")


def _export(options: argparse.Namespace, folder: Path, title: str) -> int:
    return export_model(
        options.folder,
        folder,
        title=title,
        licence=options.licence,
        newest=options.newest,
        anyway=options.anyway,
        device=choose_device(options.device),
    )


def _network(options: argparse.Namespace) -> AdainNetwork | RefinedNetwork:
    """The network of --run or --model, on --device."""
    if options.folder is not None:
        decoder, _, note = trained_decoder(options.folder)
        if note:
            print(note, file=sys.stderr)
        network = InitialWeights.of_run(options.folder).network_with(decoder)
        return placed(network, choose_device(options.device))
    return placed(network_of_model(options.model), choose_device(options.device))


def _opened(path: Path) -> Image.Image:
    try:
        return open_rgb(path)
    except Exception:
        # Pillow's readers let almost any error out of a damaged file.
        raise TrainerError(f"{path} is not a picture that can be read.") from None


def _save_pages(pages: Sequence[Image.Image], path: Path) -> list[Path]:
    """Save one page to the file itself, several to files numbered from 1 beside it; returns their paths."""
    numbered = [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, len(pages) + 1)]
    paths = numbered if len(pages) > 1 else [path]
    for page, each in zip(pages, paths, strict=True):
        _save_picture(page, each)
    return paths


def _save_picture(picture: Image.Image, path: Path) -> None:
    try:
        picture.save(path)
    except ValueError:
        raise TrainerError(f"{path} has no ending that says which kind of picture it is; take .jpg or .png.") from None
