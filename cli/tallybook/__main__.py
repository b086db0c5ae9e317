"""`python -m tallybook`, and the command `tallybook`."""

from __future__ import annotations

import os
import sys

from tallybook import __version__

# pyarrow loads these wherever they are installed, half a second in every process; nothing here
# has a use for them.
_UNUSED = ("numpy", "pandas")
# Allocators look here when their library is loaded. By themselves, what was freed they keep for ten
# seconds (polars) or for good (pyarrow), longer than most runs take: a third of their memory.
_ALLOCATORS = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:200,muzzy_decay_ms:0",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


def main() -> None:
    """Run the command line; the version is told before anything is loaded."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"tallybook {__version__}\n")
        return
    for name in _UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # so that it is not found
    for name, value in _ALLOCATORS.items():
        os.environ.setdefault(name, value)
    from tallybook.app import app  # noqa: PLC0415 - see above

    app(prog_name="tallybook")


if __name__ == "__main__":
    main()
