-- The workflow run of each attempt that one carries out.
CREATE TABLE runs (
    operation  BIGINT NOT NULL REFERENCES operations (id),
    attempt    BIGINT NOT NULL,
    launch     TEXT   NOT NULL,
    repository BIGINT NOT NULL,
    task       TEXT   NOT NULL,
    run        BIGINT NOT NULL, -- GitHub's id; 0 until it is known
    url        TEXT   NOT NULL,
    head       TEXT   NOT NULL, -- as it was first seen; empty until then
    said       TEXT   NOT NULL,
    hint       BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (operation, attempt, launch)
);
CREATE INDEX runs_run ON runs (repository, run) WHERE run <> 0;
