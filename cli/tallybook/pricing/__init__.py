"""What calls cost: dated list prices, name resolution and the stage that adds the cost columns.

A name of a log leads to an entry of the list (`names`, `spellings`), the entry and how the call was
served to its rates at all times (`tariff`, `rules`, `price_file`), time and prompt to the rates and
the price tier of one call (`in_force`), and these to its cost (`cost`). The list is made flat once
(`build`, `corrections`, `table`) and kept (`rates`).
"""
