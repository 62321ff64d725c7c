"""Exports a run's refinement to a file, or as the one that comes with the project."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from adain_trainer.errors import TrainerError
from adain_trainer.export import half_precision, measured, refuse_collapse
from adain_trainer.initial_weights import InitialWeights
from adain_trainer.run_folder import Best, RunRecord, read_best, read_record, trained_decoder
from adain_weights.files import write_whole
from adain_weights.manifest import EMBEDDED, MANIFEST, read_refinement
from adain_weights.models import load_refinement_weights, write_safetensors

FILE = "refinement.safetensors"


def export_refinement(
    run: Path, folder: Path, *, newest: bool, anyway: bool, device: torch.device
) -> tuple[Path, int, str]:
    """Write a run's refinement in half precision.

    Args:
        folder: Receives FILE.
        newest: Take the newest decoder instead of the best one on held-out pairs.
        anyway: Write it even if it has lost its abilities.
        device: The device for measuring.
    Returns:
        The file, the decoder's number of steps, and the file's SHA-256.
    Raises:
        TrainerError: There is nothing to export, or it is refused.
        WeightsError: A file is damaged or cannot be written.
    """
    record, _, best = _trained(run, newest=newest, device=device)
    if not anyway:
        refuse_collapse(run, record, best)
    return folder / FILE, best.step, _write(folder / FILE, best)


def embed_refinement(run: Path, *, newest: bool, anyway: bool, device: torch.device) -> tuple[Path, int, str]:
    """Make a run's refinement the one that comes with the project: its file, and its digest in the manifest.

    Arguments, results and errors are those of export_refinement(). It is also refused when its figures on the run's
    held-out pairs are worse than those of the one that is replaced.
    """
    record, start, best = _trained(run, newest=newest, device=device)
    if not anyway:
        _refuse_worse(run, record, start, best, device)
    path = EMBEDDED / read_refinement().path
    digest = _write(path, best)
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    manifest["refinement"]["sha256"] = digest
    write_whole(MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return path, best.step, digest


def _trained(run: Path, *, newest: bool, device: torch.device) -> tuple[RunRecord, InitialWeights, Best]:
    """The run's record and initial weights, and the decoder to export with its figures."""
    decoder, steps, note = trained_decoder(run, newest=newest)
    if note:
        raise TrainerError(f"{note[:-1]}; resume the run for a step before it is exported.")
    record, start = read_record(run), InitialWeights.of_run(run)
    assert record is not None, "it says that the run trains a refinement"
    best = None if newest else read_best(run)
    return record, start, best or measured(run, record, start, decoder, steps, device)


def _refuse_worse(run: Path, record: RunRecord, start: InitialWeights, best: Best, device: torch.device) -> None:
    before = measured(run, record, start, load_refinement_weights().decoder, 0, device)
    if not best.score <= before.score:
        raise TrainerError(
            f"The embedded refinement is better on this run's held-out pairs (style and content {before.score:.2f}, "
            f"this one {best.score:.2f}); train it longer, or add --anyway."
        )


def _write(path: Path, best: Best) -> str:
    return write_safetensors(path, half_precision(best.decoder), metadata={"licence": "MIT"})
