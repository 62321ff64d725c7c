"""Makes the built-in styles from the pictures of Debian and PyPI packages.

`adain-trainer styles -o DIR --downloads DIR` writes a saved style for each entry of LIBRARY, the same bytes each time.
Painters, titles and years are those that the packages give, corrected where they are wrong; NOTICE lists them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from adain_net.encoder import Encoder
from adain_net.layout import load_encoder
from adain_net.network import layer_statistics
from adain_net.statistics import StyleStatistics
from adain_trainer.errors import TrainerError
from adain_trainer.pictures import fetch_packages, package_pictures
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_model
from adain_weights.style_pictures import MeasureStatistics, make_style
from adain_weights.styles import SUFFIX, write_style

PUBLIC_DOMAIN = "public domain"
CC0 = "CC0-1.0"
GCOMPRIS = "Debian package gcompris-qt-data"
SCANS = "Debian package gcompris-qt-data, which lists the scan under GPL-3+"
"""The works are in the public domain; NOTICE explains why their scans are too."""
LOMIRI = "Debian package lomiri-wallpapers-16.04"
SCIKIT_IMAGE = "PyPI package scikit-image"

BOARD = "gcompris/paintings/board"
ACTIVITIES = "gcompris/src/activities"
DETAILS = f"{ACTIVITIES}/details/resource/image"
PLANETS = f"{ACTIVITIES}/solar_system/resource"
Crop = tuple[float, float, float, float]
"""Left, top, right, bottom as fractions of the picture."""
INSIDE_DISC: Crop = (0.23, 0.23, 0.77, 0.77)
"""The square inside a planet's disc."""
WITHOUT_MARGIN: Crop = (0, 0, 0.99, 0.985)
"""Some photographs end in a white margin on the right and below."""


@dataclass(frozen=True)
class LibraryStyle:
    """A style that comes with the project.

    Attributes:
        name: Its file's name.
        path: The picture's path in package_pictures().
        title, artist, origin, licence: As in SavedStyle.
        crop: The part that is the style; None for all of it.
    """

    name: str
    path: str
    title: str
    artist: str
    origin: str
    licence: str = PUBLIC_DOMAIN
    crop: Crop | None = None


def _board(name: str, file: str, artist: str, title: str, crop: Crop | None = None) -> LibraryStyle:
    return LibraryStyle(name, f"{BOARD}/{file}", title, artist, SCANS, crop=crop)


def _van_gogh(name: str, file: str, title: str) -> LibraryStyle:
    path = f"{DETAILS}/{file}_background.webp"
    return LibraryStyle(name, path, title, "Vincent van Gogh", GCOMPRIS, crop=WITHOUT_MARGIN)


LIBRARY = (
    _board("arcimboldo-spring", "Arcimboldo_Spring_b3", "Giuseppe Arcimboldo", "Spring, 1573"),
    _board(
        "bazille-ramparts",
        "bazille_rampart_4",
        "Frédéric Bazille",
        "The Ramparts at Aigues-Mortes, 1867",
        crop=(0.01, 0.02, 1, 1),  # the scan has a dark edge
    ),
    _board("bruegel-harvesters", "PieterBruegel_d4", "Pieter Bruegel the Elder", "The Harvesters, 1565"),
    _board("cassatt-summertime", "cassat_summertime_2", "Mary Cassatt", "Summertime, 1894"),
    _board("duerer-lion", "AlbrechtDurer_d4", "Albrecht Dürer", "Lion, 1494"),
    _board("hiroshige-fish", "HiroshigeHorsePrawns_d4", "Utagawa Hiroshige", "Horse Mackerel and Prawns"),
    _board(
        "hiroshige-snow",
        "HiroshigeInokashiraSnow_d4",
        "Utagawa Hiroshige",
        "The Benzaiten Shrine at Inokashira in Snow",
        crop=(0.015, 0.02, 0.985, 0.98),  # the sheet's corners are dark
    ),
    _board("hokusai-bridge", "HokusaiBridge_e4", "Katsushika Hokusai", "Sunset over the Ryogoku Bridge, about 1830"),
    _board("hokusai-great-wave", "GreatWave_d3", "Katsushika Hokusai", "The Great Wave off Kanagawa, about 1831"),
    _board("hokusai-oiran", "HokusaiOiranKamuro_b3", "Katsushika Hokusai", "Oiran and Kamuro"),
    _board("hokusai-poppies", "HokusaiPoppies_e5", "Katsushika Hokusai", "Poppies, about 1833"),
    _board("hokusai-wind", "EjiriSuruga_d3", "Katsushika Hokusai", "Ejiri in Suruga Province, about 1830"),
    _board(
        "hokusai-woman-with-fan",
        "HokusaiWomanHoldingFan_c3",
        "Katsushika Hokusai",
        "Woman Holding a Fan",
        crop=(0.04, 0.035, 0.94, 0.94),  # without the paper around it and a collection's stamp
    ),
    _board("kandinsky-composition-8", "kandinky_8", "Wassily Kandinsky", "Composition VIII, 1923"),
    _board("leonardo-mona-lisa", "MonaLisa_d3", "Leonardo da Vinci", "Mona Lisa, about 1503"),
    _board(
        "renoir-moulin",
        "renoir-moulin_de_la_galette-4",
        "Pierre-Auguste Renoir",
        "Dance at Le moulin de la Galette, 1876",
    ),
    _board(
        "renoir-piano",
        "renoir-filles_piano-8",
        "Pierre-Auguste Renoir",
        "Girls at the Piano, 1892, detail",
        crop=(0, 0, 1, 0.49),  # a dark seam between two pieces runs through the middle
    ),
    LibraryStyle(
        "tapestry-lady-unicorn",
        f"{ACTIVITIES}/babyshapes/resource/image/lady_unicorn_background.webp",
        "The Lady and the Unicorn, tapestry of about 1500, detail",
        "unknown Flemish weavers",
        SCANS,
        crop=(0.54, 0.09, 1, 0.78),  # elsewhere the game has cut pieces out
    ),
    _board("van-gogh-auvers-street", "gogh_auvert_2", "Vincent van Gogh", "Village Street in Auvers, 1890"),
    _van_gogh("van-gogh-bridge", "VincentVanGoghBridge", "The Langlois Bridge at Arles, 1888"),
    _van_gogh("van-gogh-cafe-terrace", "Gogh4", "Café Terrace at Night, 1888"),
    _van_gogh("van-gogh-church", "Eglise_dAuvers-sur-Oise", "The Church at Auvers, 1890"),
    _van_gogh("van-gogh-entrance-hall", "VincentVanGogh0012", "Entrance Hall of Saint-Paul Hospital, 1889"),
    _van_gogh("van-gogh-night-cafe", "Van_Gogh_The_Night_Cafe", "The Night Café, 1888"),
    _van_gogh("van-gogh-pere-tanguy", "PortraitOfPereTanguy", "Portrait of Père Tanguy, 1887"),
    _van_gogh("van-gogh-road", "VincentVanGogh0013", "The Painter on the Road to Tarascon, 1888"),
    LibraryStyle("texture-brick", "skimage/data/brick.png", "Brick wall", "CC0Textures", SCIKIT_IMAGE, CC0),
    LibraryStyle("texture-gravel", "skimage/data/gravel.png", "Gravel", "CC0Textures", SCIKIT_IMAGE, CC0),
    LibraryStyle(
        "texture-brushes",
        "lomiri-wallpapers-16.04/usr/share/backgrounds/Picture_1A_by_freespace.jpg",
        "Paint brushes (Picture 1A)",
        "Trevor 'Freespace'",
        LOMIRI,
        "CC-BY-4.0",
    ),
    LibraryStyle(
        "texture-basket-star",
        f"{ACTIVITIES}/clickgame/resource/sea6.webp",
        "Basket star",
        "U.S. Fish and Wildlife Service",
        GCOMPRIS,
    ),
    LibraryStyle("space-earth", f"{PLANETS}/earth.webp", "The Blue Marble, detail", "NASA", GCOMPRIS, crop=INSIDE_DISC),
    LibraryStyle("space-sun", f"{PLANETS}/sun.webp", "The Sun, 2010, detail", "NASA", GCOMPRIS, crop=INSIDE_DISC),
    LibraryStyle("space-venus", f"{PLANETS}/venus.webp", "Venus, detail", "NASA", GCOMPRIS, crop=INSIDE_DISC),
)


def build_styles(folder: Path, downloads: Path) -> Iterator[Path]:
    """Fetch the packages and write a saved style for each entry of LIBRARY.

    Args:
        folder: Receives the styles; created when missing.
        downloads: See collect().
    Yields:
        The file of each style that has been written.
    Raises:
        TrainerError: apt-get or pip is missing or fails, or a picture is not in the packages.
        WeightsError: A style's file cannot be written.
    """
    fetch_packages(downloads)
    model = load_model(DEFAULT_MODEL)
    measure = measure_with(load_encoder(model.encoder))
    missing = {style.path: style for style in LIBRARY}
    for path, picture in package_pictures(downloads):
        style = missing.pop(path, None)
        if style is None:
            continue
        saved = make_style(
            _cropped(picture, style.crop),
            measure,
            name=style.name,
            title=style.title,
            artist=style.artist,
            origin=style.origin,
            licence=style.licence,
            encoder_digest=model.encoder_digest,
        )
        target = folder / f"{style.name}{SUFFIX}"
        write_style(target, saved)
        yield target
    if missing:
        raise TrainerError(f"The packages do not hold {', '.join(sorted(missing))}; fetch the releases of Debian 12.")


def measure_with(encoder: Encoder) -> MeasureStatistics:
    """A function for make_style() that measures a picture with this encoder."""

    @torch.inference_mode()
    def measure(picture: NDArray[np.float32]) -> list[StyleStatistics]:
        return layer_statistics(encoder, torch.from_numpy(picture))

    return measure


def _cropped(picture: Image.Image, crop: Crop | None) -> Image.Image:
    if crop is None:
        return picture
    left, top, right, bottom = crop
    width, height = picture.size
    return picture.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))
