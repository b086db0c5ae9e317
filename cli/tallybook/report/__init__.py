"""Reports: what is asked (`query`), which rows answer (`selection`), sums of them (`summary`)."""
