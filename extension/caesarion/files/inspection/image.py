"""Describe images, and check that they can be decoded, with Pillow. Called by ``digest``."""

import warnings
from collections.abc import Iterator

from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from caesarion.files.inspection import source as found
from caesarion.files.inspection.source import NotReadable, Source, reason


def describe(source: Source, kind: str) -> Iterator[str | found.Image]:
    """Yield the kind and size, then an Image; raise NotReadable if it cannot be decoded."""
    warnings.simplefilter("error", Pillow.DecompressionBombWarning)
    try:
        # The kind is known from the first bytes; no other decoder is tried.
        with Pillow.open(source.file, formats=(kind.upper(),)) as picture:
            size = f"{picture.width:,} x {picture.height:,} pixels"
            picture.load()
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise NotReadable(f"{kind} image of too many pixels to be decoded.") from error
    except MemoryError:
        raise
    except UnidentifiedImageError as error:  # Its message contains the file object.
        raise NotReadable(f"{kind} image that cannot be decoded: it is damaged.") from error
    except Exception as error:  # Pillow's decoders raise anything.
        raise NotReadable(f"{kind} image that cannot be decoded: {reason(error)}.") from error
    yield f"{kind} image, {size}."
    yield found.Image(kind.lower())
