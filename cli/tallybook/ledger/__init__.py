"""Keeps what was read, so that a log is read once, and gives the usage that a question is about.

A question (`question`, `open`) compares what lies on disk with the `manifest` (`compare`), which a
`catalog` holds, reads what is new (`refresh`, `gather`) into `parts`, and gets usage (`reading`),
derived a group of files at a time (`groups`, `stretches`) and kept (`derived`). A catalogue that is
damaged or lost is made up from the parts (`recovery`).
"""
