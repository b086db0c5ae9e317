"""How each provider counts: raw usage objects to counts, and which count lies inside which.

`usage.read_usage` reads a usage object, `responses.find_usage` finds one in a whole response
together with the model, ids, tier and time, `streams.merge_stream` makes a whole response of a
stream's events, `streams.restated` one usage object of an earlier and a later one. `usage.left_out`
gives the calls within an answer that its usage does not count.
"""
