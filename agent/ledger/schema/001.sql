-- All that must survive a power cut. Wall times are UNIX seconds; monotonic ones count in the boot
-- that stands beside them. `due` is monotonic seconds of the boot in meta('boot'); 0 is at once.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

-- A call, from its first ring or going off hook. Its id is the record's `id` (PROTOCOL.md 2.2).
CREATE TABLE calls (
    id                   INTEGER PRIMARY KEY,
    board                INTEGER NOT NULL,
    channel              INTEGER NOT NULL,
    direction            TEXT NOT NULL,
    phone                TEXT NOT NULL,
    started              REAL NOT NULL,
    started_monotonic    REAL NOT NULL,
    answered             REAL,
    answered_monotonic   REAL,
    ended                REAL,
    ended_monotonic      REAL,
    heard                REAL NOT NULL,    -- the last moment at which it was known to go on
    heard_monotonic      REAL NOT NULL,
    boot                 TEXT NOT NULL,
    clock_trusted        INTEGER NOT NULL, -- 0: its wall times wait for correction
    clock_offset         REAL NOT NULL DEFAULT 0, -- seconds by which they have been corrected
    found_over           REAL,             -- it ended while the agent was down; then it was found so
    source               TEXT NOT NULL,    -- board, or recording: told by a file alone
    told_start           INTEGER           -- the second of its start as its record says
);
CREATE INDEX calls_open ON calls (board, channel) WHERE ended IS NULL;
CREATE INDEX calls_told ON calls (channel, direction, told_start) WHERE told_start IS NOT NULL;
CREATE INDEX calls_by_end ON calls (ended);
CREATE INDEX calls_found_over ON calls (found_over) WHERE found_over IS NOT NULL;
CREATE INDEX calls_unset ON calls (boot, ended - clock_offset)
    WHERE ended - clock_offset < 1704067200.0; -- its clock was never set (agent/clock.py)
CREATE INDEX calls_jumped ON calls (started)
    WHERE abs(ended - started - (ended_monotonic - started_monotonic)) > 2.0; -- its clock was set
CREATE INDEX calls_corrected ON calls (ended - clock_offset) WHERE clock_offset != 0;

-- A finished file, known by path, size and modification time.
CREATE TABLE recordings (
    id           INTEGER PRIMARY KEY,
    path         BLOB NOT NULL,            -- below the recording directory, as the system's bytes
    size         INTEGER NOT NULL,
    modified_ns  INTEGER NOT NULL,
    verdict      TEXT NOT NULL,
    reason       TEXT NOT NULL,
    container    TEXT,
    duration     REAL,
    call_id      INTEGER REFERENCES calls (id),
    sha256       TEXT,
    found        REAL NOT NULL,
    removed      REAL,                     -- when its file was deleted after its delivery
    UNIQUE (path, size, modified_ns)
);
CREATE INDEX recordings_of_call ON recordings (call_id);

-- What stands between an item and a target; an item is a call's record or a recording.
CREATE TABLE deliveries (
    item_id     INTEGER NOT NULL,
    target      TEXT NOT NULL,
    kind        TEXT NOT NULL,             -- record, recording
    state       TEXT NOT NULL,
    waiting     INTEGER NOT NULL,          -- 1: not delivered yet, and meant to be
    sendable    INTEGER NOT NULL,          -- 1: waits for nothing but its time
    due         REAL NOT NULL DEFAULT 0,
    bytes       INTEGER NOT NULL DEFAULT 0,
    refusals    INTEGER NOT NULL DEFAULT 0,
    trouble     TEXT NOT NULL DEFAULT '',
    body        BLOB,                      -- of a record: frozen when first sent
    callid      TEXT,                      -- of a record: the platform's answer
    since       REAL NOT NULL,             -- wall time at which it began to wait
    done        REAL,                      -- wall time of the platform's acceptance
    PRIMARY KEY (item_id, target)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (kind, target, (refusals > 0), due, item_id)
    WHERE sendable = 1;
-- Covers the status file's figures, so that a large backlog costs one walk over a narrow index
-- (without the column `waiting` in it, SQLite would look each row up all the same).
CREATE INDEX deliveries_waiting ON deliveries (kind, target, since, bytes, waiting) WHERE waiting = 1;
CREATE INDEX deliveries_refused ON deliveries (target, refusals) WHERE refusals > 0 AND waiting = 1;
CREATE INDEX deliveries_without_call ON deliveries (due) WHERE state = 'waiting for its call';
CREATE INDEX deliveries_kept ON deliveries (target, since) WHERE state = 'kept, not sent';
CREATE INDEX deliveries_missing ON deliveries (target, since) WHERE state = 'its file is missing';
CREATE INDEX deliveries_done ON deliveries (kind, done) WHERE done IS NOT NULL;

-- What the platform asked for: a call to place, a function to run.
CREATE TABLE errands (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,             -- dial, function
    entry       TEXT NOT NULL,             -- the entry's key, by which it is known again
    source      TEXT NOT NULL,             -- the command that listed it
    board       INTEGER,
    channel     INTEGER,
    phone       TEXT NOT NULL DEFAULT '',
    name        TEXT NOT NULL DEFAULT '',
    parameters  TEXT NOT NULL DEFAULT '[]',
    state       TEXT NOT NULL,
    outcome     TEXT NOT NULL DEFAULT '',
    created     REAL NOT NULL,
    created_monotonic REAL NOT NULL,
    boot        TEXT NOT NULL,
    expires     REAL NOT NULL,             -- monotonic seconds, as `due`
    changed     REAL NOT NULL
);
CREATE INDEX errands_by_state ON errands (kind, state);
CREATE INDEX errands_by_entry ON errands (entry);
