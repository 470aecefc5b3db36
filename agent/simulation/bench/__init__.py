"""The bench: the agent measured against what a user would pick instead, and against its targets.

`figures.py` says what a measured number is, `daemon.py` runs the agent and reads what it used,
`peers.py` the others; one file a row of the table; `command.py` puts them together.
"""
