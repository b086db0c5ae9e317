"""`python -m tallybook`, and the command `tallybook`."""

from __future__ import annotations

import os
import sys

from tallybook import __version__

# pyarrow loads these wherever they are installed, half a second in every process; nothing here
# has a use for them.
_UNUSED = ("numpy", "pandas")
# Polars' allocator looks here when it is loaded. By itself it keeps what was freed for ten seconds,
# longer than most runs take: a third of their memory.
_ALLOCATOR = ("_RJEM_MALLOC_CONF", "dirty_decay_ms:10,muzzy_decay_ms:0")


def main() -> None:
    """Run the command line; the version is told before anything is loaded."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"tallybook {__version__}\n")
        return
    for name in _UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # so that it is not found
    os.environ.setdefault(*_ALLOCATOR)
    from tallybook.app import app  # noqa: PLC0415 - see above

    app(prog_name="tallybook")


if __name__ == "__main__":
    main()
