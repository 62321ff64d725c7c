"""Models of the user's own beside the server's: chosen by the client, without a restart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adain_style.client.client import Client
from adain_style.client.errors import RequestError
from adain_style.client.jobs import Pixels, Progress, StylizeRequest
from adain_weights.manifest import DEFAULT_MODEL
from support.helpers import PICTURES, RunningServer, picture_pixels, pixels_array, request, write_other_model

CONTENT = picture_pixels("chelsea.jpg", side=96)
STYLE = picture_pixels("van-gogh-road-to-tarascon.jpg", side=96)
ROUNDING = 1


def _wanted(model: str = "", preserve_color: str = "none") -> StylizeRequest:
    return request(CONTENT, [(STYLE, 1.0)], model=model, preserve_color=preserve_color)


def _paint(client: Client, model: str = "") -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return pixels_array(client.stylize(_wanted(model)).pixels).astype(np.int64)


def _has(client: Client, model: str) -> bool:
    return model in [known.name for known in client.models()]


@pytest.fixture
def mine(own_server: RunningServer) -> Iterator[Client]:
    """A client of a server whose user has added a model after it was started."""
    with own_server.client() as client:
        assert not _has(client, "mine")
        write_other_model(own_server.models / "mine")
        yield client


def test_embedded_model_is_listed_and_is_the_servers_own(client: Client) -> None:
    """With what a user wants to know of it."""
    own = next(model for model in client.models() if model.name == DEFAULT_MODEL)
    assert client.hello().model == DEFAULT_MODEL and not own.own
    assert own.title and own.description and own.licence


def test_added_model_is_listed_and_paints_without_a_restart(own_server: RunningServer, mine: Client) -> None:
    """The same process, and the result is that model's; the server's own paints as before, in between as well."""
    boot = mine.hello().boot
    added = next(model for model in mine.models() if model.name == "mine")
    assert (added.title, added.description, added.own) == ("Inverted", "paints inverted", True)
    plain, inverted = _paint(mine), _paint(mine, "mine")
    assert np.abs(inverted - (255 - plain)).max() <= ROUNDING and np.abs(inverted - plain).mean() > 10
    assert np.array_equal(_paint(mine), plain) and np.array_equal(_paint(mine, "mine"), inverted)
    assert np.array_equal(_paint(mine, DEFAULT_MODEL), plain)
    assert mine.hello().boot == boot and own_server.process.poll() is None


def test_model_is_loaded_when_it_is_first_asked_for(mine: Client) -> None:
    """The bar says so, once."""
    stages = []
    for _ in range(2):
        seen: list[Progress] = []
        mine.stylize(_wanted("mine"), on_progress=seen.append)
        stages.append([progress.stage for progress in seen])
    assert "loading" in stages[0] and "loading" not in stages[1]


def test_model_that_was_trained_further_is_loaded_again(own_server: RunningServer, mine: Client) -> None:
    """Exported a second time under its name: the new weights paint."""
    inverted = _paint(mine, "mine")
    write_other_model(own_server.models / "mine", darker=0.2)
    assert np.abs(_paint(mine, "mine") - inverted).mean() > 5


def test_removed_model_is_a_sentence(own_server: RunningServer, mine: Client) -> None:
    """It was chosen, and is gone; other jobs go on."""
    (own_server.models / "mine").rename(own_server.folder / "elsewhere")
    with pytest.raises(RequestError, match=r"'mine'.*choose another") as caught:
        mine.stylize(_wanted("mine"))
    assert caught.value.code == "UNKNOWN_MODEL"
    _paint(mine)


@pytest.mark.fault(31)
@pytest.mark.parametrize("name", ["../mine", "/etc", "a b", ".hidden", "x" * 200])
def test_model_is_never_a_path(client: Client, name: str) -> None:
    """BAD_NAME before anything is looked for."""
    with pytest.raises(RequestError) as caught:
        client.stylize(_wanted(name))
    assert caught.value.code == "BAD_NAME"


@pytest.mark.fault(94)
@pytest.mark.parametrize("damage", ["cut", "flipped", "other network"])
def test_damaged_model_is_a_sentence_and_harms_nothing(own_server: RunningServer, mine: Client, damage: str) -> None:
    """BAD_MODEL with what to do; the server's own paints on."""
    before = _paint(mine)
    path = own_server.models / "mine" / "decoder.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[-5] ^= 1
        path.write_bytes(data)
    else:
        (path.parent / "model.json").unlink()
        path.write_bytes(
            (PICTURES.parent.parent / "weights/adain_weights/embedded/vgg19_relu4_1.safetensors").read_bytes()
        )
    with pytest.raises(RequestError, match="mine") as caught:
        mine.stylize(_wanted("mine"))
    assert caught.value.code == "BAD_MODEL" and str(caught.value).endswith(".")
    assert np.array_equal(_paint(mine), before)


def test_many_models_in_turn_stay_right(own_server: RunningServer) -> None:
    """More than the worker keeps loaded: each paints as itself, the first one again at the end."""
    with own_server.client() as client:
        for number in range(5):
            write_other_model(own_server.models / f"model-{number}", darker=0.2 * (number % 2))
        first = [_paint(client, f"model-{number}") for number in range(5)]
        assert np.array_equal(first[0], first[2]) and np.array_equal(first[1], first[3])
        assert np.abs(first[0] - first[1]).mean() > 5
        assert np.array_equal(_paint(client, "model-0"), first[0])


def test_recoloured_styles_work_with_another_model(mine: Client) -> None:
    """Recolouring needs the style's pixels, which the other model has never seen."""
    mine.stylize(_wanted(preserve_color="match"))
    result = mine.stylize(_wanted("mine", preserve_color="match"))
    assert isinstance(result.pixels, Pixels)


def test_command_lists_and_uses_models(own_server: RunningServer, tmp_path: Path) -> None:
    """adain-stylize --list-models and --model."""
    write_other_model(own_server.models / "mine")
    command = [sys.executable, "-m", "adain_stylize.cli", "--connection-file", str(own_server.connection_file)]
    listed = subprocess.run([*command, "--list-models"], check=True, capture_output=True, text=True).stdout
    assert "mine" in listed and "the server's own" in listed
    picture, out = PICTURES / "chelsea.jpg", tmp_path / "out.png"
    common = [*command, str(picture), "--style", str(picture), "--stroke-size", "4", "--quiet", "-o", str(out)]
    results = []
    for model in ([], ["--model", "mine"]):
        subprocess.run([*common, *model], check=True)
        with Image.open(out) as opened:
            results.append(np.asarray(opened).astype(int))
    assert np.abs(results[0] - results[1]).mean() > 10
    wrong = subprocess.run([*common, "--model", "no-such"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 1 and "no-such" in wrong.stderr and wrong.stderr.count("\n") == 1
