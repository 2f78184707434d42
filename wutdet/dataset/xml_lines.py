"""XML as a small tree that remembers line numbers (expat, C speed, no external entities)."""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from wutdet.errors import DataError


class Node:
    """An element: ``tag``, ``attributes``, ``text`` (stripped), ``children``, 1-based ``line`` of its start tag."""

    __slots__ = ("attributes", "children", "line", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str], line: int):
        self.tag, self.attributes, self.line = tag, attributes, line
        self.text = ""
        self.children: list[Node] = []

    def child(self, tag: str) -> Node | None:
        """The first child of that name."""
        for node in self.children:
            if node.tag == tag:
                return node
        return None

    def all(self, tag: str) -> list[Node]:
        """All children of that name."""
        return [node for node in self.children if node.tag == tag]

    def value(self, tag: str) -> str:
        """Text of the first child of that name, ``""`` where there is none."""
        node = self.child(tag)
        return "" if node is None else node.text


def parse_xml(data: bytes, file: str | Path) -> Node:
    """The root element of an XML document.

    Raises:
        DataError: empty, not well-formed, or declaring entities; with the line.
    """
    if not data.strip():
        raise DataError("the file is empty", file=file, hint="write or copy the annotation file again")
    parser = expat.ParserCreate()
    parser.buffer_text = True
    top = Node("", {}, 0)
    stack = [top]
    text: list[str] = []

    def start(tag, attributes):
        node = Node(tag, attributes, parser.CurrentLineNumber)
        stack[-1].children.append(node)
        stack.append(node)
        text.clear()

    def end(_tag):
        stack.pop().text = "".join(text).strip()
        text.clear()

    def entity(*_):
        raise DataError("declares XML entities, which annotation files have no use for", file=file)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text.append
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise DataError(
            f"not valid XML: {expat.ErrorString(error.code)} at column {error.offset}", file=file, line=error.lineno
        ) from error
    except (LookupError, ValueError) as error:  # an encoding that Python does not know
        raise DataError(f"not readable XML: {error}", file=file) from error
    finally:
        # The handlers hold the parser, which holds them: 100,000 files would leave that many for the collector.
        parser.StartElementHandler = parser.EndElementHandler = None
        parser.CharacterDataHandler = parser.EntityDeclHandler = None
    return top.children[0]


def read_xml(path: str | Path) -> Node:
    """As parse_xml, from a file."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the file ({error.strerror})", file=path) from error
    return parse_xml(data, path)
