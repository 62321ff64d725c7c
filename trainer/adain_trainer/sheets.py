"""Sample sheets: contents down, styles across, with the originals in the first row and column."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from adain_trainer.data import to_tensor
from adain_trainer.networks import PaintingNetwork

LARGEST_PAGE = 8000
"""Most pixels of a page's height; some programs cannot open much larger pictures."""


def to_picture(tensor: Tensor) -> Image.Image:
    """A (3, h, w) float tensor in 0..1 as an 8-bit picture."""
    return Image.fromarray((tensor.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def square(picture: Image.Image, side: int) -> Image.Image:
    """The picture's middle, side x side pixels."""
    return ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


@torch.no_grad()
def sample_sheet(
    network: PaintingNetwork,
    contents: Sequence[Image.Image],
    styles: Sequence[Image.Image],
    *,
    side: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Image.Image:
    """Every content in every style; the first column but one is alpha 0, the content through encoder and decoder.

    Args:
        side: Pixels of each picture.
        progress: Called with pictures done and pictures in all.
    """
    device = next(network.encoder.parameters()).device
    sheet = Image.new("RGB", ((len(styles) + 2) * side, (len(contents) + 1) * side), "white")
    statistics = []
    for column, picture in enumerate(styles):
        cropped = square(picture, side)
        sheet.paste(cropped, ((column + 2) * side, 0))
        statistics.append(network.style_statistics(to_tensor(cropped)[None].to(device)))
    for row, picture in enumerate(contents):
        cropped = square(picture, side)
        sheet.paste(cropped, (0, (row + 1) * side))
        known = network.encode(to_tensor(cropped)[None].to(device))
        for column, (style, alpha) in enumerate([(statistics[0], 0.0), *((style, 1.0) for style in statistics)]):
            result = network.stylize_features(known, style, alpha=alpha, height=side, width=side)
            sheet.paste(to_picture(result[0]), ((column + 1) * side, (row + 1) * side))
        progress(row + 1, len(contents))
    return sheet


@torch.no_grad()
def comparison_sheet(
    before: PaintingNetwork | None,
    after: PaintingNetwork,
    contents: Sequence[Image.Image],
    styles: Sequence[Image.Image],
    *,
    side: int,
) -> Image.Image:
    """Each content in every style, painted by one network and, in the row below, by another.

    Args:
        before: None for one row per content.
        side: Pixels of each picture.
    Returns:
        Styles in the first row; then for each content and network a row with the content and its results.
    """
    networks = [network for network in (before, after) if network is not None]
    sheet = Image.new("RGB", ((len(styles) + 1) * side, (len(contents) * len(networks) + 1) * side), "white")
    cropped_styles = [square(picture, side) for picture in styles]
    for column, picture in enumerate(cropped_styles):
        sheet.paste(picture, ((column + 1) * side, 0))
    for index, network in enumerate(networks):
        device = next(network.encoder.parameters()).device
        statistics = [network.style_statistics(to_tensor(each)[None].to(device)) for each in cropped_styles]
        for number, content in enumerate(contents):
            row = number * len(networks) + index + 1
            cropped = square(content, side)
            sheet.paste(cropped, (0, row * side))
            known = network.encode(to_tensor(cropped)[None].to(device))
            for column, style in enumerate(statistics):
                result = network.stylize_features(known, style, alpha=1.0, height=side, width=side)
                sheet.paste(to_picture(result[0]), ((column + 1) * side, row * side))
    return sheet


def numbered_pages(rows: Sequence[Sequence[Image.Image]]) -> list[Image.Image]:
    """Rows of equally large square pictures below each other, numbered from 1; as many to a page as fit LARGEST_PAGE.

    Args:
        rows: At least one, all of the same length.
    """
    side, columns = rows[0][0].width, len(rows[0])
    per_page = max(1, LARGEST_PAGE // side)
    pages = []
    for first in range(0, len(rows), per_page):
        page = Image.new("RGB", (columns * side, min(per_page, len(rows) - first) * side))
        for index, row in enumerate(rows[first : first + per_page]):
            for column, picture in enumerate(row):
                page.paste(picture, (column * side, index * side))
            drawing, number, size = ImageDraw.Draw(page), str(first + index + 1), max(10, side // 16)
            drawing.text((4, index * side), number, "white", font_size=size, stroke_width=1, stroke_fill="black")
        pages.append(page)
    return pages
