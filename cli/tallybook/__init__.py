"""tallybook reads the stored traces of coding agents and says what they cost."""

__version__ = "0.1.0"
