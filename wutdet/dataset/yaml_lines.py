"""A YAML mapping with the line of each of its keys."""

from __future__ import annotations

from pathlib import Path

from wutdet.errors import DataError


def read_yaml(path: str | Path) -> tuple[dict, dict[str, int]]:
    """The top-level mapping of a YAML file, and the 1-based line of each key. No tags, no code.

    Raises:
        DataError: unreadable, not YAML, not a mapping, or a key twice.
    """
    import yaml  # 50 ms that a folder without .yaml files need not pay

    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read the file ({error.strerror})", file=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not a text file in UTF-8 (byte {error.start})", file=path) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise DataError(f"not valid YAML: {reason}", file=path, line=mark.line + 1 if mark else 0) from error
    if not isinstance(content, dict):
        raise DataError(
            f"must be a YAML mapping (key: value), found {'nothing' if content is None else type(content).__name__}",
            file=path,
        )
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if key.value in lines:
            raise DataError(f"key '{key.value}' is there twice", file=path, line=key.start_mark.line + 1)
        lines[key.value] = key.start_mark.line + 1
    return content, lines
