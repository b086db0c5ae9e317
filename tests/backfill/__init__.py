"""Tests of the stage that fills what a log does not state."""
