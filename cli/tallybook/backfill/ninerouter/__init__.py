"""Writes what backfill proved into the usage history of 9router itself, and takes it back.

The one part of the program that changes a file of the user's: after a copy beside it, all or
nothing, and only rows that it knows.
"""
