"""The gallery of a comparison: one self-contained HTML page, one PNG contact sheet, one JSON document.

The page and the sheet show the images that ``compare`` lists, in its order. File and class names may be hostile input.
So the template escapes all of them, and the sheet draws them as plain text, not as mathematics. The sheet draws each
character with the first installed font that has it, and a box without one.
"""

import base64
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from ...prep import OutputError, write_atomically, write_document
from ...prep.base.disks import reason_of
from ...prep.base.names import printable, shortened
from .compare import Comparison, Disagreement
from .image_files import ImageFile, thumbnail

THUMBNAIL_SIDE = 224  # pixels: large enough to see why two models differ, and about 10 kB an image in the page
COLUMNS = 5
# In this order: matplotlib's own font, then those that systems have for other scripts.
FONTS = (
    *("DejaVu Sans", "Noto Sans", "Segoe UI", "Arial Unicode MS"),
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo"),
    *("Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Arabic", "Noto Sans Hebrew", "Nirmala UI", "Leelawadee UI"),
    *("Noto Emoji", "Segoe UI Emoji", "Segoe UI Symbol"),
)


def write_gallery(out: Path, comparison: Comparison, images: Sequence[ImageFile]) -> dict[str, Path]:
    """Write ``comparison.json``, ``gallery.html`` and ``contact-sheet.png`` into ``out``; return their paths.

    Raises OutputError if ``out`` cannot be written.
    """
    paths = {"json": out / "comparison.json", "html": out / "gallery.html", "png": out / "contact-sheet.png"}
    thumbnails = [thumbnail(image, THUMBNAIL_SIDE) for image in images]
    page, sheet = _render_page(comparison, thumbnails), _draw_sheet(comparison, thumbnails)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(paths["html"], page.encode("utf-8", "replace"))
        write_atomically(paths["png"], sheet)
        write_document(paths["json"], comparison)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {reason_of(error, out)}; choose another --out") from error
    return paths


def _render_page(comparison: Comparison, thumbnails: Sequence[Image.Image]) -> str:
    """Return the HTML page. It contains the thumbnail of each listed image."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = list(zip(comparison.listed, map(_data_url, thumbnails), thumbnails, strict=True))
    return templates.get_template("gallery.html.j2").render(comparison=comparison, rows=rows)


def _draw_sheet(comparison: Comparison, thumbnails: Sequence[Image.Image]) -> bytes:
    """Return a PNG with the thumbnails in rows of five, each with the truth and the two predictions."""
    rows = max(1, math.ceil(len(thumbnails) / COLUMNS))
    figure = Figure(figsize=(2.4 * COLUMNS, 0.5 + 3.1 * rows), dpi=110, layout="constrained")
    title = f"The checkpoints disagree on {comparison.disagreements} of {comparison.images} images"
    installed = {font.name for font in font_manager.fontManager.ttflist}
    text: dict[str, Any] = {"fontfamily": [name for name in FONTS if name in installed], "parse_math": False}
    checkpoints = printable(f"a: {comparison.a.checkpoint}, b: {comparison.b.checkpoint}")
    figure.suptitle(f"{title}\n{checkpoints}", fontsize=9, **text)
    axes: Any = figure.subplots(rows, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, listed in zip(axes.flat, thumbnails, comparison.listed, strict=False):
        axis.imshow(image)
        axis.set_title(_caption(listed), fontsize=7, loc="left", **text)
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # drawn as a box
        figure.savefig(png, format="png")
    return png.getvalue()


def _caption(listed: Disagreement) -> str:
    lines = [f"truth: {_short(listed.truth.name)}"]
    for letter, prediction in (("a", listed.a), ("b", listed.b)):
        # The number comes first, because after a name in Arabic it would be drawn within the name.
        lines.append(f"{letter}: {prediction.probability:.0%} {_short(prediction.label.name)}")
    return "\n".join(lines)


def _short(name: str) -> str:
    return shortened(printable(name), 24)


def _data_url(image: Image.Image) -> str:
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode("ascii")
