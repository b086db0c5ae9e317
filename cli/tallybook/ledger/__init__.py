"""Keeps what was read, so that a log is read once, and gives the usage that a question is about."""
