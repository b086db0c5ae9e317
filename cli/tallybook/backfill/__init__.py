"""Fills what a log does not state of a call from what lies beside it, and only where it is proved.

Evidence is found (`evidence`), both sides are compared (`agreement`, `matching`), and what follows
is proposed (`propose`) and planned (`plan`); `ninerouter` writes it into that router's own files.
"""
