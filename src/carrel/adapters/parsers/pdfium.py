"""PDFium, which has no types: the vendor's values are named here and are Any to mypy."""

from typing import Any, TypeAlias

import pypdfium2
import pypdfium2.raw

Document: TypeAlias = Any
TextPage: TypeAlias = Any
Bookmark: TypeAlias = Any

helpers: Any = pypdfium2
raw: Any = pypdfium2.raw
PdfiumError = pypdfium2.PdfiumError
