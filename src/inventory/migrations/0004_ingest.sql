-- Which interface and which selection of fields last answered, and since when that is known.
ALTER TABLE site ADD COLUMN read_api TEXT;
ALTER TABLE site ADD COLUMN read_width TEXT;
ALTER TABLE site ADD COLUMN read_at TEXT;
-- An API key in the secret store: since when, and until when as a person said.
ALTER TABLE site ADD COLUMN api_key_since TEXT;
ALTER TABLE site ADD COLUMN api_key_expires TEXT;
-- A run may have been made with an API key, so without a generation; `target_at` is when the last one ended
-- that wrote where the configuration says. What the next `--since last` begins
-- from: the time, what it holds for (`scope`), and the rows of the overlap that were read already (`recent`).
CREATE TABLE run_new (
    site         TEXT NOT NULL,
    robot        TEXT NOT NULL,
    stream       TEXT NOT NULL,
    generation   INTEGER,
    records      INTEGER NOT NULL,
    complete     INTEGER NOT NULL,
    path         TEXT NOT NULL,
    at           TEXT NOT NULL,
    completed_at TEXT,
    target_at    TEXT,
    since        TEXT,
    scope        TEXT,
    recent       BLOB,
    PRIMARY KEY (site, robot, stream),
    FOREIGN KEY (site, robot, generation) REFERENCES credential (site, robot, generation)
) STRICT;
INSERT INTO run_new (site, robot, stream, generation, records, complete, path, at, completed_at, target_at)
    SELECT site, robot, stream, generation, records, complete, path, at, completed_at, at FROM run;
DROP TABLE run;
ALTER TABLE run_new RENAME TO run;
