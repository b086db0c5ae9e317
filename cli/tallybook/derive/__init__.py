"""From reported rows to settled usage: a chain of stages that can be thrown away and run again.

In the order of `chain`: whose a row is (`attribute`), what a running total adds (`running_totals`),
disjoint buckets (`normalize`), which rows are one call (`duplicates`), sums of calls and what they
leave (`sums`, `series`), a tool's totals against all that counts (`reconcile`), what is only a
lower bound (`bounds`). What backfill proved is put in last (`corrections`).
"""
