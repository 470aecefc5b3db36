-- How the content of a delivered file is known again: agent/digest.py.
ALTER TABLE recordings RENAME COLUMN sha256 TO digest;
