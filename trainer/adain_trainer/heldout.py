"""Pictures that are not trained on, so that figures show how a decoder does on new ones."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adain_net.encoder import Encoder
from adain_trainer.data import TrainingPictures
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import Figures, evaluate
from adain_trainer.load import ChosenPictures, Pictures
from adain_trainer.networks import PaintingNetwork
from adain_trainer.sheets import square
from adain_weights.style_pictures import open_style_picture
from adain_weights.styles import built_in_styles, read_style

FOLDER = "heldout"
ROLES = ("content", "style", "generic")
MOST = 20
"""Most held-out pictures of a kind: they give as many pairs without repeating a picture."""
KEPT_SIDE = 512
"""Largest side at which held-out pictures are kept, in pixels: pairs are compared at this size."""
ENOUGH_CONTENTS = 5
ENOUGH_STYLES = 10
"""With fewer, none is held out: a run for a handful of styles needs all of them, and is measured on training styles."""
GENERIC_EVERY = 4
"""One of this many built-in styles is held out."""


@dataclass(frozen=True)
class HeldOut:
    """The pictures that a run is measured on; at least one of each kind.

    Attributes:
        content: Not trained on; built-in styles' pictures when there are too few contents.
        style: The user's, not trained on when there are enough of them.
        generic: Built-in styles' pictures, not trained on.
    """

    content: Sequence[Image.Image]
    style: Sequence[Image.Image]
    generic: Sequence[Image.Image]

    def measure(
        self, network: PaintingNetwork, *, side: int, pairs: int, judge: Encoder | None = None
    ) -> tuple[Figures, Figures]:
        """Figures in the user's styles and in the built-in ones, at most `pairs` pairs of each. See evaluate()."""
        mine, generic = (
            evaluate(network, self.content, styles, side=side, pairs=pairs, judge=judge)
            for styles in (self.style, self.generic)
        )
        return mine, generic


def choose_held_out(contents: Pictures, styles: Pictures) -> set[str]:
    """Digests of the pictures to hold out: a fifth, the same ones whatever the files' order and names."""
    return _first_fifth(contents.digests, ENOUGH_CONTENTS) | _first_fifth(styles.digests, ENOUGH_STYLES)


def _first_fifth(digests: Sequence[str], enough: int) -> set[str]:
    different = sorted(set(digests))
    return set(different[: min(len(different) // 5, MOST)]) if len(different) >= enough else set()


def split(
    contents: Pictures, styles: Pictures, generic: Sequence[Image.Image], held_out: Set[str]
) -> tuple[TrainingPictures, HeldOut]:
    """Divide the pictures into training and held-out ones; a held-out picture is not trained on in either role.

    Args:
        generic: generic_pictures().
        held_out: The result of choose_held_out(), now or when the run began.
    Raises:
        TrainerError: Nothing is left to train on.
    """
    watched = generic[GENERIC_EVERY - 1 :: GENERIC_EVERY]
    kept = [picture for index, picture in enumerate(generic) if index % GENERIC_EVERY != GENERIC_EVERY - 1]
    content, content_out = _parted(contents, held_out)
    style, style_out = _parted(styles, held_out)
    if not content or not style:
        raise TrainerError("All pictures are held out, none is left to train on; give more contents or styles.")
    return TrainingPictures(content, style, kept), HeldOut(content_out or watched, style_out or style, watched)


def _parted(pictures: Pictures, held_out: Set[str]) -> tuple[Sequence[Image.Image], list[Image.Image]]:
    trained = [index for index, digest in enumerate(pictures.digests) if digest not in held_out]
    out = {digest: index for index, digest in enumerate(pictures.digests) if digest in held_out}
    return ChosenPictures(pictures.pictures, trained), [pictures.pictures[out[digest]] for digest in sorted(out)]


def generic_pictures() -> list[Image.Image]:
    """The pictures of the built-in styles, by name. Raises WeightsError when one is damaged."""
    return [open_style_picture(read_style(path).picture) for path in built_in_styles().values()]


def write_held_out(run: Path, held_out: HeldOut) -> None:
    """Keep a run's held-out pictures in its folder, so that its figures can be reproduced. Raises OSError."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    for role in ROLES:
        for index, picture in enumerate(getattr(held_out, role)[:MOST]):
            square(picture, min(KEPT_SIDE, *picture.size)).save(folder / f"{role}-{index:02d}.png")


def read_held_out(run: Path) -> HeldOut:
    """Read the pictures that write_held_out() wrote. Raises TrainerError."""
    found: dict[str, list[Image.Image]] = {role: [] for role in ROLES}
    for role, pictures in found.items():
        for path in sorted((run / FOLDER).glob(f"{role}-*.png")):
            try:
                with Image.open(path) as opened:
                    pictures.append(opened.convert("RGB"))
            except (OSError, SyntaxError, ValueError):
                raise TrainerError(
                    f"The held-out picture {path} is damaged; start again with an empty folder."
                ) from None
        if not pictures:
            raise TrainerError(f"The run {run} has no held-out pictures; start again with an empty folder.")
    return HeldOut(**found)
