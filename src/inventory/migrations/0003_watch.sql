-- What is done for a site by schedule, and how it last went: kept so that its back-off outlives a restart.
CREATE TABLE task (
    site       TEXT NOT NULL,
    task       TEXT NOT NULL,
    at         TEXT NOT NULL,
    success_at TEXT,
    tries      INTEGER NOT NULL,
    after      TEXT,
    failures   INTEGER NOT NULL,
    code       TEXT,
    message    TEXT,
    PRIMARY KEY (site, task)
) STRICT;

-- What a person was last told of a robot by the hook of an event: each thing is told once.
CREATE TABLE told (
    site  TEXT NOT NULL,
    robot TEXT NOT NULL,
    event TEXT NOT NULL,
    what  TEXT NOT NULL,
    at    TEXT NOT NULL,
    PRIMARY KEY (site, robot, event)
) STRICT;
ALTER TABLE robot DROP COLUMN told_at;
