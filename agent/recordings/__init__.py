"""Recordings: watching for them, knowing when one is finished, what it is, and which call's."""
