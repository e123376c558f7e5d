"""How definitions begin in the languages that programs are written in, known by the endings of their files."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

_MODIFIERS: Final = (
    r"(?:(?:export|default|declare|public|private|protected|internal|static|abstract|final|sealed|async|override|open|"
    r"virtual|inline|constexpr|extern|unsafe|const|pub(?:\([^)]*\))?|data|partial|readonly|suspend|implicit|case|"
    r"fileprivate|mutating|external|synchronized|native|strictfp|default|explicit|friend|template<[^>]*>)\s+)*+"
)
_TYPES: Final = (
    rf"{_MODIFIERS}(?:class|struct|interface|enum(?: class| struct)?|union|trait|record|namespace|module|object|"
    r"protocol|extension|actor|mod|defmodule|contract|message|service|type|impl(?:<[^>]*>)?)\s+"
    r"(?P<name>[\w.:$]+(?:<[^>{]*>)?(?:\s+for\s+[\w.:<>]+)?)"
    r"(?=\s*(?:[({:<=]|$|extends|implements|where|with|inherits|is|\w+\s*\{))"
)
_FUNCTIONS: Final = (
    rf"{_MODIFIERS}(?:function\s*\*?|func(?:\s*\([^)]*\))?|fun|fn|def|defp|defmacro|sub|proc|macro_rules!|rpc|"
    r"local function)\s+"
    r"(?P<name>(?:self\.)?[\w.:$?!]+)"
)
_METHODS: Final = (
    rf"{_MODIFIERS}(?:[\w.:<>,\[\]?*&~]+\s+[*&]*)?(?P<name>(?!(?:if|for|foreach|while|switch|catch|return|function|else|do|"
    r"sizeof|new|throw|using|lock|synchronized|await|match|when|elif|unless|until|with)\b)[\w:$~]+)"
    r"\s*\([^;{}]*\{\s*(?://.*)?$"
)
_ARROWS: Final = (
    r"(?:export\s+)?(?:const|let|var)\s+(?P<name>[\w$]+)[^=;]{0,100}=\s*"
    r"(?:async\s*)?(?:function\b|\([^;{}]*\)[^=;{}]{0,60}=>|\w+\s*=>)"
)
_SQL: Final = (
    r"(?i:create\s+(?:or\s+replace\s+)?(?:unique\s+|temp(?:orary)?\s+|materialized\s+|global\s+)*"
    r"(?:table|view|function|procedure|index|type|trigger|schema|sequence|policy|role|database|domain)\s+"
    r"(?:if\s+not\s+exists\s+)?)(?P<name>[\w.\"\[\]`]+)"
)
_BRACES: Final = (_TYPES, _FUNCTIONS, _METHODS, _ARROWS)
_WORDS: Final = (_TYPES, _FUNCTIONS)
_SHELL: Final = (r"(?:function\s+)?(?P<name>[\w:.-]+)\s*\(\s*\)", r"function\s+(?P<name>[\w:.-]+)")
_SECTIONS: Final = (r"\[\[?(?P<name>[^\[\]]+)\]\]?\s*(?:[#;].*)?$",)
_TERRAFORM: Final = (r"(?P<name>(?:resource|data|module|variable|output|provider|locals|terraform)\b[^{=]*?)\s*\{",)
_R: Final = (r"(?P<name>[\w.]+)\s*(?:<-|=)\s*function\b",)

RULES: Final[Mapping[str, Sequence[str]]] = MappingProxyType({
    **dict.fromkeys(
        (".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".vue", ".svelte", ".java", ".c", ".h", ".cc",
         ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".cs", ".go", ".rs", ".kt", ".kts", ".scala", ".swift", ".php", ".dart",
         ".groovy", ".gradle", ".m", ".mm", ".zig", ".sol", ".proto", ".graphql", ".gql", ".thrift"),
        _BRACES,
    ),
    **dict.fromkeys((".py", ".pyi", ".pyw", ".rb", ".rake", ".ex", ".exs", ".lua", ".pl", ".pm", ".jl", ".nim", ".cr",
                     ".erl", ".hs", ".ml", ".fs", ".clj", ".vb", ".f90", ".pas"), _WORDS),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".fish", ".ksh", ".ps1"), _SHELL),
    **dict.fromkeys((".toml", ".ini", ".cfg", ".conf", ".properties", ".editorconfig"), _SECTIONS),
    **dict.fromkeys((".tf", ".tfvars", ".hcl"), _TERRAFORM),
    ".sql": (_SQL,), ".r": _R,
    **dict.fromkeys((".css", ".scss", ".less", ".cmake", ".bat", ".diff", ".patch", ".tex", ".bib"), ()),
})  # fmt: skip
ENDINGS: Final = tuple(RULES)
SECTIONED: Final = frozenset(ending for ending in RULES if RULES[ending] is _SECTIONS)


def of(ending: str) -> Sequence["re.Pattern[str]"]:
    """What to match a line with, without its indentation. Each has a group `name`."""
    return _compiled(tuple(RULES.get(ending, ())))


@cache
def _compiled(rules: tuple[str, ...]) -> Sequence["re.Pattern[str]"]:
    return [re.compile(rule) for rule in rules]
