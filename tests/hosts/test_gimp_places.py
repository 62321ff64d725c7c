"""Selections, places, sizes, transparency and masks of layers, painted in a real GIMP."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hosts.gimp import Gimp, as_array, light, samples

pytestmark = pytest.mark.hosts

Array = npt.NDArray[Any]
OK = ("success", "success")

SELECT = """
    image, layer = picture(precision=precision, alpha=alpha, at=at, canvas=canvas)
    image.select_ellipse(Gimp.ChannelOps.REPLACE, 15.0, 5.0, 65.0, 50.0)
    Gimp.Selection.feather(image, 8.0)
    image.clean_all()
    before, selection = state(image), look(image.get_selection())
    seen = read(Gimp.Layer.new_from_visible(image, image, "before"))
    status = paint(layer, output=output)
    seen_after = read(Gimp.Layer.new_from_visible(image, image, "after"))
    return status, before, state(image), selection, seen, seen_after
"""
ON_CANVAS: dict[str, Any] = {"precision": "U8_NON_LINEAR", "alpha": False, "at": (0, 0), "canvas": (96, 72)}


def _in_place_of(layer: dict[str, Any], selection: Array) -> Array:
    """The part of an image's selection that is over a layer; nothing is selected beyond the image."""
    (left, top), (width, height) = layer["offsets"], layer["size"]
    image_height, image_width = selection.shape[:2]
    rows, columns = np.arange(top, top + height), np.arange(left, left + width)
    inside = np.outer((rows >= 0) & (rows < image_height), (columns >= 0) & (columns < image_width))
    return np.where(
        inside, selection[rows.clip(0, image_height - 1)][:, columns.clip(0, image_width - 1), 0], 0
    )  # (height, width)


Place = tuple[tuple[int, int], tuple[int, int]]
"""A layer's place in the image, and the image's size."""
PLACES: dict[str, Place] = {
    "as the image": ((0, 0), (96, 72)),
    "inside the image": ((20, 10), (200, 150)),
    "over two edges": ((-13, -7), (70, 60)),
    "larger than the image": ((-20, -10), (60, 50)),
}


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize(("at", "canvas"), PLACES.values(), ids=PLACES.keys())
def test_new_layers_alpha_is_the_selection(
    gimp: Gimp, at: tuple[int, int], canvas: tuple[int, int], alpha: bool
) -> None:
    """Exactly its values, soft edges too, times the layer's own alpha; beyond it nothing of the picture changes."""
    status, before, after, selected, seen, seen_after = gimp.run(
        SELECT, precision="U8_NON_LINEAR", at=at, canvas=canvas, alpha=alpha, output="new-layer"
    )
    assert status == OK
    (source,), (new, same) = before["layers"], after["layers"]
    assert same == source
    assert (new["offsets"], new["size"]) == (at, (96, 72))
    selection = samples(selected)
    share = _in_place_of(source, selection)
    assert {0, 255} < set(np.unique(share))
    own = samples(source)[..., 3] if alpha else 255
    assert np.array_equal(samples(new)[..., 3], np.round(share.astype(float) * own / 255))
    old, now = as_array(seen, canvas, "RGBA u8"), as_array(seen_after, canvas, "RGBA u8")
    changed = (old != now).any(axis=-1)
    assert changed[selection[..., 0] > 0].mean() > 0.5 and not changed[selection[..., 0] == 0].any()


def test_new_layers_alpha_has_the_depth_of_the_image(gimp: Gimp) -> None:
    """In a float image a soft selection is not rounded to 8 bit."""
    status, before, after, selected, *_seen = gimp.run(
        SELECT, **{**ON_CANVAS, "precision": "FLOAT_LINEAR"}, output="new-layer"
    )
    assert status == OK
    share = _in_place_of(before["layers"][0], samples(selected))
    assert len(np.unique(share)) > 256
    assert np.array_equal(samples(after["layers"][0])[..., 3], share)


LIGHT_STEPS = {"U8_NON_LINEAR": 2 * 2.3 / 255, "U16_NON_LINEAR": 2 * 2.3 / 65535, "FLOAT_LINEAR": 1e-4}
"""Two steps of what is stored, for it is rounded twice; where the curve is steepest one of them is 2.3 of light."""


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_painting_in_place_goes_through_the_selection(gimp: Gimp, place: Place) -> None:
    """Beyond it every bit stays; in it is the same paint as in a new layer; at its soft edge both are blended."""
    _check_painting_through_the_selection(gimp, place, "U8_NON_LINEAR")


@pytest.mark.parametrize("precision", ["U16_NON_LINEAR", "FLOAT_LINEAR"])
def test_deep_layers_are_painted_through_the_selection(gimp: Gimp, precision: str) -> None:
    """As those of 8 bit, in their own precision."""
    _check_painting_through_the_selection(gimp, PLACES["inside the image"], precision)


def _check_painting_through_the_selection(gimp: Gimp, place: Place, precision: str) -> None:
    values: dict[str, Any] = {"precision": precision, "at": place[0], "canvas": place[1], "alpha": False}
    status, before, after, selected, *_seen = gimp.run(SELECT, **values, output="in-place")
    laid_above = gimp.run(SELECT, **values, output="new-layer")[2]["layers"][0]
    assert status == OK
    (source,), (changed,) = before["layers"], after["layers"]
    old, new, paint = samples(source), samples(changed), samples(laid_above)[..., :3]
    share = _in_place_of(source, samples(selected))
    share = share / (1 if share.dtype == np.float32 else np.iinfo(share.dtype).max)
    assert np.array_equal(new[share == 0], old[share == 0])
    whole = share > 0.999
    assert whole.any() and (new != old)[whole].mean() > 0.5
    blended = light(old) + share[..., None] * (light(paint) - light(old))
    assert np.abs(light(new) - blended).max() <= LIGHT_STEPS[precision]


@pytest.mark.parametrize("output", ["new-layer", "in-place"])
@pytest.mark.parametrize("at", [(500, 400), (-300, 5)])
def test_layer_beyond_the_canvas_is_painted(gimp: Gimp, at: tuple[int, int], output: str) -> None:
    """Without a selection the whole layer is painted, wherever it is."""
    status, before, after = gimp.run(
        """
        image, layer = picture(at=at, canvas=(50, 40))
        before = state(image)
        return paint(layer, output=output), before, state(image)
        """,
        at=at,
        output=output,
    )
    assert status == OK
    old, new = before["layers"][0], after["layers"][0]
    assert (new["offsets"], new["size"]) == (at, (96, 72))
    assert (samples(new)[..., :3] != samples(old)[..., :3]).mean() > 0.5


@pytest.mark.fault(36)
@pytest.mark.parametrize("output", ["new-layer", "in-place"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 1), (97, 73), (3, 200)], ids=str)
def test_any_size_comes_back(gimp: Gimp, size: tuple[int, int], output: str) -> None:
    """Odd sizes, single rows and a single pixel have their own size afterwards."""
    status, before, after = gimp.run(
        """
        image, layer = picture(*size)
        before = state(image)
        return paint(layer, output=output), before, state(image)
        """,
        size=size,
        output=output,
    )
    assert status == OK
    new = after["layers"][0]
    assert new["size"] == size
    assert (samples(new)[..., :3] != samples(before["layers"][0])).any()
    assert len(after["layers"]) == (2 if output == "new-layer" else 1)


def test_alpha_lock_keeps_alpha_and_lets_colours_through(gimp: Gimp) -> None:
    """In place on a layer whose alpha is locked."""
    status, before, after = gimp.run(
        """
        image, layer = picture(alpha=True)
        layer.set_lock_alpha(True)
        image.clean_all()
        before = state(image)
        return paint(layer, output="in-place"), before, state(image)
        """
    )
    assert status == OK
    old, new = samples(before["layers"][0]), samples(after["layers"][0])
    assert np.array_equal(old[..., 3], new[..., 3])
    assert (old != new)[..., :3][old[..., 3] > 0].mean() > 0.5


def test_colours_under_transparency_do_not_show(gimp: Gimp) -> None:
    """What is hidden in transparent pixels has no influence on the visible ones."""
    results = gimp.run(
        """
        results = []
        for hidden in (b"\\x00\\xff\\x00", b"\\xff\\x00\\xff"):
            image, layer = picture(alpha=True)
            pixels = read(layer)
            pixels = b"".join(
                (hidden if not pixels[i + 3] else pixels[i : i + 3]) + pixels[i + 3 : i + 4]
                for i in range(0, len(pixels), 4)
            )
            write(layer, "R'G'B'A u8", pixels)
            results.append((paint(layer), read(image.get_layers()[0])))
        return results
        """
    )
    assert [status for status, _pixels in results] == [OK, OK]
    first, second = (as_array(pixels, (96, 72), "RGBA u8") for _status, pixels in results)
    visible = first[..., 3] > 0
    assert not visible.all() and np.array_equal(first[visible], second[visible])


@pytest.mark.fault(40)
@pytest.mark.parametrize("output", ["new-layer", "in-place"])
def test_wholly_transparent_layer_stays_so(gimp: Gimp, output: str) -> None:
    """Nothing appears where nothing is."""
    status, after = gimp.run(
        """
        image, layer = picture(alpha=True)
        write(layer, "R'G'B'A u8", bytes(96 * 72 * 4))
        return paint(layer, output=output), state(image)
        """,
        output=output,
    )
    assert status == OK
    assert not samples(after["layers"][0])[..., 3].any()


MASKED = """
    image, layer = picture(precision=precision)
    mask = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(mask)
    layer.set_apply_mask(applied)
    write(mask, "Y u8", bytes(x * 2 for y in range(72) for x in range(96)))
    image.clean_all()
    before = state(image)
    return paint(layer, output=output), before, state(image)
"""


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "U16_LINEAR", "FLOAT_PERCEPTUAL"])
def test_new_layer_hides_what_the_layers_mask_hides(gimp: Gimp, precision: str) -> None:
    """It gets a mask like the layer's; the layer keeps its own."""
    status, before, after = gimp.run(MASKED, precision=precision, applied=True, output="new-layer")
    assert status == OK
    new, same = after["layers"]
    assert same == before["layers"][0]
    assert new["mask"]["pixels"] == same["mask"]["pixels"] and len(set(new["mask"]["pixels"])) > 10


def test_mask_that_is_switched_off_hides_nothing(gimp: Gimp) -> None:
    """Nor in the new layer."""
    status, _before, after = gimp.run(MASKED, precision="U8_NON_LINEAR", applied=False, output="new-layer")
    assert status == OK
    assert after["layers"][0]["mask"] is None


def test_painting_in_place_keeps_the_layers_mask(gimp: Gimp) -> None:
    """The mask's pixels are those of before, the layer's are not."""
    status, before, after = gimp.run(MASKED, precision="U8_NON_LINEAR", applied=True, output="in-place")
    assert status == OK
    assert after["layers"][0]["mask"] == before["layers"][0]["mask"]
    assert (samples(after["layers"][0]) != samples(before["layers"][0])).mean() > 0.5


def test_new_layer_lies_in_the_same_group(gimp: Gimp) -> None:
    """Directly above its layer, between its neighbours."""
    status, names = gimp.run(
        """
        image, _background = picture()
        group = Gimp.GroupLayer.new(image, "group")
        image.insert_layer(group, None, 0)
        below, layer, above = (add_layer(image, name, at=(5, 6), inside=group) for name in ("below", "layer", "above"))
        status = paint(layer)
        new = image.get_selected_layers()[0]
        return status, [child.get_name().replace(new.get_name(), "new") for child in group.get_children()]
        """
    )
    assert status == OK
    assert names == ["above", "new", "layer", "below"]


TEXT = """
    image, _background = picture()
    text = Gimp.TextLayer.new(image, "AdaIN", Gimp.context_get_font(), 30.0, Gimp.Unit.pixel())
    image.insert_layer(text, None, 0)
    text.set_offsets(4, 9)
    before = look(text)
    status = paint(text, output=output)
    return status, before, look(image.get_layers()[0]), look(text), text.is_text_layer()
"""


def test_text_stays_text_below_a_new_layer(gimp: Gimp) -> None:
    """The letters' shapes are the new layer's alpha; the text can still be edited."""
    status, before, new, after, is_text = gimp.run(TEXT, output="new-layer")
    assert status == OK
    assert after == before and is_text
    assert new["offsets"] == (4, 9)
    assert np.array_equal(samples(new)[..., 3], samples(before)[..., 3])
    assert samples(new)[..., 3].any()


def test_text_is_painted_in_place(gimp: Gimp) -> None:
    """As by GIMP's own filters: the letters keep their shapes."""
    status, before, after, _same, _is_text = gimp.run(TEXT, output="in-place")
    assert status == OK
    old, new = samples(before), samples(after)
    assert np.array_equal(old[..., 3], new[..., 3])
    assert (old != new)[..., :3][old[..., 3] > 0].mean() > 0.3


PROFILES = {"RGB": "new_rgb_adobe", "GRAY": "new_d50_gray_lab_trc"}


@pytest.mark.parametrize("output", ["new-layer", "in-place"])
@pytest.mark.parametrize(("base", "profile"), PROFILES.items(), ids=PROFILES.keys())
def test_colour_profile_does_not_change_the_picture(gimp: Gimp, base: str, profile: str, output: str) -> None:
    """The same colours, stored with another profile, are painted the same; the profile stays."""
    results = gimp.run(
        """
        results = []
        for convert in (False, True):
            image, layer = picture(base=base, precision="U16_NON_LINEAR")
            wanted = getattr(Gimp.ColorProfile, profile)()
            if convert:
                image.convert_color_profile(wanted, Gimp.ColorRenderingIntent.RELATIVE_COLORIMETRIC, False)
            status = paint(layer, output=output)
            kept = convert == (image.get_color_profile() is not None and image.get_color_profile().is_equal(wanted))
            results.append((status, kept, read(layer), read(image.get_layers()[0], "R'G'B'A float")))
        return results
        """,
        base=base,
        profile=profile,
        output=output,
    )
    assert [result[:2] for result in results] == [(OK, True), (OK, True)]
    assert results[0][2] != results[1][2]  # other numbers for the same colours
    plain, profiled = (as_array(result[3], (96, 72), "RGBA float") for result in results)
    assert np.abs(plain - profiled).mean() < 0.005
    # Colours beyond the profile's gamut cannot be stored; few are.
    assert (np.abs(plain - profiled) > 0.02).mean() < 0.05


@pytest.mark.parametrize("base", ["RGB", "GRAY"])
def test_srgb_profile_needs_no_conversion(gimp: Gimp, base: str) -> None:
    """With GIMP's own profile embedded the result is bit for bit that of an image without one."""
    results = gimp.run(
        """
        results = []
        for embed in (False, True):
            image, layer = picture(base=base)
            if embed:
                image.set_color_profile(image.get_effective_color_profile())
            results.append((paint(layer), read(image.get_layers()[0])))
        return results
        """,
        base=base,
    )
    assert results[0] == results[1] and results[0][0] == OK


BRIGHT = """
    image, layer = picture(precision="FLOAT_LINEAR")
    values = array("f", (4 * x / 96 - 0.5 for y in range(72) for x in range(96) for channel in range(3)))
    write(layer, "RGB float", values.tobytes())
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 0, 96, 36)
    image.clean_all()
    before = state(image)
    return paint(layer, output=output), before, state(image)
"""


def test_values_beyond_white_stay_where_nothing_is_painted(gimp: Gimp) -> None:
    """In place, in a float layer: bit for bit outside of the selection; in it, paint is as bright as the layer."""
    status, before, after = gimp.run(BRIGHT, output="in-place")
    assert status == OK
    old, new = samples(before["layers"][0]), samples(after["layers"][0])
    assert old.min() < -0.4 and old.max() > 3
    assert np.array_equal(old[36:], new[36:])
    _check_bright(new[:36, :, :3], old[:36, :, :3])


def test_values_beyond_white_do_not_touch_the_new_layer(gimp: Gimp) -> None:
    """The layer keeps them; the new layer's paint is as bright."""
    status, before, after = gimp.run(BRIGHT, output="new-layer")
    assert status == OK
    new, same = after["layers"]
    assert same == before["layers"][0]
    _check_bright(samples(new)[:36, :, :3], samples(same)[:36, :, :3])


def _check_bright(painted: Array, before: Array) -> None:
    """Paint of a gray layer lies between black and white, or the layer's own brightness where that is beyond white."""
    assert painted.min() >= 0 and (painted <= np.maximum(before, 1) * 1.001).all()
    assert painted[before > 1].max() > 1
