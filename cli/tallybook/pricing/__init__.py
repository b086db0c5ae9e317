"""What calls cost: dated list prices, name resolution and the stage that adds the cost columns.

A name of a log leads to an entry of the list (`names`, `spellings`), the entry and how the call was
served to its rates at all times and in every price tier (`tariff`, `rules`, `price_file`), its time
and prompt to those in force (`in_force`, for other media `media`), and these to its cost (`cost`).
The list is made flat once (`build`, `passed_on`, `corrections`, `table`) and kept (`rates`).
"""
