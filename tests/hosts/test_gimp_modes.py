"""Layers of every image mode and precision, painted in a real GIMP."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adain_style.client.client import Client
from hosts.gimp import Gimp, as_array, samples
from support.helpers import array_pixels, pixels_array, request

pytestmark = pytest.mark.hosts

STYLE = "hokusai-great-wave"
SIZE = (48, 36)
PRECISIONS = [
    f"{depth}_{curve}"
    for depth in ("U8", "U16", "U32", "HALF", "FLOAT", "DOUBLE")
    for curve in ("NON_LINEAR", "PERCEPTUAL", "LINEAR")
]
STEPS = {"U8": 1 / 255, "U16": 1 / 65535, "HALF": 2**-11}
"""Between neighbouring values, at most 1; of deeper images what babl and the network round is more."""

PAINT = """
    image, layer = picture(48, 36, base=base, precision=precision, alpha=alpha, at=(3, 2), canvas=(60, 40))
    model = "Y'A" if base == "GRAY" else "R'G'B'A"
    content, before = read(layer, model + " float"), state(image)
    status = paint(layer, output=output)
    return status, content, before, state(image), read(image.get_layers()[0], model + " float")
"""


def _cases(*, new_layer: bool) -> list[Any]:
    """Modes, precisions and alpha: each combination is painted once, every second one in place."""
    return [
        pytest.param(base, precision, alpha, id=f"{base}-{precision}-{'alpha' if alpha else 'opaque'}")
        for number, precision in enumerate(PRECISIONS)
        for base in ("RGB", "GRAY")
        for alpha in (False, True)
        if (number + (base == "GRAY") + alpha + new_layer) % 2
    ]


def _check_colours(precision: str, result: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    """Equal to half a step of the image's precision, as far as sRGB's curve stretches it at most.

    Each process lets babl choose anew how it converts linear and perceptual values, good to 1e-5, and the network makes
    more of it in some pixels: 4e-4 at most and 1e-5 on average were measured. With 8 bit in between it would be 1e-3.
    """
    depth, _, curve = precision.partition("_")
    slope = 12.92 if curve == "LINEAR" and depth != "HALF" else 1
    half_step = slope * STEPS.get(depth, 0) / 2
    difference = np.abs(result - expected)
    assert difference.max() <= half_step + 1.5e-3
    assert difference.mean() <= half_step + 1e-4


def _painted(client: Client, content: npt.NDArray[Any], *, alpha: bool) -> npt.NDArray[Any]:
    """What the server makes of these colours, without GIMP: colours only."""
    channels = content.shape[2] if alpha else content.shape[2] - 1
    layout = {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}[channels]
    sent = array_pixels(np.ascontiguousarray(content[..., :channels]), layout)
    return pixels_array(client.stylize(request(sent, [(STYLE, 1.0)])).pixels)[..., : content.shape[2] - 1]


def _with_alpha(babl_format: str) -> str:
    model, kind = babl_format.split(" ")
    return babl_format if model.endswith("A") else f"{model}A {kind}"


@pytest.mark.fault(97)
@pytest.mark.parametrize(("base", "precision", "alpha"), _cases(new_layer=True))
def test_new_layer_has_the_servers_colours_and_the_images_precision(
    gimp: Gimp, client: Client, base: str, precision: str, alpha: bool
) -> None:
    """It lies directly above, in place, size and depth like the layer, which is not touched; alpha is the layer's."""
    status, shown, before, after, painted = gimp.run(
        PAINT, base=base, precision=precision, alpha=alpha, output="new-layer"
    )
    assert status == ("success", "success")
    source = before["layers"][0]
    new, same = after["layers"]
    assert same == source
    assert after["selected"] == [new["id"]]
    title = next(style.title for style in client.styles() if style.name == STYLE)
    assert (new["name"], new["size"], new["offsets"]) == (title, source["size"], source["offsets"])
    assert new["format"] == _with_alpha(source["format"])

    float_format = "RGBA float"
    content = as_array(shown, SIZE, float_format)
    result = as_array(painted, SIZE, float_format)
    expected = _painted(client, content, alpha=alpha)
    seen = content[..., -1] > 0
    _check_colours(precision, result[seen][:, :-1], expected[seen])
    assert np.abs(result[..., :-1] - content[..., :-1])[seen].mean() > 0.05
    assert np.array_equal(result[..., -1], content[..., -1])


@pytest.mark.parametrize(("base", "precision", "alpha"), _cases(new_layer=False))
def test_painting_in_place_keeps_format_and_alpha(
    gimp: Gimp, client: Client, base: str, precision: str, alpha: bool
) -> None:
    """The layer is the same one with the server's colours."""
    status, shown, before, after, painted = gimp.run(
        PAINT, base=base, precision=precision, alpha=alpha, output="in-place"
    )
    assert status == ("success", "success")
    (source,), (changed,) = before["layers"], after["layers"]
    assert {**changed, "pixels": b""} == {**source, "pixels": b""}
    content, result = as_array(shown, SIZE, "RGBA float"), as_array(painted, SIZE, "RGBA float")
    expected = _painted(client, content, alpha=alpha)
    _check_colours(precision, result[..., :-1], expected)
    if alpha:
        old, new = samples(source)[..., -1].astype(float), samples(changed)[..., -1].astype(float)
        # The wire's floats have 24 bits; other depths than these two come back bit for bit.
        exact = 2**-24 * old if precision.startswith(("U32", "DOUBLE")) else 0
        assert (np.abs(new - old) <= exact).all()


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("output", ["new-layer", "in-place"])
def test_indexed_image_keeps_its_palette_and_says_so(gimp: Gimp, output: str, alpha: bool) -> None:
    """The result has the palette's colours only, and a sentence names the way out."""
    printed = len(gimp.text())
    status, _content, before, after, _painted = gimp.run(
        PAINT, base="INDEXED", precision="U8_NON_LINEAR", alpha=alpha, output=output
    )
    assert status == ("success", "success")
    old, new = before["layers"][0], after["layers"][0]
    numbers = samples(new)
    assert numbers[..., 0].max() < 64
    assert (numbers[..., 0] != samples(old)[..., 0]).mean() > 0.5
    if alpha:
        assert np.array_equal(numbers[..., 1], samples(old)[..., 1])
    if output == "new-layer":
        assert after["layers"][1:] == [old]
    assert "The image has a palette" in gimp.text()[printed:]
