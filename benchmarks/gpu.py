"""One command for the day a graphics card is at hand: it checks half precision, takes times, and trains a decoder.

    python benchmarks/gpu.py pack PICTURES -o pictures.tar                  # before; PICTURES has content/ and style/
    PYTHONPATH=server:trainer:weights python benchmarks/gpu.py run --pictures pictures.tar --out DIR --minutes 10

`pack` chooses pictures evenly, makes them small, and leaves out those that a run on all of them holds out, so that what
comes back can be measured on these. `run` needs no network. It needs torch with CUDA, torchvision, numpy, Pillow,
safetensors, filelock and tqdm; and this project, as a wheel or as a checkout with the PYTHONPATH above. First it checks
each quality in half precision against float32, and takes times, as the server computes there. Then it trains the
embedded decoder further (preset gpu) until the minutes are nearly over: the smallest batch that keeps the card busy,
and as many steps as there is time for. DIR receives eight small files: `report.md` and `report.json`, the best decoder
so far as a model (`adain-trainer evaluate --model DIR/model`), the run's tables, and a sheet. They are written
anew every minute, so that nothing is lost when the run is cut off.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from adain_net import finish
from adain_net.measured_style import MeasuredStyle
from adain_net.stylizer import QUALITIES, Stylizer
from adain_trainer.config import PRESETS, FitConfig
from adain_trainer.data import TrainingPictures, to_tensor
from adain_trainer.distributed import ProcessGroup
from adain_trainer.errors import TrainerError
from adain_trainer.export import export_model
from adain_trainer.fit import PictureFolders, fit
from adain_trainer.heldout import read_held_out
from adain_trainer.initial_weights import InitialWeights
from adain_trainer.load import PictureCache, load_pictures
from adain_trainer.networks import embedded_refinement, network_of_model, placed
from adain_trainer.run_folder import FIGURES, GROUPS, LOSSES, read_figures, trained_decoder
from adain_trainer.sheets import comparison_sheet, square
from adain_weights.errors import WeightsError
from adain_weights.files import write_whole
from adain_weights.manifest import DEFAULT_MODEL
from packed_pictures import KINDS, pack_pictures, unpack_pictures
from training_pace import paces_of

CHECKED_PAIRS = 4
RUNS = 3
"""Of each time that is taken, after one that is not."""
BUSY = 0.9
"""The smallest batch with this share of the most pairs a second is taken: more steps do more than larger ones."""
SLACK = 0.9
"""Of the time is planned for steps; measurements and checkpoints have the rest."""
RESERVE = 1 / 15
"""Of the time is left at the end, for a last measurement, the sheet and the report."""
MEMORY_BUDGET = 8 * 1024**3

Row = Mapping[str, object]


@dataclass
class Report:
    """Tables by title, in DIR as Markdown and JSON; written whenever there is something new."""

    folder: Path
    tables: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, title: str, rows: Sequence[Row]) -> None:
        """Put a table in the place of the one that had its title."""
        self.tables[title] = list(rows)
        parts = [f"## {name}\n\n{_table(each)}" for name, each in self.tables.items() if each]
        write_whole(self.folder / "report.md", ("# On a graphics card\n\n" + "\n\n".join(parts) + "\n").encode())
        write_whole(self.folder / "report.json", (json.dumps(self.tables, indent=2) + "\n").encode())


def _table(rows: Sequence[Row]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Pack, or run."""
    options = _options()
    try:
        options.run(options)
    except (TrainerError, WeightsError) as error:
        sys.exit(f"gpu.py: {error}")


def pack(options: argparse.Namespace) -> None:
    """Write an archive of pictures."""
    counts = pack_pictures(options.pictures, options.output, int(options.megabytes * 1e6))
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"{options.output}: {said} pictures, {options.output.stat().st_size / 1e6:.1f} MB.")


def run(options: argparse.Namespace) -> None:
    """Check, take times, train."""
    end = time.monotonic() + 60 * options.minutes * (1 - RESERVE)
    device = torch.device(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(options.out)
    report.add("Machine", [_machine(device)])
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        unpack_pictures(options.pictures, work / "pictures")
        cache = PictureCache(MEMORY_BUDGET)
        loaded = [load_pictures([work / "pictures" / kind], cache=cache) for kind in KINDS]
        pictures = TrainingPictures(*(each.pictures for each in loaded))
        _check(report, pictures, device, options)
        config = _planned(report, pictures, device, options, end)
        _train(report, config, work, device, end)


def _machine(device: torch.device) -> Row:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    return {"device": name, "torch": torch.__version__, "CUDA": torch.version.cuda or "none"}


def _check(report: Report, pictures: TrainingPictures, device: torch.device, options: argparse.Namespace) -> None:
    """Half precision against float32, and times, in all qualities."""
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32
    network, refinement = network_of_model(DEFAULT_MODEL), embedded_refinement()
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    exact = Stylizer(network, refinement, device=device, precision=torch.float32)
    fast = Stylizer(network, refinement, device=device, precision=half, finish_precision=torch.bfloat16)
    errors: list[Row] = []
    for quality in QUALITIES:
        paint = partial(_painted, quality=quality, steps=options.finish_steps)
        pairs = _pairs(pictures, options.sides[0])
        each = torch.stack([255 * (paint(fast, *pair) - paint(exact, *pair)).abs() for pair in pairs])
        errors.append({"quality": quality, "mean, levels of 255": float(each.mean()), "largest": float(each.max())})
        report.add(f"{str(half).removeprefix('torch.')} beside float32, at {options.sides[0]}", errors)
    times: list[Row] = []
    for side, quality in itertools.product(options.sides, QUALITIES):
        content, style = _pairs(pictures, side)[0]
        paint = partial(_painted, fast, content, fast.measure(style), quality=quality, steps=options.finish_steps)
        times.append({"side": side, "quality": quality, **_timed(paint, device)})
        report.add("Times, the style known", times)


def _pairs(pictures: TrainingPictures, side: int) -> list[tuple[Tensor, Tensor]]:
    count = min(CHECKED_PAIRS, len(pictures.content), len(pictures.style))
    chosen = zip(pictures.content[:count], pictures.style[:count], strict=True)
    return [(to_tensor(square(a, side))[None], to_tensor(square(b, side))[None]) for a, b in chosen]


def _painted(stylizer: Stylizer, content: Tensor, style: Tensor | MeasuredStyle, *, quality: str, steps: int) -> Tensor:
    return stylizer.paint(content, [style], quality=quality, goes_on=lambda step: step < steps)


def _timed(paint: Callable[[], Tensor], device: torch.device) -> Row:
    """Median, and the memory that torch took on the card. What is painted comes to the processor: nothing is left."""
    seconds = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        paint()
        seconds.append(time.perf_counter() - started)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return {"seconds": statistics.median(seconds[1:]), "GiB of the card": memory}


def _planned(
    report: Report, pictures: TrainingPictures, device: torch.device, options: argparse.Namespace, end: float
) -> FitConfig:
    """The recipe, with the batch and the number of steps that suit the card and the time."""
    base = replace(
        PRESETS["gpu"],
        crop=options.crop,
        style_crop=options.crop,
        eval_side=options.crop,
        bank=options.bank,
        batch=min(options.batches),
        precision="bf16" if device.type == "cuda" else "fp32",
    )
    torch.backends.cudnn.benchmark = True
    paces = paces_of(base, pictures, device, options.batches)
    report.add("Batches", [pace.row() for pace in paces])
    most = max(pace.pairs_per_s for pace in paces)
    chosen = next(pace for pace in paces if pace.pairs_per_s >= BUSY * most)
    step_s = chosen.step_s + chosen.row_s * chosen.batch / base.bank_passes
    steps = max(1, int(SLACK * (end - time.monotonic()) / step_s))
    per_minute = max(1, int(60 / step_s))
    return replace(
        base,
        batch=chosen.batch,
        steps=steps,
        cooldown_steps=steps,
        warmup_steps=min(base.warmup_steps, steps),
        checkpoint_every=per_minute,
        eval_every=per_minute,
        sheet_every=steps,
    )


def _train(report: Report, config: FitConfig, work: Path, device: torch.device, end: float) -> None:
    trained, began = work / "run", time.monotonic()

    def keep(step: int) -> None:
        """What there is now goes into DIR."""
        minutes = (time.monotonic() - began) / 60
        plan = {"of": config.steps, "batch": config.batch, "crop": config.crop}
        report.add("Training", [{"steps": step, **plan, "minutes": minutes}])
        report.add("Figures on held-out pairs", _figures(trained))
        if step:
            _keep_model(trained, work / "model", report.folder, device)

    content, style = ([work / "pictures" / kind] for kind in KINDS)
    minutes = max(0.0, end - time.monotonic()) / 60
    fit(
        InitialWeights.from_model(DEFAULT_MODEL),
        config,
        PictureFolders(content, style),
        trained,
        ProcessGroup(0, 1, device),
        memory_budget=MEMORY_BUDGET,
        minutes=minutes,
        on_measured=keep,
    )
    decoder, step, _ = trained_decoder(trained)
    held_out, before = read_held_out(trained), placed(network_of_model(DEFAULT_MODEL), device)
    after = placed(InitialWeights.of_run(trained).network_with(decoder), device)
    sheet = comparison_sheet(before, after, held_out.content[:4], held_out.style[:5], side=config.crop)
    sheet.save(report.folder / "sheet.jpg", quality=88)
    print(f"{report.folder / 'report.md'}; the best decoder has {step} steps.")


def _keep_model(trained: Path, model: Path, out: Path, device: torch.device) -> None:
    export_model(trained, model, title="From a card", licence="", newest=False, anyway=True, device=device)
    for path in model.iterdir():
        write_whole(out / "model" / path.name, path.read_bytes())
    for name in (FIGURES, LOSSES):
        write_whole(out / name, (trained / name).read_bytes())


def _figures(trained: Path) -> list[Row]:
    return [
        {"steps": step, "pictures": name, "style": figures.style, "content": figures.content, "target": figures.target}
        for step, both in read_figures(trained).items()
        for name, figures in zip(GROUPS, both, strict=True)
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    packing = commands.add_parser("pack", help="make an archive of pictures")
    packing.add_argument("pictures", type=Path, help="a folder with content/ and style/")
    packing.add_argument("-o", "--output", type=Path, required=True)
    packing.add_argument("--megabytes", type=float, default=30.0, help="at most (default: %(default)g)")
    packing.set_defaults(run=pack)
    running = commands.add_parser("run", help="check, take times, train")
    running.add_argument("--pictures", type=Path, required=True, help="what pack has made")
    running.add_argument("--out", type=Path, required=True, metavar="DIR")
    running.add_argument("--minutes", type=float, default=10.0, help="in all (default: %(default)g)")
    running.add_argument("--device", default="cuda", help="(default: %(default)s)")
    for name, default, meaning in (
        ("--sides", [512, 2048], "pixels of the pictures that are timed; the first one's are checked"),
        ("--batches", [8, 16, 32, 64, 128], "what is tried"),
    ):
        said = f"{meaning} (default: %(default)s)"
        running.add_argument(name, type=int, nargs="+", default=default, metavar="N", help=said)
    for name, number, meaning in (
        ("--crop", 256, "pixels of a crop's side"),
        ("--bank", 1024, "crops that are encoded at a time"),
        ("--finish-steps", finish.STEPS, "steps of the finish that is checked and timed"),
    ):
        running.add_argument(name, type=int, default=number, metavar="N", help=f"{meaning} (default: %(default)s)")
    running.set_defaults(run=run)
    return parser.parse_args()


if __name__ == "__main__":
    main()
