"""A run's folder: its recipe and data, its logs, and the best decoder so far; initial_weights.py has its start.

run.json                                  recipe, model it began with, counts of pictures
start.safetensors, encoder.safetensors    the initial decoder, and an encoder of its own, if there are any
painter.safetensors                       for a refinement, the decoder of the model whose paint it refines
checkpoint.pt, checkpoint.previous.pt     to continue from
best.pt                                   the running mean with the best figures on held-out pairs
losses.csv, figures.csv                   every step; every measurement
heldout/                                  pictures that are not trained on
sheet-*.jpg, tensorboard/, report.html    to look at
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from adain_trainer.checkpoint import TEMPORARY, load_checkpoint, read_tensors, tensors_as_bytes, write_whole
from adain_trainer.config import FitConfig
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import Figures

RECORD = "run.json"
BEST = "best.pt"
LOSSES = "losses.csv"
FIGURES = "figures.csv"
NOTHING = "nothing"
GROUPS = ("mine", "generic")
"""The held-out pairs in the user's styles, and those in built-in ones."""


@dataclass(frozen=True)
class RunRecord:
    """The record of a run.

    Attributes:
        config: The configuration of its newest part.
        model: The model that it began with, or whose pictures it refines; empty for none.
        encoder: SHA-256 of the encoder's file.
        counts: Pictures by kind: content, style, generic, and those that are held out.
        left_out: By kind, how many files are not used, by reason.
        held_out: Digests of the user's pictures that are not trained on.
        begun: See initial_weights.InitialWeights.
    """

    config: FitConfig
    model: str
    encoder: str
    counts: Mapping[str, int]
    left_out: Mapping[str, Mapping[str, int]]
    held_out: Sequence[str]
    begun: str

    def write(self, run: Path) -> None:
        """Replace the run's record. Raises OSError."""
        write_whole(run / RECORD, (json.dumps(asdict(self), indent=2) + "\n").encode())


def read_record(run: Path) -> RunRecord | None:
    """A run's record; None for a folder without one. Raises TrainerError when it is damaged."""
    try:
        values: dict[str, Any] = json.loads((run / RECORD).read_text(encoding="utf-8"))
        # Before refinements were trained, a run began with a model's decoder or with nothing.
        values.setdefault("begun", f"the decoder of {values['model']}" if values["model"] else NOTHING)
        return RunRecord(**{**values, "config": FitConfig.from_dict(values["config"])})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise TrainerError(f"{run / RECORD} is damaged; start again with an empty folder.") from None


@dataclass(frozen=True)
class Best:
    """A decoder with its figures on held-out pairs, `mine` in the user's styles and `generic` in built-in ones."""

    step: int
    decoder: Mapping[str, Tensor]
    mine: Figures
    generic: Figures

    @property
    def score(self) -> float:
        """The smaller the better: the user's styles and the built-in ones count alike."""
        return joint_score(self.mine, self.generic)

    def write(self, run: Path) -> None:
        """Replace the run's best decoder. Raises TrainerError when the disk is full or read-only."""
        values = {"step": self.step, "decoder": dict(self.decoder), "mine": asdict(self.mine)}
        try:
            write_whole(run / BEST, tensors_as_bytes({**values, "generic": asdict(self.generic)}))
        except OSError as error:
            raise TrainerError(
                f"The best decoder could not be written ({error.strerror}); the one before and the checkpoint are kept."
            ) from None


def joint_score(mine: Figures, generic: Figures) -> float:
    """One number for both kinds of held-out pairs, however many pairs there are of each."""
    return (mine.score + generic.score) / 2


def read_best(run: Path) -> Best | None:
    """A run's best decoder; None before the first measurement. Raises TrainerError when it is damaged."""
    if not (run / BEST).exists():
        return None
    try:
        values = read_tensors(run / BEST)
        mine, generic = Figures(**values["mine"]), Figures(**values["generic"])
        return Best(values["step"], values["decoder"], mine, generic)
    except (OSError, ValueError, KeyError, TypeError):
        raise TrainerError(f"{run / BEST} is damaged; remove it and resume the run for some steps.") from None


def trained_decoder(run: Path, *, newest: bool = False) -> tuple[dict[str, Tensor], int, str]:
    """The decoder of a run to use: the best one on held-out pairs, or the newest one.

    Returns:
        Its weights, its number of steps, and a sentence when a checkpoint was damaged.
    Raises:
        TrainerError: There is none, or it is damaged.
    """
    best = None if newest else read_best(run)
    if best is not None:
        return dict(best.decoder), best.step, ""
    checkpoint, note = load_checkpoint(run)
    if checkpoint is None:
        raise TrainerError(f"There is no checkpoint in {run}.")
    return checkpoint.weights, checkpoint.step, note


def remove_temporaries(run: Path) -> None:
    """Remove half-written files of a killed trainer; only while the run's lock is held."""
    for path in run.glob(f"*{TEMPORARY}"):
        path.unlink()


class CsvLog:
    """A table that grows by rows whose first column is a step."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = ["step", *columns]

    def cut(self, step: int) -> None:
        """Drop rows after a step, and a row torn by a kill: a run that continues from there writes them again.

        Raises:
            OSError: The table cannot be written.
        """
        if not self._path.exists():
            return
        kept = [row for row in read_table(self._path) if int(row["step"]) <= step]
        lines = [self._columns, *([row.get(column, "") for column in self._columns] for row in kept)]
        write_whole(self._path, "".join(",".join(line) + "\r\n" for line in lines).encode())

    def append(self, step: int, *values: object) -> None:
        """Add a row. Raises OSError."""
        fresh = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(self._columns)
            writer.writerow([step, *values])


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CsvLog, without a last line that a kill has torn. Empty when there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["step"].isdigit() and None not in row.values()]


def read_figures(run: Path) -> dict[int, tuple[Figures, Figures]]:
    """Every measurement of a run, by step: in the user's styles, and in built-in ones."""
    found: dict[int, dict[str, Figures]] = {}
    for row in read_table(run / FIGURES):
        numbers = [float(row[name]) for name in ("style", "content", "target", "identity")]
        found.setdefault(int(row["step"]), {})[row["pictures"]] = Figures(int(row["pairs"]), *numbers)
    return {step: (both["mine"], both["generic"]) for step, both in sorted(found.items()) if len(both) == len(GROUPS)}
