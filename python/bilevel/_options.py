"""Signatures and docstrings from the library's option fields."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any


def signature(fields: list[dict[str, Any]], self: bool = False) -> inspect.Signature:
    own = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)] if self else []
    options = [inspect.Parameter(f["name"], inspect.Parameter.KEYWORD_ONLY, default=f["default"]) for f in fields]
    return inspect.Signature(own + options)


def document(summary: str, fields: list[dict[str, Any]]) -> str:
    """The summary and a line for each option: its type, rule, meaning and default."""
    lines = [summary[:1].upper() + summary[1:] + ".", "", "Options:"]
    for field in fields:
        rule = f", {field['rule']}" if field["rule"] else ""
        text = f"{field['name']} ({field['type']}{rule}): {field['meaning']}. Default: {field['default']!r}."
        lines += textwrap.wrap(text, 110, initial_indent="    ", subsequent_indent="        ")
    return "\n".join([*lines, "", "InputError for another option or an impossible value."])
