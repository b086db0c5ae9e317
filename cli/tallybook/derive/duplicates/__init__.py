"""Which rows are one call, and which of them counts.

`deduplicate` asks the others: which rows replay a history that a fork brought along (`replayed`),
which calls only share an id (`reused_ids`), which record of a call counts and which copies and
archives yield (`best_record`), what several records of one run leave (`same_run`), what the logs of
a run's agents take from it (`workspaces`), what another source states of a call or thread
(`other_sources`), which call of a client a router forwarded (`forwarded`, by `requests` and
`routes`), which answers without counts (`silent_threads`, by a search in their times, `fitting`).
"""
