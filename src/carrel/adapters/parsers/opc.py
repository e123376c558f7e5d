"""Packages of Office Open XML: parts, their types, and how they refer to each other."""

import posixpath
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from carrel.adapters.parsers import markup
from carrel.adapters.parsers.archive import Archive
from carrel.adapters.parsers.markup import Element
from carrel.adapters.parsers.titles import sensible
from carrel.domain.errors import Unreadable

CONTENT_TYPES: Final = "[Content_Types].xml"


@dataclass(frozen=True, slots=True)
class Relation:
    kind: str
    part: str


class Package:
    """Relations that lead out of the package are not followed. Raises Unreadable for one that is damaged."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._relations: dict[str, dict[str, Relation]] = {}
        self._types = {
            element.get("PartName", "").lstrip("/"): element.get("ContentType", "")
            for element in markup.tree_of(archive.read(CONTENT_TYPES))
            if markup.local(element) == "Override"
        }
        self.main = next((one for one in self.related("", "officeDocument")), "")

    def main_type(self) -> str:
        return self._types.get(self.main, "")

    def tree(self, part: str) -> Element:
        return markup.tree_of(self.archive.read(part))

    def part(self, owner: str, kind: str) -> Element | None:
        """The first part of this kind that the owner refers to."""
        return next((self.tree(name) for name in self.related(owner, kind)), None)

    def related(self, owner: str, kind: str) -> list[str]:
        """The parts of this kind, by the last word of its address."""
        return [one.part for one in self.relations(owner).values() if one.kind == kind and one.part in self.archive]

    def relations(self, owner: str) -> dict[str, Relation]:
        """By their ids. The package's own have no owner."""
        if owner not in self._relations:
            self._relations[owner] = self._listed(owner)
        return self._relations[owner]

    def _listed(self, owner: str) -> dict[str, Relation]:
        folder, name = posixpath.split(owner)
        listed = posixpath.join(folder, "_rels", f"{name}.rels")
        if listed not in self.archive:
            return {}
        return {
            one.get("Id", ""): Relation(
                one.get("Type", "").rpartition("/")[2], _resolved(folder, one.get("Target", ""))
            )
            for one in self.tree(listed)
            if markup.local(one) == "Relationship" and one.get("TargetMode") != "External"
        }

    def title(self) -> str | None:
        """From the core properties, when it is sensible and they can be read."""
        try:
            properties = self.part("", "core-properties")
        except Unreadable:
            return None
        title = markup.child(properties, "title")
        return sensible(title.text) if title is not None else None


def _relation(folder: str, element: Element) -> Relation:
    return Relation(element.get("Type", "").rpartition("/")[2], _resolved(folder, element.get("Target", "")))


def _resolved(folder: str, target: str) -> str:
    return posixpath.normpath(posixpath.join("/", folder, unquote(target))).lstrip("/")
