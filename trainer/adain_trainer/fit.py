"""A training run: trains on folders of pictures and writes checkpoints, tables, sheets and a report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from adain_net.decoder import Decoder
from adain_net.layout import load_decoder, load_encoder, load_refinement
from adain_trainer.checkpoint import load_checkpoint, save_checkpoint
from adain_trainer.config import FitConfig
from adain_trainer.data import TrainingPictures
from adain_trainer.distributed import ProcessGroup
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import Figures
from adain_trainer.feature_bank import FeatureBank, room_for_pictures
from adain_trainer.first_weights import initialize_decoder
from adain_trainer.heldout import HeldOut, choose_held_out, generic_pictures, read_held_out, split, write_held_out
from adain_trainer.initial_weights import InitialWeights
from adain_trainer.load import SMALLEST_SIDE, PictureCache, Pictures, load_pictures
from adain_trainer.networks import AnyDecoder, placed, whole_network
from adain_trainer.objective import Losses
from adain_trainer.precision import AUTO, try_precisions
from adain_trainer.report import write_report
from adain_trainer.run_folder import (
    FIGURES,
    GROUPS,
    LOSSES,
    Best,
    CsvLog,
    RunRecord,
    read_best,
    read_figures,
    read_record,
    remove_temporaries,
)
from adain_trainer.sheets import sample_sheet
from adain_trainer.signals import StopOnSignal
from adain_trainer.tensorboard_logger import MISSING, TensorBoardLogger
from adain_trainer.training import Trainer

SHEET_SIDE = 256
MEMORY_BUDGET = 2 * 1024**3
"""Default memory budget in bytes."""


@dataclass(frozen=True)
class PictureFolders:
    """The folders of a run's pictures.

    Attributes:
        content, style: Folders of training pictures, at least one each.
        samples: Contents and styles of the sample sheets; None for the run's held-out pictures.
    """

    content: Sequence[Path]
    style: Sequence[Path]
    samples: tuple[Path, Path] | None = None


def fit(
    start: InitialWeights,
    config: FitConfig,
    folders: PictureFolders,
    run: Path,
    group: ProcessGroup,
    *,
    memory_budget: int = MEMORY_BUDGET,
    tensorboard: bool = False,
    minutes: float = math.inf,
    on_measured: Callable[[int], None] = lambda _step: None,
) -> int:
    """Train a decoder, continuing from the run's newest checkpoint if it has one.

    Args:
        start: The initial weights of the run, also when it continues from a checkpoint.
        run: The run's folder; run_folder.py describes its content.
        group: The processes that share the work, each of which calls this; all see the same files.
        memory_budget: Bytes for pictures and banks in each process; a step's own memory comes on top.
        tensorboard: Also write for TensorBoard.
        minutes: After this time the run stops as by Ctrl-C, but its decoder is measured first.
        on_measured: Called in the first process with the number of steps after each measurement on held-out pairs.
    Returns:
        The number of steps that the decoder has now; fewer than config.steps after SIGTERM or Ctrl-C, which save, or
        when the time was over.
    Raises:
        TrainerError: No pictures, a damaged checkpoint or one of another network, another trainer in the folder, or a
            checkpoint that cannot be written.
        WeightsError, LayoutError: The initial weights are damaged or not an AdaIN network.
        OSError: The folder or a table cannot be written.
    """
    if config.pairs < group.size * config.accumulate:
        raise TrainerError(f"A batch of {config.batch} is too small for {group.size} processes; give each a picture.")
    end = time.monotonic() + 60 * minutes
    room = room_for_pictures(config, memory_budget)
    if group.first:
        run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / "run.lock", timeout=0) if group.first else nullcontext():
            return _Run(start, config, folders, run, group, room, tensorboard, on_measured).train(end)
    except Timeout:
        raise TrainerError(f"Another trainer is at work in {run}; end it, or choose another folder.") from None


def _first_decoder(start: InitialWeights, *, seed: int) -> AnyDecoder:
    """The decoder at a run's start: that of a model or of a refinement, or an untrained one."""
    if start.decoder is not None and start.painter is not None:
        return load_refinement(start.encoder, start.decoder).decoder
    if start.decoder is not None:
        return load_decoder(start.decoder)
    decoder = Decoder()
    initialize_decoder(decoder, seed=seed)
    return decoder


class _StoppedError(Exception):
    """Ends the encoding of a bank early; its rows are encoded again on resume."""


class _Run:
    """A run from its start or last checkpoint to its end or the next stop. Only the group's first process writes."""

    def __init__(
        self,
        start: InitialWeights,
        config: FitConfig,
        folders: PictureFolders,
        run: Path,
        group: ProcessGroup,
        room: int,
        tensorboard: bool,
        on_measured: Callable[[int], None],
    ) -> None:
        self._on_measured = on_measured
        self._folder = run
        self._group = group
        if group.first:
            remove_temporaries(run)
        smallest, cache = max(SMALLEST_SIDE, config.crop // 8), PictureCache(room)
        contents, styles = (
            load_pictures(each, smallest=smallest, cache=cache) for each in (folders.content, folders.style)
        )
        self._encoder = placed(load_encoder(start.encoder), group.device).requires_grad_(False)
        decoder = placed(_first_decoder(start, seed=config.seed), group.device)
        self._painter = None if start.painter is None else placed(load_decoder(start.painter), group.device)
        self._config = config = self._with_precision(config, decoder)
        self._training, self._held_out = self._divide(start, contents, styles)
        self._trainer = Trainer(self._encoder, decoder, config, group)
        self._resume()
        self._losses = CsvLog(run / LOSSES, ["learning_rate", *(f"{field.name}_loss" for field in fields(Losses))])
        self._figures = CsvLog(run / FIGURES, ["pictures", *(field.name for field in fields(Figures))])
        self._samples = self._load_samples(folders.samples) if group.first else None
        self._board = self._open_board() if tensorboard and group.first else TensorBoardLogger()

    def train(self, end: float) -> int:
        """Train until the last step, a stop by the user, or `end`, a time of time.monotonic(). Returns as fit()."""
        config, trainer, group = self._config, self._trainer, self._group
        if group.first:
            self._losses.cut(trainer.step - 1)  # a row has the number of steps before it
            self._figures.cut(trainer.step)
        done = trainer.step >= config.steps
        with (
            StopOnSignal(alone=group.size == 1) as stop,
            tqdm(total=config.steps, initial=trainer.step, unit="step", disable=not group.first) as bar,
        ):
            self._go_on(bar, lambda: group.any(stop.requested or time.monotonic() > end))
        if group.first:
            if time.monotonic() > end and trainer.step not in (0, *read_figures(self._folder)):
                self._measure()
            self._save()
            self._board.close()
            if trainer.step >= config.steps and not done:
                tqdm.write(f"The report is {write_report(self._folder, device=group.device)}.")
        return trainer.step

    def _go_on(self, bar: tqdm, is_over: Callable[[], bool]) -> None:
        """Do all steps that there is time for."""
        config, trainer, group = self._config, self._trainer, self._group

        def show_encoding(what: str, done: int, total: int) -> None:
            bar.set_postfix_str(f"{what} {done}/{total}")
            if is_over():
                raise _StoppedError

        banks = FeatureBank(self._encoder, self._training, config, group, show_encoding, self._painter)
        if group.first and 0 not in read_figures(self._folder) and trainer.step == 0:
            bar.set_postfix_str("measuring held-out pairs")
            self._measure()
        while trainer.step < config.steps and not is_over():
            try:
                losses = trainer.train(banks.parts(trainer.step))
            except _StoppedError:
                return
            bar.set_postfix_str(
                f"content {losses.content:.3f} style {losses.style:.3f} pixel {losses.pixel:.4f}", refresh=False
            )
            bar.update()
            if group.first:
                self._after_step(losses)

    def _after_step(self, losses: Losses) -> None:
        config, step = self._config, self._trainer.step
        rate = config.learning_rate_at(step - 1)
        values = {field.name: float(getattr(losses, field.name)) for field in fields(Losses)}
        self._losses.append(step - 1, f"{rate:.3g}", *(f"{value:.6g}" for value in values.values()))
        self._board.scalars(step, {"learning rate": rate, **{f"loss/{name}": value for name, value in values.items()}})
        if step % config.eval_every == 0 or step == config.steps:
            self._measure()
        if step % config.checkpoint_every == 0:
            self._save()
        if step % config.sheet_every == 0:
            self._paint_sheet()

    def _measure(self) -> None:
        """Figures on held-out pairs; the running mean is kept when it is the best one so far."""
        trainer, config = self._trainer, self._config
        network = whole_network(self._encoder, trainer.averaged, self._painter)
        both = self._held_out.measure(network, side=config.eval_side, pairs=config.eval_pairs)
        for name, figures in zip(GROUPS, both, strict=True):
            numbers = {field.name: getattr(figures, field.name) for field in fields(Figures) if field.name != "pairs"}
            self._figures.append(trainer.step, name, figures.pairs, *(f"{value:.5f}" for value in numbers.values()))
            self._board.scalars(trainer.step, {f"{name}/{key}": value for key, value in numbers.items()})
        mine, generic = both
        tqdm.write(
            f"Step {trainer.step}, held out: style {mine.style:.3f} and content {mine.content:.3f} in your styles, "
            f"{generic.style:.3f} and {generic.content:.3f} in built-in ones."
        )
        if trainer.step:
            now = Best(trainer.step, trainer.averaged.state_dict(), mine, generic)
            before = read_best(self._folder)
            if before is None or now.score < before.score:
                now.write(self._folder)
        self._on_measured(trainer.step)

    def _paint_sheet(self) -> None:
        contents, styles = self._samples or (self._held_out.content[:3], self._held_out.style[:4])
        network = whole_network(self._encoder, self._trainer.averaged, self._painter)
        sheet = sample_sheet(network, contents, styles, side=SHEET_SIDE)
        sheet.save(self._folder / f"sheet-{self._trainer.step:06d}.jpg", quality=90)
        self._board.sheet(self._trainer.step, sheet)

    def _save(self) -> None:
        save_checkpoint(self._folder, self._trainer.checkpoint())

    def _with_precision(self, config: FitConfig, decoder: AnyDecoder) -> FitConfig:
        """The configuration with a precision: the one given, otherwise the run's, otherwise the faster one here."""
        if config.precision != AUTO:
            return config
        chosen = ""
        if self._group.first:
            record = read_record(self._folder)
            chosen = record.config.precision if record else AUTO
            if chosen == AUTO:
                chosen, said = try_precisions(self._encoder, decoder, side=config.crop, crops=config.batch)
                tqdm.write(said)
        return replace(config, precision=self._group.from_first(chosen))

    def _divide(self, start: InitialWeights, contents: Pictures, styles: Pictures) -> tuple[TrainingPictures, HeldOut]:
        """Divide the pictures into training and held-out ones, by the run's record; a new run gets its record here."""
        config, group = self._config, self._group
        generic = generic_pictures()
        record = read_record(self._folder)
        held_out = choose_held_out(contents, styles) if record is None else set(record.held_out)
        training, watched = split(contents, styles, generic, held_out)
        if group.first:
            if group.size > 1:
                tqdm.write(f"{group.size} processes share the work.")
            left_out = {}
            for kind, found in (("content", contents), ("style", styles)):
                tqdm.write(found.summary(kind))
                left_out[kind] = {reason: len(paths) for reason, paths in found.left_out.items()}
            counts = {
                "content": len(training.content),
                "style": len(training.style),
                "generic": len(training.generic) if config.generic_share or config.generic_content_share else 0,
                **{f"held-out {role}": len(getattr(watched, role)) for role in ("content", "style", "generic")},
            }
            if record is None:
                start.write(self._folder)
                write_held_out(self._folder, watched)
            # Comes last, so that the files that it describes exist.
            known = (start.model, start.encoder_digest, counts, left_out, sorted(held_out), start.begun)
            record = RunRecord(config, *known)
            record.write(self._folder)
            watched = read_held_out(self._folder)
        return training, watched

    def _load_samples(
        self, samples: tuple[Path, Path] | None
    ) -> tuple[Sequence[Image.Image], Sequence[Image.Image]] | None:
        if samples is None:
            return None
        contents, styles = (load_pictures([folder]).pictures for folder in samples)
        return contents, styles

    def _resume(self) -> None:
        checkpoint, note = self._group.from_first(load_checkpoint(self._folder) if self._group.first else None)
        if note and self._group.first:
            tqdm.write(note)
        if checkpoint is None:
            return
        self._trainer.load(checkpoint)
        if self._group.first:
            tqdm.write(f"Going on from step {checkpoint.step}.")

    def _open_board(self) -> TensorBoardLogger:
        try:
            return TensorBoardLogger.open(self._folder, self._trainer.step)
        except ImportError:
            tqdm.write(MISSING)
            return TensorBoardLogger()
