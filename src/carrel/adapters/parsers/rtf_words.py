"""The words of RTF that stand for characters, and those that begin what is not read."""

from types import MappingProxyType
from typing import Final

SIGNS: Final = MappingProxyType({
    "tab": "\t", "line": "\n", "emdash": "\u2014", "endash": "\u2013", "bullet": "\u2022",
    "lquote": "\u2018", "rquote": "\u2019", "ldblquote": "\u201c", "rdblquote": "\u201d",
    "emspace": " ", "enspace": " ", "qmspace": " ", "zwj": "\u200d", "zwnj": "\u200c", "softline": "\n",
})  # fmt: skip
PASSED_OVER: Final = frozenset({
    "annotation", "atnauthor", "atnid", "author", "background", "bkmkend", "bkmkstart", "buptim", "category",
    "colortbl", "comment", "company", "creatim", "datafield", "doccomm", "falt", "file", "filetbl", "fldinst",
    "footer", "footerf", "footerl", "footerr", "ftncn", "ftnsep", "ftnsepc", "generator", "header", "headerf",
    "headerl", "headerr", "hlinkbase", "keywords", "listoverridetable", "listtable", "manager", "nonshppict",
    "objclass", "objdata", "objname", "operator", "panose", "pict", "printim", "private", "revtbl", "revtim",
    "rsidtbl", "shp", "shpinst", "subject", "tc", "template", "themedata", "txe", "vern", "xe",
})  # fmt: skip
# Numbers of character sets and of code pages; they do not overlap.
CHARSETS: Final = MappingProxyType({
    0: "cp1252", 1: "cp1252", 2: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030",
    136: "big5", 161: "cp1253", 162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257",
    204: "cp1251", 222: "cp874", 238: "cp1250", 255: "cp437",
    437: "cp437", 850: "cp850", 852: "cp852", 866: "cp866", 874: "cp874", 932: "cp932", 936: "gb18030", 949: "cp949",
    950: "big5", 1250: "cp1250", 1251: "cp1251", 1252: "cp1252", 1253: "cp1253", 1254: "cp1254", 1255: "cp1255",
    1256: "cp1256", 1257: "cp1257", 1258: "cp1258", 10000: "mac_roman", 65001: "utf-8",
})  # fmt: skip


def codec_of(number: int) -> str:
    return CHARSETS.get(number, "cp1252")
