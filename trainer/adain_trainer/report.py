"""One HTML file about a run: recipe, data, curves, figures, and pictures before and after."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from adain_trainer.checkpoint import write_whole
from adain_trainer.config import FitConfig
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import Figures
from adain_trainer.heldout import read_held_out
from adain_trainer.initial_weights import InitialWeights
from adain_trainer.networks import placed
from adain_trainer.run_folder import (
    LOSSES,
    RunRecord,
    joint_score,
    read_figures,
    read_record,
    read_table,
    trained_decoder,
)
from adain_trainer.sheets import comparison_sheet

REPORT = "report.html"
SHEET_SIDE = 192
"""Largest side of a picture in a sheet; the held-out pictures may be smaller."""
CONTENTS, STYLES = 3, 4
WIDTH, HEIGHT = 360, 160
"""Size of a curve in pixels."""
POINTS = 180
"""A curve is drawn with about this many means, whatever the number of steps."""
COLOURS = ("#1f5f99", "#b5482a")

_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } td, th { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child { text-align: left; } figure { display: inline-block; margin: 0 1em 1em 0; }
figcaption { color: #555; } img { max-width: 100%; } svg { background: #fafafa; border: 1px solid #ddd; }
"""


def write_report(run: Path, *, device: torch.device) -> Path:
    """Write report.html into a run's folder, from what the folder holds; returns its path.

    Raises:
        TrainerError: The folder has no run, or its files are damaged.
        OSError: The report cannot be written.
    """
    record = read_record(run)
    if record is None:
        raise TrainerError(f"There is no run in {run}; 'adain-trainer fit --run' makes one.")
    decoder, steps, _ = trained_decoder(run)
    figures = read_figures(run)
    parts = [
        f"<h1>{escape(run.resolve().name)}</h1>",
        f"<p>{escape(_summary(record, steps, figures))}</p>",
        "<h2>Figures on held-out pairs</h2>",
        _figures_table(figures, steps),
        _figures_curves(figures),
        "<h2>Before and after</h2>",
        *_sheets(run, decoder, min(SHEET_SIDE, record.config.eval_side), device),
        "<h2>Losses</h2>",
        _loss_curves(run),
        "<h2>Data</h2>",
        _data_table(record),
        "<h2>Recipe</h2>",
        _recipe_table(record.config),
    ]
    page = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(run.resolve().name)}</title>"
    write_whole(run / REPORT, f"{page}<style>{_STYLE}</style><body>{''.join(parts)}</body></html>".encode())
    return run / REPORT


def _summary(record: RunRecord, steps: int, figures: Mapping[int, tuple[Figures, Figures]]) -> str:
    text = f"Begun with {record.begun}; the decoder that is exported has {steps} steps"
    if 0 in figures and steps in figures:
        before, after = (joint_score(*figures[step]) for step in (0, steps))
        text += f", and style and content together went from {before:.2f} to {after:.2f}"
    return text + "."


def _figures_table(figures: Mapping[int, tuple[Figures, Figures]], exported: int) -> str:
    names = [field.name for field in fields(Figures)]
    rows = [
        [f"{step}{', exported' if step == exported else ''}", what, *measured.texts()]
        for step, both in figures.items()
        for what, measured in zip(("your styles", "built-in styles"), both, strict=True)
    ]
    return _table(["step", "held-out pairs in", *names], rows)


def _figures_curves(figures: Mapping[int, tuple[Figures, Figures]]) -> str:
    steps = list(figures)
    return "".join(
        _curve(
            f"{name}: your styles (blue), built-in styles (red)",
            steps,
            [[getattr(both[which], name) for both in figures.values()] for which in (0, 1)],
        )
        for name in ("style", "content")
    )


def _loss_curves(run: Path) -> str:
    rows = read_table(run / LOSSES)
    columns = [name for name in (rows[0] if rows else ()) if name != "step"]
    curves = []
    for name in columns:
        values = [float(row[name] or 0) for row in rows]  # empty where an older trainer had no such loss
        if any(values):
            every = max(1, len(values) // POINTS)
            steps = [int(rows[first]["step"]) for first in range(0, len(values), every)]
            means = [_mean(values[first : first + every]) for first in range(0, len(values), every)]
            curves.append(_curve(name.replace("_", " "), steps, [means]))
    return "".join(curves)


def _curve(title: str, steps: Sequence[int], lines: Sequence[Sequence[float]]) -> str:
    """Lines over steps as an inline SVG, from 0 to the largest value, or from the smallest where it is below 0."""
    values = [0.0, *(value for line in lines for value in line if math.isfinite(value))]
    bottom, top = min(values), max(values)
    span = (top - bottom) or 1
    last = max(steps, default=0) or 1
    drawn = "".join(
        f"<polyline fill='none' stroke='{colour}' stroke-width='1.5' points='"
        + " ".join(
            f"{step / last * WIDTH:.1f},{HEIGHT - (value - bottom) / span * (HEIGHT - 8):.1f}"
            for step, value in zip(steps, line, strict=True)
            if math.isfinite(value)
        )
        + "'/>"
        for line, colour in zip(lines, COLOURS, strict=False)
    )
    ends = f"top {top:.3g}{f', bottom {bottom:.3g}' if bottom else ''}, right end step {last}"
    caption = f"<figcaption>{escape(title)}; {ends}</figcaption>"
    return f"<figure><svg width='{WIDTH}' height='{HEIGHT}'>{drawn}</svg>{caption}</figure>"


def _sheets(run: Path, decoder: Mapping[str, torch.Tensor], side: int, device: torch.device) -> Iterable[str]:
    start, held_out = InitialWeights.of_run(run), read_held_out(run)
    before, after = start.network(), placed(start.network_with(decoder), device)
    if before is not None:
        before = placed(before, device)
    for title, styles in (("Your styles", held_out.style), ("Built-in styles", held_out.generic)):
        sheet = comparison_sheet(before, after, held_out.content[:CONTENTS], styles[:STYLES], side=side)
        rows = "each content twice, above before and below after" if before is not None else "one content a row"
        yield f"<figure><img src='{_data_url(sheet)}' alt='{title}'><figcaption>{title}; {rows}</figcaption></figure>"


def _data_url(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _data_table(record: RunRecord) -> str:
    rows = [[kind, str(count)] for kind, count in record.counts.items()]
    for kind, reasons in record.left_out.items():
        rows += [[f"{kind}, left out: {reason}", str(count)] for reason, count in reasons.items()]
    return _table(["pictures", "count"], rows)


def _recipe_table(config: FitConfig) -> str:
    rows = [
        [field.name.replace("_", " "), str(getattr(config, field.name)), field.metadata["meaning"]]
        for field in fields(FitConfig)
    ]
    return _table(["option", "value", "meaning"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
