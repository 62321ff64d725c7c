"""What a user types: numbers, styles, regions, pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from adain_style.client.choices import (
    ChoiceError,
    RegionChoice,
    StyleChoice,
    parse_number,
    parse_region,
    parse_style,
    parse_styles,
    picture_and_crop,
    refuse_address,
    style_name,
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1", 1.0), ("0.25", 0.25), (" 0.5 ", 0.5), ("1e-1", 0.1)])
def test_number_within_its_limits(text: str, value: float) -> None:
    """Both limits are allowed."""
    assert parse_number(text, "Alpha", 0, 1) == value


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-inf", "1,5", "0x1"])
def test_what_is_no_number_is_a_sentence(text: str) -> None:
    """It names what was meant and what was typed."""
    with pytest.raises(ChoiceError) as caught:
        parse_number(text, "Alpha", 0, 1)
    assert str(caught.value) == f"Alpha is a number, not '{text}'."


def test_number_beyond_its_limits_is_a_sentence() -> None:
    """One limit or both are named."""
    for text in ("-0.1", "1.1"):
        with pytest.raises(ChoiceError) as caught:
            parse_number(text, "Alpha", 0, 1)
        assert str(caught.value) == f"Alpha is between 0 and 1, not {text}."
    with pytest.raises(ChoiceError) as caught:
        parse_number("-1", "The weight", 0)
    assert str(caught.value) == "The weight is at least 0, not -1."
    assert parse_number("1e30", "The weight", 0) == 1e30


STYLES = [
    ("waves", [("waves", 1.0)]),
    ("waves:2", [("waves", 2.0)]),
    ("a+b", [("a", 1.0), ("b", 1.0)]),
    ("a:0+b:0.5+c", [("a", 0.0), ("b", 0.5), ("c", 1.0)]),
    ("C:\\a.png:3", [("C:\\a.png", 3.0)]),
    ("a.png[0,0,9,9]:2", [("a.png[0,0,9,9]", 2.0)]),
    ("Straße é:2", [("Straße é", 2.0)]),
]


@pytest.mark.parametrize(("text", "styles"), STYLES, ids=[text for text, _ in STYLES])
def test_styles_and_their_weights(text: str, styles: list[tuple[str, float]]) -> None:
    """STYLE[:WEIGHT][+STYLE[:WEIGHT]...]."""
    assert parse_styles(text) == [StyleChoice(*style) for style in styles]


@pytest.mark.parametrize("name", ["a:b", "a:2", "a+b", "a+b:2", "x+", ":1", "+"])
def test_file_is_found_before_its_name_is_taken_apart(name: str) -> None:
    """A file called like a list of styles is one style, of weight 1; without the file it is not."""
    assert _styles_or_error(name) != [StyleChoice(name)]
    Path(name).touch()
    assert parse_styles(name) == [StyleChoice(name)]
    assert parse_region(f"mask={name}") == RegionChoice((StyleChoice(name),), mask="mask")


def _styles_or_error(text: str) -> list[StyleChoice] | str:
    try:
        return parse_styles(text)
    except ChoiceError as error:
        return str(error)


def test_file_with_a_colon_can_have_a_weight() -> None:
    """Only the text as a whole is looked for."""
    Path("a:b").touch()
    assert parse_style("a:b:2") == StyleChoice("a:b", 2.0)


@pytest.mark.parametrize("text", ["a:x", "a:", "a:-1", "a:nan", "a:1e999"])
def test_wrong_weight_is_a_sentence_that_names_the_style(text: str) -> None:
    """Which of several styles is meant."""
    with pytest.raises(ChoiceError, match=r"^The weight of style a is (a number|at least 0), not .*\.$"):
        parse_styles(f"b+{text}")


@pytest.mark.parametrize("text", ["", ":2", "+", "a+", "+a", "a++b"])
def test_style_without_a_name_is_a_sentence(text: str) -> None:
    """Nothing is not the folder in which we are."""
    with pytest.raises(ChoiceError, match=r"^A style is STYLE or STYLE:WEIGHT, not '.*'\.$"):
        parse_styles(text)


def test_list_longer_than_a_files_name_may_be() -> None:
    """No system refuses it as a file's name."""
    names = [f"style-{n:03}" for n in range(600)]
    assert parse_styles("+".join(names)) == [StyleChoice(name) for name in names]
    assert len(parse_region("m=" + "+".join(names) + "@0.5").styles) == len(names)
    assert picture_and_crop("x" * 5000 + "[1,2,3,4]") == (Path("x" * 5000), (1, 2, 3, 4))


REGIONS = [
    ("sky.png=waves", RegionChoice((StyleChoice("waves"),), mask="sky.png")),
    ("m=a:2+b@0.5", RegionChoice((StyleChoice("a", 2.0), StyleChoice("b")), 0.5, "none", "m")),
    ("m=a@luminance", RegionChoice((StyleChoice("a"),), 1.0, "luminance", "m")),
    ("m=a@0.25@match", RegionChoice((StyleChoice("a"),), 0.25, "match", "m")),
    ("m=a@0@none", RegionChoice((StyleChoice("a"),), 0.0, "none", "m")),
    ("m=a=b", RegionChoice((StyleChoice("a=b"),), mask="m")),
    ("m=p.png[1,2,3,4]:2@1", RegionChoice((StyleChoice("p.png[1,2,3,4]", 2.0),), 1.0, "none", "m")),
]


@pytest.mark.parametrize(("text", "region"), REGIONS, ids=[text for text, _ in REGIONS])
def test_regions(text: str, region: RegionChoice) -> None:
    """MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA][@COLOUR]."""
    assert parse_region(text) == region


def test_regions_colour_is_the_callers_when_it_names_none() -> None:
    """And its own when it does."""
    assert parse_region("m=a@0.5", "match").preserve_color == "match"
    assert parse_region("m=a@none", "match").preserve_color == "none"


@pytest.mark.parametrize("name", ["a@0.5", "a@match", "a@x", "@", "b@2x:1+c.png"])
def test_file_with_an_at_sign_is_found_first(name: str) -> None:
    """As a whole, and with the colour behind it."""
    Path(name).touch()
    assert parse_region(f"m={name}") == RegionChoice((StyleChoice(name),), mask="m")
    assert parse_region(f"m={name}@luminance").styles == (StyleChoice(name),)
    assert parse_region(f"m={name}@luminance").preserve_color == "luminance"


def test_file_with_an_at_sign_and_an_alpha() -> None:
    """Only the last part is the alpha."""
    Path("a@2x").touch()
    assert parse_region("m=a@2x@0.5@match") == RegionChoice((StyleChoice("a@2x"),), 0.5, "match", "m")


@pytest.mark.parametrize("text", ["", "m", "=a", "m=", "="])
def test_what_is_no_region_is_a_sentence_with_the_syntax(text: str) -> None:
    """And with what was typed."""
    with pytest.raises(ChoiceError) as caught:
        parse_region(text)
    assert "MASK=STYLE" in str(caught.value) and str(caught.value).endswith(f", not '{text}'.")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("m=a@2", "The alpha of region m is between 0 and 1, not 2."),
        ("m=a@pink", "The alpha of region m is a number, not 'pink'."),
        ("m=a@", "The alpha of region m is a number, not ''."),
        ("m=a:x@1", "The weight of style a is a number, not 'x'."),
        ("m=@0.5", "A style is STYLE or STYLE:WEIGHT, not ''."),
    ],
)
def test_wrong_part_of_a_region_is_a_sentence(text: str, sentence: str) -> None:
    """Which part, of which region or style."""
    with pytest.raises(ChoiceError) as caught:
        parse_region(text)
    assert str(caught.value) == sentence


QUOTED = [
    ('"a=b.png"=waves', RegionChoice((StyleChoice("waves"),), mask="a=b.png")),
    ('m="a+b.png"', RegionChoice((StyleChoice("a+b.png"),), mask="m")),
    ('m="a@2x.png"@0.5', RegionChoice((StyleChoice("a@2x.png"),), 0.5, mask="m")),
    (
        'm="a:1+b@0.png":3+c@0.5@match',
        RegionChoice((StyleChoice("a:1+b@0.png", 3.0), StyleChoice("c")), 0.5, "match", "m"),
    ),
    ('m=c+"a+b.png"[1,2,3,4]:2', RegionChoice((StyleChoice("c"), StyleChoice("a+b.png[1,2,3,4]", 2.0)), mask="m")),
    ('"m""=n"="a""+b"', RegionChoice((StyleChoice('a"+b'),), mask='m"=n')),
    ('m=5" disk+9" plate', RegionChoice((StyleChoice('5" disk'), StyleChoice('9" plate')), mask="m")),
    ('m="a" b+c', RegionChoice((StyleChoice('"a" b'), StyleChoice("c")), mask="m")),
    (
        '"C:\\my=mask.png"="D:\\a+b.png":2+E:/c.png:0.5@0.25',
        RegionChoice((StyleChoice("D:\\a+b.png", 2.0), StyleChoice("E:/c.png", 0.5)), 0.25, mask="C:\\my=mask.png"),
    ),
    ("m=match", RegionChoice((StyleChoice("match"),), mask="m")),
]


@pytest.mark.parametrize(("text", "region"), QUOTED, ids=[text for text, _ in QUOTED])
def test_name_in_quotes_may_have_every_sign(text: str, region: RegionChoice) -> None:
    """Quotes hold around a whole mask or style only; elsewhere they belong to its name, as a single one does."""
    assert parse_region(text) == region


@pytest.mark.parametrize("mask", ["a=b.png", "=", "a=b=c"])
def test_mask_with_an_equals_sign_is_found_first(mask: str) -> None:
    """When there is such a file."""
    Path(mask).touch()
    assert parse_region(f"{mask}=waves") == RegionChoice((StyleChoice("waves"),), mask=mask)


@pytest.mark.parametrize("text", ["C:\\Users\\me\\typo.png", "C:/typo.png", "z:\\a.png[0,0,9,9]"])
def test_drive_is_no_weight(text: str) -> None:
    """A path of Windows, with and without a weight, whether or not the file exists."""
    assert parse_style(text) == StyleChoice(text)
    assert parse_style(f"{text}:2") == StyleChoice(text, 2.0)
    with pytest.raises(ChoiceError) as caught:
        parse_style(f"{text}:x")
    assert str(caught.value) == f"The weight of style {text} is a number, not 'x'."


@pytest.mark.parametrize("address", ["https://example.org/a.png", "HTTP://u@example.org:80/a+b.png", "hf://a/b"])
def test_address_is_no_file(address: str) -> None:
    """As a style, with and without a weight, in a region, and as a mask."""
    sentence = f"'{address}' is an address, not a file; download it first and name the file."
    for read in (refuse_address, parse_style, lambda text: parse_region(f"{text}=waves")):
        with pytest.raises(ChoiceError) as caught:
            read(address)
        assert str(caught.value) == sentence
    with pytest.raises(ChoiceError, match=r"is an address, not a file; download it first and name the file\.$"):
        parse_region(f"m={address}")
    Path("https:/a").mkdir(parents=True)
    assert parse_style("https:/a") == StyleChoice("https:/a")


def test_address_of_a_file_is_to_be_its_path() -> None:
    """As desktops hand them over."""
    with pytest.raises(ChoiceError) as caught:
        parse_style("file:///home/me/a.png")
    assert str(caught.value) == "'file:///home/me/a.png' is an address; name the file by its path instead."


def test_numbers_of_a_crop_may_have_any_length() -> None:
    """What is too long to be read lies outside of every picture; zeros in front count for nothing."""
    path, crop = picture_and_crop(f"a.png[{'9' * 5000},0{'0' * 5000},{'0' * 5000}7,8]")
    assert (path, crop) == (Path("a.png"), (9_999_999_999, 0, 7, 8))


def test_picture_and_crop() -> None:
    """PICTURE[LEFT,TOP,WIDTH,HEIGHT]; brackets with anything else in them belong to the name."""
    assert picture_and_crop("a/b.png") == (Path("a/b.png"), None)
    assert picture_and_crop("a/b.png[1,20,300,4]") == (Path("a/b.png"), (1, 20, 300, 4))
    assert picture_and_crop("a[1,2,3,4][5,6,7,8]") == (Path("a[1,2,3,4]"), (5, 6, 7, 8))
    for name in ("a[1,2,3]", "a[-1,2,3,4]", "a[1,2,3,4].png", "a[1, 2, 3, 4]", "[1,2,3,4]", "a[]"):
        assert picture_and_crop(name) == (Path(name), None)


def test_file_whose_name_ends_in_brackets_is_found_first() -> None:
    """Without the file they are a crop."""
    name = "a.png[1,2,3,4]"
    assert picture_and_crop(name) == (Path("a.png"), (1, 2, 3, 4))
    Path(name).touch()
    assert picture_and_crop(name) == (Path(name), None)
    assert picture_and_crop(f"{name}[5,6,7,8]") == (Path(name), (5, 6, 7, 8))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Great Wave", "great-wave"),
        ("--A__b..9--", "a-b-9"),
        ("Käthe", "k-the"),
        ("北斎", ""),
        ("../../etc", "etc"),
        ("x" * 99, "x" * 64),
    ],
)
def test_style_name(text: str, name: str) -> None:
    """Small letters, digits and hyphens, and nothing that leaves a folder."""
    assert style_name(text) == name
