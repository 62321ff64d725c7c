"""The colour spaces of Krita's layers, and converting each of them for the wire and back.

Pixels that are sRGB or linear in Krita go over the wire as they are. All others are converted by Krita to linear
floats: colours of other primaries may lie outside of sRGB, where only floats reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adain_style.client.choices import ChoiceError
from adain_style.client.texts import _

RGB_LINEAR = "sRGB-elle-V2-g10.icc"
GRAY_LINEAR = "Gray-D50-elle-V2-g10.icc"
"""Krita's own linear profiles. Conversions to them keep floats beyond 0..1; those to its sRGB curve do not."""
SRGB_PROFILES = frozenset(
    {
        "sRGB-elle-V2-srgbtrc.icc",
        "sRGB-elle-V4-srgbtrc.icc",
        "Gray-D50-elle-V2-srgbtrc.icc",
        "Gray-D50-elle-V4-srgbtrc.icc",
        "sRGB built-in",
        "sRGB IEC61966-2.1",
    }
)
LINEAR_PROFILES = frozenset({RGB_LINEAR, GRAY_LINEAR, "sRGB-elle-V4-g10.icc", "Gray-D50-elle-V4-g10.icc"})
"""Profiles of sRGB's primaries, or of gray, for the wire's transfers srgb and linear."""
_DEPTHS = {"U8": "u8", "U16": "u16", "F16": "f16", "F32": "f32"}
_BYTES = {"U8": 1, "U16": 2, "F16": 2, "F32": 4}
_CHANNELS = {"RGBA": 4, "GRAYA": 2, "CMYKA": 5, "LABA": 4, "XYZA": 4, "YCbCrA": 4}


@dataclass(frozen=True)
class Space:
    """A colour space as Krita names it.

    Attributes:
        model: RGBA, GRAYA, CMYKA, LABA, XYZA or YCbCrA. depth: U8, U16, F16 or F32. profile: The profile's name.
    """

    model: str
    depth: str
    profile: str

    @classmethod
    def of(cls, node: Any) -> Space:
        """The colour space of a node's pixels."""
        return cls(node.colorModel(), node.colorDepth(), node.colorProfile())

    @property
    def is_known(self) -> bool:
        """Whether its pixels can be read as colours."""
        return self.model in _CHANNELS and self.depth in _BYTES

    @property
    def pixel_bytes(self) -> int:
        """The bytes of one pixel."""
        return _CHANNELS[self.model] * _BYTES[self.depth]

    @property
    def wired(self) -> Space:
        """The space in which this one's pixels go over the wire: itself, when it is sRGB or linear."""
        if self.model in ("RGBA", "GRAYA") and self.profile in SRGB_PROFILES | LINEAR_PROFILES:
            return self
        return Space("GRAYA", "F32", GRAY_LINEAR) if self.model == "GRAYA" else Space("RGBA", "F32", RGB_LINEAR)

    @property
    def layout(self) -> str:
        """The wire's layout of a space that is wired."""
        if self.model == "GRAYA":
            return "YA"
        return "BGRA" if self.depth in ("U8", "U16") else "RGBA"  # Krita's integers begin with blue

    @property
    def wire_depth(self) -> str:
        """The wire's depth of a space that is wired."""
        return _DEPTHS[self.depth]

    @property
    def is_screen(self) -> bool:
        """Whether its pixels can be displayed without being converted."""
        return (self.model, self.depth) == ("RGBA", "U8") and self.profile in SRGB_PROFILES

    @property
    def transfer(self) -> str:
        """The wire's transfer of a space that is wired."""
        return "linear" if self.profile in LINEAR_PROFILES else "srgb"


SCREEN = Space("RGBA", "U8", "sRGB-elle-V2-srgbtrc.icc")
"""The space that previews and styles are made from: 8 bits, B, G, R, A."""


def convert(document: Any, data: bytes, width: int, height: int, source: Space, target: Space) -> bytes:
    """Have Krita convert pixels to another space; takes about 0.25 microseconds a pixel.

    Args:
        document: Any open document; it is not changed.
        data: The pixels. width, height: Their size.
        source: Their space. target: The wanted space.
    Raises:
        ChoiceError: The document was closed.
    """
    if source == target:
        return data
    scratch = document.createNode("scratch", "paintlayer")  # never in the document's tree
    if scratch is None:
        raise ChoiceError(_("The layer was closed or deleted meanwhile; nothing was painted."))
    scratch.setColorSpace(source.model, source.depth, source.profile)
    scratch.setPixelData(data, 0, 0, width, height)
    scratch.setColorSpace(target.model, target.depth, target.profile)
    return bytes(scratch.pixelData(0, 0, width, height))
