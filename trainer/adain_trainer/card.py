"""The model card of an exported decoder: what it is, how it was made, what it can and cannot do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from adain_trainer.evaluate import Figures
from adain_trainer.run_folder import RunRecord
from adain_weights.catalog import AboutModel

HUB_LICENCES = frozenset(
    {"mit", "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "gpl-3.0"}
)
"""Licences that the Hub knows by these ids; any other licence is "other" there, with a name."""


def model_card(
    about: AboutModel, record: RunRecord | None, figures: Mapping[int, tuple[Figures, Figures]], steps: int
) -> str:
    """The card in Markdown, with the Hub's front matter.

    Args:
        record: The run's; None when it has none.
        figures: read_figures() of the run.
        steps: Number of steps of the exported decoder.
    """
    parts = [_front_matter(about), f"# {about.title}\n\n{about.description}\n\n{_USE}"]
    if record is not None:
        parts += [_data(record), _recipe(record, steps)]
    if 0 in figures or steps in figures:
        parts.append(_figures(figures, steps))
    parts.append(_limits(record))
    parts.append(f"## Licence\n\n{about.licence or 'Not stated.'}")
    return "\n\n".join(parts) + "\n"


_USE = (
    "A decoder for AdaIN style transfer (Huang and Belongie, ICCV 2017), made with AdaIN Style's trainer. "
    "`adain-server --model FOLDER` paints with it; so do GIMP and Krita once the folder lies among the models."
)


def _front_matter(about: AboutModel) -> str:
    licence = about.licence.lower()
    known = licence in HUB_LICENCES
    lines = ["---", f"license: {licence if known else 'other'}"]
    if not known:
        lines.append(f"license_name: {json.dumps(about.licence or 'not stated', ensure_ascii=False)}")
    tags = ("style-transfer", "adain", "image-to-image")
    return "\n".join(
        [*lines, "library_name: adain-style", "pipeline_tag: image-to-image", "tags:", *(f"- {t}" for t in tags), "---"]
    )


def _data(record: RunRecord) -> str:
    rows = [f"- {kind}: {count}" for kind, count in record.counts.items()]
    rows += [
        f"- {kind}, left out because {reason}: {count}"
        for kind, reasons in record.left_out.items()
        for reason, count in reasons.items()
    ]
    return "## Data\n\nPictures by kind:\n\n" + "\n".join(rows)


def _recipe(record: RunRecord, steps: int) -> str:
    values = record.config.as_dict()
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in values.items())
    return f"## Recipe\n\n{steps} steps, from {record.begun}; Adam.\n\n| option | value |\n|---|---|\n{rows}"


def _figures(figures: Mapping[int, tuple[Figures, Figures]], steps: int) -> str:
    names = [field.name for field in fields(Figures)]
    rows = [
        f"| {when} | {what} | {' | '.join(measured.texts())} |"
        for step, when in ((0, "before"), (steps, f"after {steps} steps"))
        for what, measured in zip(
            ("in the pictures' styles", "in built-in styles"), figures.get(step, ()), strict=False
        )
    ]
    head = f"| | | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}"
    return (
        f"## Figures\n\nMeans over held-out pairs, in the scale of the encoder's normalised features; identity is the "
        f"MSE of RGB in 0..1 at alpha 0. Smaller is better.\n\n{head}\n" + "\n".join(rows)
    )


def _limits(record: RunRecord | None) -> str:
    text = "Fine texture is painted over; small faces and letters lose their features."
    if record is not None and record.counts["style"] < 10:
        text += " It was fine-tuned to a few pictures: in other styles it is no better than what it was made from."
    return f"## Limits\n\n{text}"
