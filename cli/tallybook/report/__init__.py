"""Reports: what is asked (`query`), sums over the rows that answer (`sums`), and rows of them
(`summary`); what is wrong with the data (`problems`, `codes`) and why a report is incomplete
(`fields`).
"""
