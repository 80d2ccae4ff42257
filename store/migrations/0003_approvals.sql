-- What is asked and agreed of an apply's doubts, as JSON with their keys; empty where there is none. Column warned has the
-- sentence of those that were queued before; it is not written any more.
ALTER TABLE operations ADD COLUMN doubts TEXT NOT NULL DEFAULT '';

-- An approval is of one change for one danger: the older ones named an address alone, and are asked for again.
DROP TABLE unblocked;
CREATE TABLE unblocked (
    repository  BIGINT NOT NULL,
    environment TEXT   NOT NULL,
    head        TEXT   NOT NULL, -- of a pull request, or a candidate
    root        TEXT   NOT NULL,
    address     TEXT   NOT NULL,
    deposed     TEXT   NOT NULL, -- key of an object that a failed apply left behind
    rule        TEXT   NOT NULL,
    change      TEXT   NOT NULL, -- digest of what is approved
    who         TEXT   NOT NULL,
    comment     BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (repository, environment, head, root, address, deposed, rule, change, who)
);
