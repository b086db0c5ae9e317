"""Finds the logs, decompresses and reads them: alone in opening what the user has."""

from __future__ import annotations

from tallybook.files.find import Search, walk
from tallybook.files.places import SourceSurvey, known_places, survey
from tallybook.files.pool import read_files

__all__ = ["Search", "SourceSurvey", "known_places", "read_files", "survey", "walk"]
