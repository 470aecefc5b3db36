-- Each step of a call writes few pages: a delivery's row lies in a page of its own order whatever
-- its record says, and one index serves both what is due and what waits.

DROP INDEX calls_open;
CREATE INDEX calls_open ON calls (ended) WHERE ended IS NULL;
DROP INDEX calls_by_end;
CREATE INDEX calls_by_end ON calls (ended) WHERE ended IS NOT NULL;

CREATE TABLE deliveries_as_they_were AS SELECT * FROM deliveries;
DROP TABLE deliveries;

-- What stands between an item and a target; an item is a call's record or a recording.
CREATE TABLE deliveries (
    item_id     INTEGER NOT NULL,
    target      TEXT NOT NULL,
    kind        TEXT NOT NULL,             -- record, recording
    state       TEXT NOT NULL,
    waiting     INTEGER NOT NULL,          -- 1: not delivered yet, and meant to be
    sendable    INTEGER NOT NULL,          -- 1: waits for nothing but its time; then it is waiting
    due         REAL NOT NULL DEFAULT 0,
    bytes       INTEGER NOT NULL DEFAULT 0,
    refusals    INTEGER NOT NULL DEFAULT 0,
    trouble     TEXT NOT NULL DEFAULT '',
    body        BLOB,                      -- of a record: frozen before it is first sent
    callid      TEXT,                      -- of a record: the platform's answer
    since       REAL NOT NULL,             -- wall time at which it began to wait
    done        REAL,                      -- wall time of the platform's acceptance
    PRIMARY KEY (item_id, target)
);
INSERT INTO deliveries SELECT * FROM deliveries_as_they_were ORDER BY item_id, target;
DROP TABLE deliveries_as_they_were;

-- In its order the next item is found; and it covers the status file's figures, so that a large
-- backlog costs one walk over a narrow index (without the column `waiting` in it, SQLite would look
-- each row up all the same).
CREATE INDEX deliveries_waiting ON deliveries
    (kind, target, sendable, (refusals > 0), due, item_id, since, bytes, waiting) WHERE waiting = 1;
CREATE INDEX deliveries_refused ON deliveries (target, refusals) WHERE refusals > 0 AND waiting = 1;
CREATE INDEX deliveries_without_call ON deliveries (due) WHERE state = 'waiting for its call';
CREATE INDEX deliveries_kept ON deliveries (target, since) WHERE state = 'kept, not sent';
CREATE INDEX deliveries_missing ON deliveries (target, since) WHERE state = 'its file is missing';
CREATE INDEX deliveries_done ON deliveries (done, item_id)
    WHERE kind = 'recording' AND done IS NOT NULL;
