"""Tests of tallybook."""
