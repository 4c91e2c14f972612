"""Signatures and docstrings from the library's option fields."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any


def signature(fields: list[dict[str, Any]]) -> inspect.Signature:
    return inspect.Signature(
        [inspect.Parameter(f["name"], inspect.Parameter.KEYWORD_ONLY, default=f["default"]) for f in fields]
    )


def document(summary: str, fields: list[dict[str, Any]]) -> str:
    """The summary and a line for each option: its type, rule, meaning and default."""
    lines = [summary[:1].upper() + summary[1:] + ".", "", "Options:"]
    for field in fields:
        rule = f", {field['rule']}" if field["rule"] else ""
        text = f"{field['name']} ({field['type']}{rule}): {field['meaning']}. Default: {field['default']!r}."
        lines += textwrap.wrap(text, 110, initial_indent="    ", subsequent_indent="        ")
    return "\n".join([*lines, "", "InputError for another option or an impossible value."])


def registered_class(name: str, base: type, entry: dict[str, Any], fields: list[dict[str, Any]], module: str) -> type:
    """A class for an entry of the library's registry; `fields`: what it is made with."""
    return type(
        name,
        (base,),
        {
            "__doc__": document(entry["summary"], entry["fields"]),
            "__signature__": signature(fields),
            "__module__": module,
            "registered_name": entry["name"],
        },
    )
