"""Finds the logs, decompresses and reads them: alone in opening what the user has."""
