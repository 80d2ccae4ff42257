-- What is wanted of locks, and what waits for a second word.
ALTER TABLE operations ADD COLUMN lock_request TEXT NOT NULL DEFAULT '';
CREATE TABLE confirmations (
    repository  BIGINT NOT NULL,
    code        TEXT   NOT NULL,
    command     TEXT   NOT NULL, -- that the code confirms
    environment TEXT   NOT NULL,
    root        TEXT   NOT NULL,
    operation   BIGINT NOT NULL, -- that was explained
    attempt     BIGINT NOT NULL, -- of it
    number      BIGINT NOT NULL, -- of the issue or pull request
    comment     BIGINT NOT NULL, -- that asked
    who         TEXT   NOT NULL, -- who asked
    two         BIGINT NOT NULL, -- another person has to confirm
    asked       BIGINT NOT NULL,
    expires     BIGINT NOT NULL,
    taken       BIGINT NOT NULL, -- comment that confirmed; 0 until then
    taken_by    TEXT   NOT NULL,
    PRIMARY KEY (repository, code)
);
-- Answers to /cancel that say when it is done.
CREATE TABLE stop_answers (
    operation   BIGINT NOT NULL,
    repository  BIGINT NOT NULL,
    comment     BIGINT NOT NULL,
    number      BIGINT NOT NULL,
    environment TEXT   NOT NULL,
    who         TEXT   NOT NULL,
    PRIMARY KEY (operation, comment)
);
CREATE INDEX stop_answers_comment ON stop_answers (repository, comment);
CREATE INDEX operations_left ON operations (ended) WHERE exclusive = 1 AND state IN ('interrupted', 'cancelled', 'failed');
