-- What was said to each job that waited for a word on its GitHub Environment.
CREATE TABLE gates (
    repository  BIGINT NOT NULL,
    run         BIGINT NOT NULL, -- GitHub's id
    attempt     BIGINT NOT NULL, -- of the run
    environment TEXT   NOT NULL, -- of GitHub, in small letters
    name        TEXT   NOT NULL, -- the same as GitHub writes it
    answer      TEXT   NOT NULL, -- approved, rejected, or over; empty while it waits
    said        TEXT   NOT NULL, -- the newest report while it waited
    reports     BIGINT NOT NULL,
    misses      BIGINT NOT NULL, -- how often since the last answer GitHub had nothing that waited
    at          BIGINT NOT NULL, -- of the newest change
    PRIMARY KEY (repository, run, attempt, environment)
);
CREATE INDEX gates_at ON gates (at);
CREATE INDEX runs_operation ON runs (repository, operation, attempt);
