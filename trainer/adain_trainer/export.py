"""Exports a run's decoder as a model for the server, unless a better one would be lost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from adain_net.layout import decoder_to_public, encoder_to_public, load_network
from adain_trainer.card import model_card
from adain_trainer.errors import TrainerError
from adain_trainer.heldout import read_held_out
from adain_trainer.initial_weights import InitialWeights
from adain_trainer.networks import network_of_model, placed
from adain_trainer.run_folder import (
    GROUPS,
    Best,
    RunRecord,
    joint_score,
    read_best,
    read_figures,
    read_record,
    trained_decoder,
)
from adain_weights.catalog import DECODER, LONGEST_TEXT, AboutModel, is_model_name, user_models_folder
from adain_weights.manifest import read_manifest
from adain_weights.models import write_model

COLLAPSED = 1.25
"""A decoder whose style and content figures in built-in styles have grown by this factor has lost its abilities."""


def model_folder(name: str) -> Path:
    """The folder in which servers find a model of this name. Raises TrainerError when the name is not allowed."""
    if not is_model_name(name) or name in read_manifest():
        raise TrainerError(f"A model of yours cannot be called '{name}'; choose letters, digits, '.', '_' and '-'.")
    return user_models_folder() / name


def export_model(
    run: Path, folder: Path, *, title: str, licence: str, newest: bool, anyway: bool, device: torch.device
) -> int:
    """Write a run's decoder, its model card and model.json.

    Args:
        folder: Receives the model; an existing one is replaced as a whole.
        title: The model's title, for lists.
        licence: The decoder's licence.
        newest: Take the newest decoder instead of the best one on held-out pairs.
        anyway: Write it even if it is worse than the model in the folder, or than the run's initial decoder.
        device: For measuring the model in the folder.
    Returns:
        The decoder's number of steps.
    Raises:
        TrainerError: There is nothing to export, or it is refused.
        WeightsError, LayoutError: A file of the run or of the model in the folder is damaged, or cannot be written.
    """
    decoder, steps, note = trained_decoder(run, newest=newest)
    if note:
        raise TrainerError(f"{note[:-1]}; resume the run for a step before it is exported.")
    record, start = read_record(run), InitialWeights.of_run(run)
    best = None if newest else read_best(run)
    if record is not None and not anyway:
        best = best or measured(run, record, start, decoder, steps, device)
        refuse_collapse(run, record, best)
        _refuse_replacing_better(run, record, start, best, folder, device)
    about = AboutModel(
        title=title[:LONGEST_TEXT],
        description=_description(record, steps)[:LONGEST_TEXT],
        licence=licence,
        origin=f"adain-trainer, {f'from {start.model}' if start.model else 'from nothing'}"[:LONGEST_TEXT],
        figures={} if best is None else _figures(best, record),
        files={},
    )
    card = model_card(about, record, read_figures(run), steps)
    write_model(
        folder, half_precision(decoder), about=about, card=card, encoder=start.encoder if start.own_encoder else None
    )
    return steps


def export_public(run: Path, folder: Path, *, newest: bool) -> int:
    """Write vgg_normalised.pth and decoder.pth for the public PyTorch code; returns the decoder's number of steps.

    Raises:
        TrainerError: There is nothing to export.
        OSError: The folder cannot be written.
    """
    decoder, steps, _ = trained_decoder(run, newest=newest)
    network = load_network(InitialWeights.of_run(run).encoder, decoder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(encoder_to_public(network.encoder), folder / "vgg_normalised.pth")
    torch.save(decoder_to_public(network.decoder), folder / "decoder.pth")
    return steps


def half_precision(decoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in half precision, of half the size; the rounding changes no pixel by more than about one level.

    Raises:
        TrainerError: A weight is not finite or does not fit half precision.
    """
    state = {name: tensor.to(torch.float16) for name, tensor in decoder.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise TrainerError("The decoder holds numbers that are not finite; train it again with a smaller rate.")
    return state


def measured(
    run: Path, record: RunRecord, start: InitialWeights, decoder: Mapping[str, Tensor], steps: int, device: torch.device
) -> Best:
    """A decoder with its figures on the run's held-out pairs."""
    network = placed(start.network_with(decoder), device)
    config = record.config
    mine, generic = read_held_out(run).measure(network, side=config.eval_side, pairs=config.eval_pairs)
    return Best(steps, decoder, mine, generic)


def refuse_collapse(run: Path, record: RunRecord, best: Best) -> None:
    """Check that a decoder has kept its abilities in built-in styles. Raises TrainerError."""
    at_start = read_figures(run).get(0)
    if not record.model or at_start is None:
        return
    before = at_start[1].score
    if not best.generic.score <= COLLAPSED * before:
        raise TrainerError(
            f"The decoder has become worse in styles that it was not fine-tuned to (style and content {before:.2f} "
            f"before, {best.generic.score:.2f} now); train fewer steps at a smaller rate, or add --anyway."
        )


def _refuse_replacing_better(
    run: Path, record: RunRecord, start: InitialWeights, best: Best, folder: Path, device: torch.device
) -> None:
    """Check that the model in the folder is not better on the run's held-out pairs, in the run's encoder's scale."""
    if not (folder / DECODER).exists():
        return
    network = placed(network_of_model(str(folder.resolve())), device)
    judge = placed(start.network_with(best.decoder).encoder, device)
    config = record.config
    mine, generic = read_held_out(run).measure(network, side=config.eval_side, pairs=config.eval_pairs, judge=judge)
    score = joint_score(mine, generic)
    if score < best.score:
        raise TrainerError(
            f"The model in {folder} is better on this run's held-out pairs (style and content {score:.2f}, this one "
            f"{best.score:.2f}); choose another name, or add --anyway."
        )


def _description(record: RunRecord | None, steps: int) -> str:
    if record is None:
        return f"A decoder after {steps} steps."
    how = f"Fine-tuned from {record.model}" if record.model else "Trained from nothing"
    return f"{how} to {record.counts['style']} style and {record.counts['content']} content pictures, {steps} steps."


def _figures(best: Best, record: RunRecord | None) -> dict[str, float]:
    both = best.mine.joined(best.generic)
    figures = {name: getattr(both, name) for name in ("style", "content", "target", "identity")}
    for group, measured in zip(GROUPS, (best.mine, best.generic), strict=True):
        figures |= {f"{group} style": measured.style, f"{group} content": measured.content}
    figures["pairs"] = float(both.pairs)
    if record is not None:
        figures["side"] = float(record.config.eval_side)
    return {name: figure for name, figure in figures.items() if math.isfinite(figure)}
