"""Which characters a document's text may hold."""

import re

_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")

# Control characters, lone surrogates and non-characters; bidi controls, which make a text read otherwise than it is;
# and marks that nobody sees, which hide instructions. ZWJ and ZWNJ stay: Persian, Hindi and emoji are spelt with them.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


def clean(text: str) -> str:
    """Every line ends in one newline; no control character but newline and tab is left, and nothing invisible."""
    return UNSAFE.sub("", _BREAKS.sub("\n", text))


def squeezed(text: str) -> str:
    """The text on one line, with single spaces."""
    return " ".join(text.split())
