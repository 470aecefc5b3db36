"""The simulated parts: a platform, a board on a pseudo-terminal, a recorder, and the demo.

Nothing of the agent imports these rooms. They know the wire formats and nothing else, so that what
they check is checked by another reader of the same documents.
"""
