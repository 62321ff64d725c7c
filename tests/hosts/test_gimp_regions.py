"""Regions: channels, masks and layers that say where which style goes, painted in a real GIMP."""

from __future__ import annotations

import numpy as np
import pytest

from hosts.gimp import Gimp, as_array, light, samples

pytestmark = pytest.mark.hosts

OK = ("success", "success")
STYLE, OTHER = "hokusai-great-wave", "van-gogh-road"
SIZE = (96, 72)
SOFT = bytes(255 * x // 95 for y in range(72) for x in range(96))
"""A mask that grows from left to right."""
LEFT, RIGHT = (bytes(255 * (x // 48 == side) for y in range(72) for x in range(96)) for side in (0, 1))


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "U8_LINEAR", "U16_NON_LINEAR", "FLOAT_LINEAR"])
def test_saved_channel_counts_as_gimp_counts_it(gimp: Gimp, precision: str) -> None:
    """A channel as a region is painted as the selection that GIMP makes of it, to the last bit of its soft edge."""
    by_region, by_selection, selected = gimp.run(
        """
        results = []
        for use_region in (True, False):
            image, layer = picture(precision=precision)
            channel = add_channel(image, "soft", soft)
            if not use_region:
                image.select_item(Gimp.ChannelOps.REPLACE, channel)
            arguments = {"styles": "", "regions": [f"soft={STYLE}"]} if use_region else {}
            results.append((paint(layer, **arguments), look(image.get_layers()[0])))
        return *results, read(image.get_selection(), "Y u8")
        """,
        precision=precision,
        soft=SOFT,
    )
    assert selected == SOFT
    assert by_region[0] == by_selection[0] == OK
    region, selection = (samples(look) for _status, look in (by_region, by_selection))
    assert np.array_equal(region[..., 3], selection[..., 3])
    # Each process of the plug-in lets babl choose anew how it converts, which may change a colour's last bits.
    step = 1e-4 if precision == "FLOAT_LINEAR" else 1
    assert np.abs(region[..., :3].astype(float) - selection[..., :3]).max() <= step


def test_each_region_has_its_own_styles(gimp: Gimp) -> None:
    """Two halves in one pass: each is painted as when only it were selected; the strip between them stays free."""
    both, *alone = gimp.run(
        """
        results = []
        for run in (["left", "right"], ["left"], ["right"]):
            image, layer = picture(192, 72)
            add_channel(image, "left", bytes(255 * (x < 80) for y in range(72) for x in range(192)))
            add_channel(image, "right", bytes(255 * (x >= 112) for y in range(72) for x in range(192)))
            styles = {"left": STYLE, "right": other}
            status = paint(layer, styles="", regions=[f"{name}={styles[name]}" for name in run])
            results.append((status, look(image.get_layers()[0])))
        return results
        """,
        other=OTHER,
    )
    assert [result[0] for result in (both, *alone)] == [OK] * 3
    left, right = (samples(look) for _status, look in alone)
    picture = samples(both[1])
    alpha = np.repeat([255, 0, 255], [80, 32, 80])
    assert (picture[..., 3] == alpha).all()
    assert both[1]["name"].count(" + ") == 1
    # Nearer than 48 pixels to the other half the network sees it, too.
    assert np.abs(picture[:, :64].astype(int) - left[:, :64]).max() <= 1
    assert np.abs(picture[:, 128:].astype(int) - right[:, 128:]).max() <= 1
    assert np.abs(left[:, :80, :3].mean((0, 1)) - right[:, 112:, :3].mean((0, 1))).max() > 10


def test_settings_of_a_region_are_those_of_the_procedure(gimp: Gimp) -> None:
    """STRENGTH and COLOURS behind a region's styles do what the arguments do for a selection."""
    by_region, by_arguments, plain = gimp.run(
        """
        results = []
        mixed = f"{STYLE}:1+{other}:3"
        for arguments in (
            {"styles": "", "regions": [f"left={mixed}@0.6@match"]},
            {"styles": mixed, "alpha": 0.6, "preserve_color": "match"},
            {"styles": mixed},
        ):
            image, layer = picture()
            channel = add_channel(image, "left", left)
            if "regions" not in arguments:
                image.select_item(Gimp.ChannelOps.REPLACE, channel)
            results.append((paint(layer, **arguments), read(image.get_layers()[0])))
        return results
        """,
        left=LEFT,
        other=OTHER,
    )
    assert by_region[0] == by_arguments[0] == plain[0] == OK
    assert by_region[1] == by_arguments[1] != plain[1]


def test_colours_argument_holds_for_regions_that_name_none(gimp: Gimp) -> None:
    """preserve-color is every region's, unless it has one of its own."""
    results = gimp.run(
        """
        results = []
        for region, colour in (("", "luminance"), ("@luminance", "none"), ("@none", "luminance"), ("", "none")):
            image, layer = picture()
            add_channel(image, "left", left)
            status = paint(layer, styles="", regions=[f"left={STYLE}{region}"], preserve_color=colour)
            results.append((status, read(image.get_layers()[0])))
        return results
        """,
        left=LEFT,
    )
    assert [status for status, _pixels in results] == [OK] * 4
    by_argument, by_region, overridden, plain = (pixels for _status, pixels in results)
    assert by_argument == by_region != plain == overridden


@pytest.mark.parametrize("at", [(0, 0), (-10, 5)])
def test_layer_mask_is_a_region_where_its_layer_is(gimp: Gimp, at: tuple[int, int]) -> None:
    """mask:LAYER has the mask's values, in the place of the layer that has it."""
    status, new = gimp.run(
        """
        image, layer = picture()
        other = add_layer(image, "Figure", at=at)
        mask = other.create_mask(Gimp.AddMaskType.BLACK)
        other.add_mask(mask)
        write(mask, "Y u8", soft)
        status = paint(layer, styles="", regions=[f"mask:Figure={STYLE}"])
        return status, look(image.get_selected_layers()[0])
        """,
        soft=SOFT,
        at=at,
    )
    assert status == OK
    expected = np.zeros((72 + 20, 96 + 20), np.uint8)
    expected[10 + at[1] :, 10 + at[0] :][:72, :96] = as_array(SOFT, SIZE, "Y u8")[..., 0]
    assert np.array_equal(samples(new)[..., 3], expected[10:82, 10:106])


def test_layer_is_a_region_by_its_light_and_its_alpha(gimp: Gimp) -> None:
    """layer:LAYER, or its bare name: white paints, black and transparent do not, gray paints in part."""
    results = gimp.run(
        """
        results = []
        for name in ("layer:Sketch", "Sketch"):
            image, layer = picture()
            sketch = add_layer(image, "Sketch", alpha=True)
            quarters = (255, 255), (128, 255), (255, 0), (255, 64)
            row = b"".join(bytes([light, light, light, alpha]) * 24 for light, alpha in quarters)
            write(sketch, "R'G'B'A u8", row * 72)
            status = paint(layer, styles="", regions=[f"{name}={STYLE}"])
            results.append((status, look(image.get_selected_layers()[0])["pixels"]))
        return results
        """
    )
    assert results[0] == results[1] and results[0][0] == OK
    alpha = as_array(results[0][1], SIZE, "RGBA u8")[..., 3]
    assert (alpha == np.repeat([255, 128, 0, 64], 24)).all()


def test_channel_goes_before_a_layer_of_the_same_name(gimp: Gimp) -> None:
    """A bare name is a channel's, if there is one."""
    status, pixels = gimp.run(
        """
        image, layer = picture()
        add_channel(image, "Photograph", left)
        status = paint(layer, styles="", regions=[f"Photograph={STYLE}"])
        return status, read(image.get_layers()[0])
        """,
        left=LEFT,
    )
    assert status == OK
    assert (as_array(pixels, SIZE, "RGBA u8")[..., 3].ravel() == np.frombuffer(LEFT, np.uint8)).all()


def test_styles_paint_what_regions_leave(gimp: Gimp) -> None:
    """With styles and a region, the whole layer is painted, and differently in the region."""
    results = gimp.run(
        """
        results = []
        for regions in ([], [f"right={other}"]):
            image, layer = picture(192, 72)
            add_channel(image, "right", bytes(255 * (x >= 96) for y in range(72) for x in range(192)))
            results.append((paint(layer, regions=regions), look(image.get_layers()[0])))
        return results
        """,
        other=OTHER,
    )
    assert [status for status, _look in results] == [OK, OK]
    plain, mixed = (samples(look).astype(int) for _status, look in results)
    assert (mixed[..., 3] == 255).all()
    difference = np.abs(mixed - plain)[..., :3]
    assert difference[:, :48].max() <= 1  # farther away than the network sees
    assert difference[:, 96:].mean() > 5


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "FLOAT_LINEAR"])
def test_selection_limits_the_regions(gimp: Gimp, precision: str) -> None:
    """The new layer's alpha is the smaller one of the region's mask and the selection, soft edges too."""
    status, new, selected, mask = gimp.run(
        """
        image, layer = picture(precision=precision)
        channel = add_channel(image, "soft", soft)
        image.select_rectangle(Gimp.ChannelOps.REPLACE, 20, 20, 56, 40)
        Gimp.Selection.feather(image, 10.0)
        status = paint(layer, styles="", regions=[f"soft={STYLE}"])
        return status, look(image.get_layers()[0]), look(image.get_selection()), look(channel)
        """,
        precision=precision,
        soft=SOFT,
    )
    assert status == OK
    expected = np.minimum(samples(mask), samples(selected))[..., 0]
    assert len(np.unique(expected)) > 20
    assert np.array_equal(samples(new)[..., 3], expected)


IN_PLACE = """
    image, layer = picture(precision=precision)
    add_channel(image, "soft", soft)
    if select:
        image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 20, 96, 30)
    image.clean_all()
    before = look(layer)
    status = paint(layer, styles="", regions=[f"soft={STYLE}"], output="in-place")
    return status, before, look(layer)
"""


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "FLOAT_LINEAR"])
@pytest.mark.parametrize("select", [False, True], ids=["whole layer", "selection"])
def test_regions_in_place_change_nothing_elsewhere(gimp: Gimp, precision: str, select: bool) -> None:
    """Where a region's mask is 0 every colour stays, and beyond the selection every bit; more mask means more paint."""
    status, before, after = gimp.run(IN_PLACE, precision=precision, soft=SOFT, select=select)
    assert status == OK
    old, new = samples(before), samples(after)
    # A linear layer's colours go to the server as sRGB and come back, which rounds floats twice.
    assert np.allclose(old[:, 0], new[:, 0], rtol=1e-4 if precision == "FLOAT_LINEAR" else 0, atol=0)
    rows = slice(20, 50) if select else slice(0, 72)
    outside = np.ones(72, bool)
    outside[rows] = False
    assert np.array_equal(old[outside], new[outside])
    change = np.abs(new.astype(float) - old)[rows].mean(axis=(0, 2))
    thirds = [part.mean() for part in np.array_split(change, 3)]
    assert thirds[0] < thirds[1] < thirds[2]


def test_soft_selection_is_not_softened_twice(gimp: Gimp) -> None:
    """In place, with styles beside a region: GIMP blends by the selection, and only once."""
    status, before, soft, selected, whole = gimp.run(
        """
        def run(select):
            image, layer = picture()
            add_channel(image, "nothing", bytes(96 * 72))
            select(image)
            before = look(layer)
            status = paint(layer, regions=[f"nothing={STYLE}"], output="in-place")
            return status, before, look(layer), look(image.get_selection())

        def softly(image):
            image.select_rectangle(Gimp.ChannelOps.REPLACE, 20, 20, 56, 40)
            Gimp.Selection.feather(image, 20.0)

        status, before, soft, selected = run(softly)
        hard = bytes(255 * (value > 0) for value in selected["pixels"])
        whole = run(lambda image: image.select_item(Gimp.ChannelOps.REPLACE, add_channel(image, "hard", hard)))[2]
        return status, before, soft, selected, whole
        """
    )
    assert status == OK
    old, paint = light(samples(before)), light(samples(whole))
    share = samples(selected) / 255
    assert len(np.unique(share)) > 100
    # Two steps of 8 bit, for it is rounded twice; where sRGB's curve is steepest one of them is 2.3 of light.
    assert np.abs(light(samples(soft)) - (old + share * (paint - old))).max() <= 2 * 2.3 / 255


def test_colours_beyond_srgb_stay_where_no_region_is(gimp: Gimp) -> None:
    """In place, in an image with a wider profile: its purest green cannot be said in 8 bit of sRGB."""
    status, before, after = gimp.run(
        """
        image, layer = picture()
        image.set_color_profile(Gimp.ColorProfile.new_rgb_adobe())
        write(layer, Babl.get_name(layer.get_format()), bytes([0, 255, 0]) * (96 * 72))
        add_channel(image, "left", left)
        before = look(layer)
        return paint(layer, styles="", regions=[f"left={STYLE}"], output="in-place"), before, look(layer)
        """,
        left=LEFT,
    )
    assert status == OK
    old, new = (as_array(look["pixels"], SIZE, "RGB u8") for look in (before, after))
    assert np.array_equal(new[:, 48:], old[:, 48:])
    assert (new[:, :48] != old[:, :48]).any()


@pytest.mark.parametrize("name", ["nobody", "mask:Photograph", "layer:nobody", "layer:group"])
def test_region_of_an_unknown_mask_is_refused(gimp: Gimp, name: str) -> None:
    """The sentence has the name; nothing has changed."""
    status, before, after = gimp.run(
        """
        image, layer = picture()
        image.insert_layer(Gimp.GroupLayer.new(image, "group"), None, 0)
        image.clean_all()
        before = state(image)
        return paint(layer, styles="", regions=[f"{name}={STYLE}"]), before, state(image)
        """,
        name=name,
    )
    assert status == ("execution-error", f"There is no channel, layer mask or layer '{name}' in this image.")
    assert after == before and after["clean"]
