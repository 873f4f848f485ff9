"""b2/x-auto: the content type that a name's extension stands for. Pure."""

from __future__ import annotations

import mimetypes
from typing import Final

AUTO: Final = "b2/x-auto"
UNKNOWN: Final = "application/octet-stream"

_TYPES: Final = mimetypes.MimeTypes()
"""Python's own table only: the same answers on every machine, whatever its mime.types says."""


def resolve(content_type: str, name: str) -> str:
    """The content type to keep for a file that was sent with this one."""
    if content_type != AUTO:
        return content_type
    return _TYPES.guess_type(name.rpartition("/")[2], strict=False)[0] or UNKNOWN
