-- Times are RFC 3339 in UTC with milliseconds; fingerprints are lower-case
-- hex. No secret is ever stored: `secret` is the name of a slot.

CREATE TABLE store (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    id         TEXT NOT NULL,
    kind       TEXT CHECK (kind IN ('keyring', 'sealed')),
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE site (
    name          TEXT PRIMARY KEY,
    epoch         INTEGER NOT NULL DEFAULT 0,
    token_since   TEXT,
    server_pin    TEXT,
    server_pin_at TEXT,
    server_time   TEXT,
    clock_skew_ms INTEGER,
    probe         TEXT,
    can_list      INTEGER,
    can_remove    INTEGER,
    control       TEXT,
    control_at    TEXT
) STRICT;

CREATE TABLE robot (
    site            TEXT NOT NULL REFERENCES site (name),
    name            TEXT NOT NULL,
    base_name       TEXT NOT NULL,
    role            TEXT NOT NULL,
    endpoint        TEXT NOT NULL,
    origin          TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    last_promotion  TEXT,
    last_generation INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (site, name)
) STRICT;

CREATE TABLE credential (
    site            TEXT NOT NULL,
    robot           TEXT NOT NULL,
    generation      INTEGER NOT NULL CHECK (generation > 0),
    state           TEXT NOT NULL,
    changed_at      TEXT NOT NULL,
    reason          TEXT,
    registered_name TEXT NOT NULL,
    role            TEXT NOT NULL,
    secret          TEXT NOT NULL UNIQUE,
    key_algorithm   TEXT NOT NULL,
    profile         TEXT NOT NULL,
    certificate     BLOB,
    fingerprint     TEXT,
    tries           INTEGER,
    tried_at        TEXT,
    control         TEXT,
    remote_id       TEXT,
    keyed_at        TEXT,
    promoted_at     TEXT,
    proven_at       TEXT,
    delivery        TEXT NOT NULL,
    retire_after    TEXT,
    PRIMARY KEY (site, robot, generation),
    FOREIGN KEY (site, robot) REFERENCES robot (site, name)
) STRICT;

CREATE UNIQUE INDEX one_active ON credential (site, robot) WHERE state = 'active';
CREATE UNIQUE INDEX one_pending ON credential (site, robot)
    WHERE state IN ('planned', 'keyed', 'sending', 'registered');

CREATE TABLE delivery (
    site       TEXT NOT NULL,
    robot      TEXT NOT NULL,
    dir        TEXT NOT NULL,
    generation INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    at         TEXT NOT NULL,
    PRIMARY KEY (site, robot, dir),
    FOREIGN KEY (site, robot, generation) REFERENCES credential (site, robot, generation)
) STRICT;

CREATE TABLE attention (
    site    TEXT NOT NULL,
    robot   TEXT NOT NULL,
    code    TEXT NOT NULL,
    message TEXT NOT NULL,
    hint    TEXT,
    since   TEXT NOT NULL,
    PRIMARY KEY (site, robot, code)
) STRICT;

CREATE TABLE run (
    site         TEXT NOT NULL,
    robot        TEXT NOT NULL,
    stream       TEXT NOT NULL,
    generation   INTEGER NOT NULL,
    records      INTEGER NOT NULL,
    complete     INTEGER NOT NULL,
    path         TEXT NOT NULL,
    at           TEXT NOT NULL,
    completed_at TEXT,
    PRIMARY KEY (site, robot, stream),
    FOREIGN KEY (site, robot, generation) REFERENCES credential (site, robot, generation)
) STRICT;

CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    at         TEXT NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    site       TEXT,
    robot      TEXT,
    generation INTEGER,
    detail     TEXT NOT NULL,
    prev       TEXT NOT NULL,
    hash       TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END;
