"""The training loop."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from tqdm import tqdm

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder
from adain_net.network import AdainNetwork
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_net.transform import adain_transform
from adain_trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from adain_trainer.config import FitConfig
from adain_trainer.data import Banks, Batch, load_pictures
from adain_trainer.errors import TrainerError
from adain_trainer.losses import content_loss, grid_loss, style_loss, total_variation
from adain_trainer.sheets import sample_sheet

SHEET_SIDE = 256


def initialize_decoder(decoder: Decoder, *, seed: int) -> None:
    """Random weights that keep activations' size from layer to layer, and a mid-grey picture at first.

    Source:
        He et al., ICCV 2015, eq. 10.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in decoder.children():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(_bias(layer))
    nn.init.normal_(decoder.conv1_1.weight, std=0.01, generator=generator)
    nn.init.constant_(_bias(decoder.conv1_1), 0.5)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


@dataclass(frozen=True)
class Losses:
    """Means over a batch; a part that does not apply is 0."""

    content: Tensor
    style: Tensor
    pixel: Tensor
    variation: Tensor
    grid: Tensor

    def total(self, config: FitConfig) -> Tensor:
        """The sum that is minimised."""
        return (
            config.content_loss_weight * self.content
            + config.style_loss_weight * self.style
            + config.pixel_loss_weight * self.pixel
            + config.variation_loss_weight * self.variation
            + config.grid_loss_weight * self.grid
        )


def reconstruction_losses(decoder: Decoder, batch: Batch) -> Losses:
    """The decoder against the pictures themselves."""
    zero = torch.zeros(())
    return Losses(zero, zero, (decoder(batch.content_feat) - batch.pictures).square().mean(), zero, zero)


def stylization_losses(encoder: Encoder, decoder: Decoder, batch: Batch, *, balanced: bool) -> Losses:
    """The paper's losses; the first pictures of the batch keep their own statistics and have a pixel loss besides."""
    content_feat, own = batch.content_feat, batch.identity
    transform = adain_transform(channel_statistics(content_feat), batch.styles[-1])
    target_feat = torch.cat([content_feat[:own], transform.apply(content_feat)[own:]])
    result = decoder(target_feat)
    feats = encoder.features(result)
    style = style_loss(
        [channel_statistics(feat[own:]) for feat in feats],
        [StyleStatistics(layer.mean[own:], layer.std[own:]) for layer in batch.styles],
        balanced=balanced,
    )
    pixel = (result[:own] - batch.pictures[:own]).square().mean() if own else result.new_zeros(())
    variation = total_variation(result[own:]).mean()
    content = content_loss(feats.relu4_1, target_feat).mean()
    return Losses(content, style.mean(), pixel, variation, grid_loss(result).mean())


@dataclass(frozen=True)
class PictureFolders:
    """Where a run's pictures are.

    Attributes:
        content, style: Folders that are trained on, at least one each.
        samples: Contents and styles of the sample sheets; None for no sheets.
    """

    content: Sequence[Path]
    style: Sequence[Path]
    samples: tuple[Path, Path] | None = None


def fit(encoder: Encoder, decoder: Decoder, config: FitConfig, folders: PictureFolders, run: Path) -> int:
    """Train a decoder, going on from the run's newest checkpoint when it has one.

    Args:
        encoder: Stays as it is.
        decoder: Trained in place; its weights are where a run without a checkpoint starts.
        run: The run's folder: checkpoints, configuration, losses.csv, sheets.
    Returns:
        The number of steps that the decoder has now; fewer than config.steps after SIGTERM or Ctrl-C, which save.
    Raises:
        TrainerError: No pictures, a damaged or foreign checkpoint, another trainer in the folder, or a checkpoint that
            cannot be written.
        OSError: The folder or the log cannot be written.
    """
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / "run.lock", timeout=0):
            return _fit(encoder, decoder, config, folders, run)
    except Timeout:
        raise TrainerError(f"Another trainer is at work in {run}; end it, or choose another folder.") from None


def _fit(encoder: Encoder, decoder: Decoder, config: FitConfig, folders: PictureFolders, run: Path) -> int:
    contents, unreadable = load_pictures(folders.content)
    styles, also_unreadable = load_pictures(folders.style)
    if skipped := unreadable + also_unreadable:
        tqdm.write(f"{len(skipped)} pictures cannot be read and are left out, the first is {skipped[0]}.")
    tqdm.write(f"{len(contents)} content and {len(styles)} style pictures.")
    encoder.requires_grad_(False)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=config.learning_rate)
    start = _resume(run, decoder, optimizer)
    (run / "config.json").write_text(json.dumps(config.as_dict(), indent=2) + "\n")
    samples = [load_pictures([folder])[0] for folder in folders.samples or ()]
    with _StopOnSignal() as stop, tqdm(total=config.steps, initial=start, unit="step") as bar:

        def show_encoding(what: str, done: int, total: int) -> None:
            bar.set_postfix_str(f"{what} {done}/{total}")
            if stop.requested:
                raise _StoppedError

        banks = Banks(encoder, contents, styles, config, show_encoding)
        step = start
        while step < config.steps and not stop.requested:
            try:
                batch = banks.batch(step)
            except _StoppedError:
                break
            losses = _step(encoder, decoder, optimizer, batch, config, step)
            _log(run / "losses.csv", step, config, losses)
            bar.set_postfix_str(f"content {losses.content:.3f} style {losses.style:.3f} pixel {losses.pixel:.4f}")
            bar.update()
            step += 1
            if step % config.checkpoint_every == 0:
                _save(run, step, decoder, optimizer, config)
            if samples and step % config.sheet_every == 0:
                sheet = sample_sheet(AdainNetwork(encoder, decoder), samples[0], samples[1], side=SHEET_SIDE)
                sheet.save(run / f"sheet-{step:06d}.jpg", quality=90)
    _save(run, step, decoder, optimizer, config)
    return step


def _step(
    encoder: Encoder, decoder: Decoder, optimizer: torch.optim.Adam, batch: Batch, config: FitConfig, step: int
) -> Losses:
    if step < config.reconstruction_steps:
        losses = reconstruction_losses(decoder, batch)
    else:
        losses = stylization_losses(encoder, decoder, batch, balanced=config.balanced)
    total = losses.total(config)
    if not bool(torch.isfinite(total)):
        raise TrainerError(
            f"The loss of step {step} is not finite; go on from the last checkpoint with a smaller rate."
        )
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate_at(step)
    optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]  # torch annotates only its argument
    optimizer.step()
    return Losses(*(getattr(losses, field.name).detach() for field in fields(Losses)))


def _resume(run: Path, decoder: Decoder, optimizer: torch.optim.Adam) -> int:
    checkpoint, note = load_checkpoint(run)
    if note:
        tqdm.write(note)
    if checkpoint is None:
        return 0
    try:
        decoder.load_state_dict(checkpoint.decoder)
        optimizer.load_state_dict(checkpoint.optimizer)
    except (RuntimeError, ValueError):
        raise TrainerError(f"The checkpoint in {run} is of another network; choose another folder.") from None
    tqdm.write(f"Going on from step {checkpoint.step}.")
    return checkpoint.step


def _save(run: Path, step: int, decoder: Decoder, optimizer: torch.optim.Adam, config: FitConfig) -> None:
    save_checkpoint(run, Checkpoint(step, decoder.state_dict(), optimizer.state_dict(), config.as_dict()))


def _log(path: Path, step: int, config: FitConfig, losses: Losses) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["step", "learning_rate", *(f"{field.name}_loss" for field in fields(Losses))])
        values = [f"{float(getattr(losses, field.name)):.5f}" for field in fields(Losses)]
        writer.writerow([step, f"{config.learning_rate_at(step):.3g}", *values])


class _StoppedError(Exception):
    """Ends the encoding of a bank early; what was encoded is made again on resume."""


class _StopOnSignal:
    """Turns SIGTERM and Ctrl-C into a request to stop after the step; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> _StopOnSignal:
        self._before = {number: signal.signal(number, self._request) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        tqdm.write("Stopping after this step.")
