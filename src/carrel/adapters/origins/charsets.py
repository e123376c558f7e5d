"""The encoding that only the answer's header names: it would be lost with the header."""

import re
from typing import Final

from carrel.ports.web import Page

_KNOWN: Final = re.compile(
    r"windows-125[0-8]|iso-8859-(?:[1-9]|1[0-6])|us-ascii|koi8-[ru]|shift_jis|euc-jp|euc-kr|gbk|gb2312|gb18030|big5"
)
_AS_BROWSERS_DO: Final = {"iso-8859-1": "windows-1252", "us-ascii": "windows-1252", "gb2312": "gb18030"}


def in_utf8(page: Page) -> bytes:
    """Its bytes as they came, unless the header names another encoding than UTF-8 and they are no UTF-8."""
    charset = page.charset or ""
    if not page.media_type.startswith("text/") or not _KNOWN.fullmatch(charset):
        return page.content
    try:
        page.content.decode()
    except UnicodeDecodeError:
        return page.content.decode(_AS_BROWSERS_DO.get(charset, charset), "replace").encode()
    return page.content
