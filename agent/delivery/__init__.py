"""Delivery: what to send next, what an answer means, when to try again.

`lane.py` is the way that an item goes, `records.py` and `recordings.py` are the two lanes,
`outcomes.py` is the table of what failures mean, `gate.py` the breaker that all share.
"""
