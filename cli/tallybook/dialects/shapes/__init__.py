"""Every usage shape that is known, one declaration each, the more particular ones first."""

from __future__ import annotations

from typing import Final

from tallybook.dialects.shape import Shape
from tallybook.dialects.shapes.chat import CHATS
from tallybook.dialects.shapes.clouds import CLOUDS
from tallybook.dialects.shapes.frameworks import FRAMEWORKS, PLAIN
from tallybook.dialects.shapes.responses import RESPONSES

SHAPES: Final[tuple[Shape, ...]] = (*CHATS, *RESPONSES, *CLOUDS, *FRAMEWORKS, *PLAIN)
