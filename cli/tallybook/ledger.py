"""From paths to priced usage: reads the reported rows and derives everything else from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tallybook.files import Search, known_places, read_files, walk
from tallybook.files.pool import Progress

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from tallybook.pricing import Rates


@dataclass(frozen=True, slots=True)
class Reading:
    """Priced USAGE rows of every kind, with what was read to get them and what priced them."""

    rows: pl.DataFrame
    files: int
    searched: list[Path]
    price_sources: list[str]
    price_digest: str


def usage(  # noqa: PLR0913 - what the command line knows and nothing below it may ask for
    paths: Sequence[Path] | None,
    *,
    environment: Mapping[str, str],
    home: Path,
    cache_folder: Path | None,
    price_file: Path | None,
    progress: Progress | None = None,
) -> Reading:
    """Reads `paths`, or without them the known places that exist, and derives priced usage.

    Raises TallybookError for a damaged price file; whatever is wrong with a log is a row.
    """
    search = find(paths, environment, home)
    # The logs are read before polars is imported: worker processes can then be forked at once.
    reported = read_files(search.files, progress)
    from tallybook import pricing  # noqa: PLC0415 - see above

    rates = pricing.load(cache_folder, price_file)
    rows = derive(_with_failed(reported, search), rates)
    return Reading(rows, len(search.files), search.searched, rates.sources, rates.digest)


def find(paths: Sequence[Path] | None, environment: Mapping[str, str], home: Path) -> Search:
    """The files below `paths`, or below the known places of every source."""
    if paths is not None:
        return walk(paths)
    places = [place for found in known_places(environment, home).values() for place in found]
    search = walk(sorted({place for place in places if place.is_dir()}))
    search.searched = list(dict.fromkeys(places))
    return search


def derive(reported: pa.Table, rates: Rates | None) -> pl.DataFrame:
    """The chain from reported rows (schema READ) to USAGE rows, priced where `rates` are given.

    Rows are put in the order of path, record and part first, so the order of reading is of no
    consequence.
    """
    import polars as pl  # noqa: PLC0415 - imported after the logs are read

    from tallybook.attribute import attribute  # noqa: PLC0415
    from tallybook.deduplicate import deduplicate  # noqa: PLC0415
    from tallybook.normalize import normalize  # noqa: PLC0415
    from tallybook.pricing import price  # noqa: PLC0415
    from tallybook.reconcile import reconcile  # noqa: PLC0415
    from tallybook.running import settle_running  # noqa: PLC0415

    frame = pl.DataFrame(reported)
    rows = frame.lazy().sort("path", "record", "part", maintain_order=True).with_row_index("row")
    for stage in (attribute, settle_running, normalize, deduplicate, reconcile):
        rows = stage(rows).collect().lazy()
    if rates is not None:
        rows = price(rows, rates)
    return rows.drop("row").collect()


def _with_failed(reported: pa.Table, search: Search) -> pa.Table:
    """Adds a row for each path that could not be entered."""
    import pyarrow as pa  # noqa: PLC0415 - only where something failed

    from tallybook.files.read import located_problem  # noqa: PLC0415

    failed = [located_problem(path, "unreadable", words) for path, words in search.failed]
    return pa.concat_tables([reported, *failed]) if failed else reported
