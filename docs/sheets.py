"""Sheets to look at: the seam between two regions, and stroke sizes on a large picture.

    python docs/sheets.py seam PICTURE -o seam.png
    python docs/sheets.py strokes PICTURE -o strokes.png --stroke-sizes 2 4 8

`seam` shows PICTURE with two styles side by side: in one pass, and as two runs pasted together; below, the middle
three times as large. `strokes` shows the whole picture at each stroke size, and below a part of it, pixel by pixel.
Both go through the running server, or start one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from adain_style.client.client import Client
from adain_style.client.jobs import Pixels, Region, StylizeRequest
from adain_style.client.launcher import connect
from adain_stylize.pictures import content_pixels, result_picture, save_picture
from adain_weights.picture_files import open_picture

GAP = 8
ACROSS = 640
"""Width of a column, pixels."""


def main() -> None:
    """Make a sheet."""
    options = _options()
    picture = open_picture(options.picture).convert("RGB")
    with connect(name="sheets", command=[sys.executable, "-m", "adain_server"], on_start=print) as client:
        if options.kind == "seam":
            columns = _seam(client, picture, options.styles)
        else:
            columns = _strokes(client, picture, options.styles[0], options.stroke_sizes, options.detail)
    height = max(sum(each.height + GAP for each in column) for column in columns)
    sheet = Image.new("RGB", (len(columns) * (ACROSS + GAP), height), "white")
    for index, column in enumerate(columns):
        top = 0
        for each in column:
            sheet.paste(each, (index * (ACROSS + GAP), top))
            top += each.height + GAP
    save_picture(sheet, options.output)


def _paint(client: Client, picture: Image.Image, regions: list[Region], **settings: float) -> Image.Image:
    request = StylizeRequest(content_pixels(picture), regions, **settings)  # type: ignore[arg-type]
    return result_picture(client.stylize(request).pixels)


def _seam(client: Client, picture: Image.Image, styles: list[str]) -> list[list[Image.Image]]:
    left = np.zeros((picture.height, picture.width, 1), dtype=np.uint8)
    left[:, : picture.width // 2] = 255
    masks = [Pixels(mask.tobytes(), picture.height, picture.width, "Y") for mask in (left, 255 - left)]
    regions = [Region([(style, 1.0)], mask=mask) for style, mask in zip(styles, masks, strict=True)]
    together = _paint(client, picture, regions)
    halves = [_paint(client, picture, [region]) for region in regions]
    pasted = Image.composite(*halves, Image.fromarray(left[:, :, 0]))
    middle = (picture.width // 2, picture.height // 2)
    return [[_whole(each), _part(each, middle, zoom=3)] for each in (together, pasted)]


def _strokes(
    client: Client, picture: Image.Image, style: str, sizes: list[float], detail: float
) -> list[list[Image.Image]]:
    results = [_paint(client, picture, [Region([(style, 1.0)])], stroke_size=size, detail=detail) for size in sizes]
    middle = (picture.width * 2 // 5, picture.height // 2)
    return [[_whole(each), _part(each, middle, zoom=1)] for each in (picture, *results)]


def _whole(picture: Image.Image) -> Image.Image:
    return picture.resize((ACROSS, round(picture.height * ACROSS / picture.width)), Image.Resampling.LANCZOS)


def _part(picture: Image.Image, middle: tuple[int, int], *, zoom: int) -> Image.Image:
    half = ACROSS // zoom // 2
    part = picture.crop((middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half))
    return part.resize((ACROSS, ACROSS), Image.Resampling.NEAREST)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("seam", "strokes"))
    parser.add_argument("picture", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--styles", nargs=2, default=["van-gogh-bridge", "hokusai-great-wave"], metavar="NAME")
    parser.add_argument("--stroke-sizes", type=float, nargs="+", default=[2.0, 4.0, 8.0], metavar="S")
    parser.add_argument("--detail", type=float, default=0.7, metavar="D")
    return parser.parse_args()


if __name__ == "__main__":
    main()
