-- How the content of a delivered file is known again: agent/digest.py.
ALTER TABLE recordings RENAME COLUMN sha256 TO digest;

CREATE INDEX calls_long ON calls (ended) WHERE (ended_monotonic - started_monotonic) > 3600.0;
