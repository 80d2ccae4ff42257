-- Written for SQLite and PostgreSQL 15 alike. The column type in capitals that both lack is replaced by each one's own.
-- Times are unix milliseconds, 0 or NULL for never; truths are 0 and 1; JSON is text.

CREATE TABLE deliveries (
    guid         TEXT   NOT NULL PRIMARY KEY,
    event        TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    installation BIGINT NOT NULL,
    repository   BIGINT NOT NULL,
    payload      TEXT   NOT NULL,
    arrived      BIGINT NOT NULL
);
CREATE INDEX deliveries_arrived ON deliveries (arrived);

-- Of one key at most one job is waiting, resting or running; the others are behind it. So the next job to claim is the first row
-- of an index, however many jobs wait behind others or for their time.
CREATE TABLE jobs (
    id       IDENTITY,
    class    TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    key      TEXT   NOT NULL,
    lane     TEXT   NOT NULL,
    payload  TEXT   NOT NULL,
    cause    TEXT   NOT NULL,
    once     BIGINT NOT NULL,
    state    TEXT   NOT NULL CHECK (state IN ('behind', 'waiting', 'resting', 'running', 'dead')), -- a job that is done has no row
    turn     BIGINT NOT NULL, -- waiting: the order of claims, given when it began to wait; behind: the order in its key
    until    BIGINT NOT NULL, -- resting: when it waits again; running: when its lease ends; dead: when it was given up
    attempt  BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    worker   TEXT   NOT NULL,
    reason   TEXT   NOT NULL
);
CREATE UNIQUE INDEX jobs_first ON jobs (key) WHERE state IN ('waiting', 'resting', 'running');
CREATE INDEX jobs_behind ON jobs (key, turn) WHERE state = 'behind';
CREATE INDEX jobs_once ON jobs (key, kind) WHERE state IN ('behind', 'waiting', 'resting');
CREATE INDEX jobs_turn ON jobs (class, turn, id) WHERE state = 'waiting';
CREATE INDEX jobs_lane ON jobs (class, lane, turn) WHERE state = 'waiting';
CREATE INDEX jobs_until ON jobs (until, id) WHERE state IN ('resting', 'running');
CREATE INDEX jobs_dead ON jobs (until, id) WHERE state = 'dead';

-- The turn that a lane without waiting jobs begins with: one more than the highest that was claimed.
CREATE TABLE turns (
    class TEXT   NOT NULL PRIMARY KEY,
    next  BIGINT NOT NULL
);
INSERT INTO turns (class, next) VALUES ('quick', 1), ('long', 1), ('bots', 1);

CREATE TABLE operations (
    id           IDENTITY,
    kind         TEXT   NOT NULL,
    exclusive    BIGINT NOT NULL,
    repository   BIGINT NOT NULL,
    installation BIGINT NOT NULL,
    owner        TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    environment  TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    attempt      BIGINT NOT NULL,
    pull         BIGINT NOT NULL,
    pulls        TEXT   NOT NULL,
    branch       TEXT   NOT NULL,
    base         TEXT   NOT NULL,
    head         TEXT   NOT NULL,
    tree         TEXT   NOT NULL,
    roots        TEXT   NOT NULL,
    actor        TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    priority     BIGINT NOT NULL,
    confirmed    TEXT   NOT NULL,
    confirmed_by TEXT   NOT NULL DEFAULT '', -- login
    question     TEXT   NOT NULL,
    doubt        TEXT   NOT NULL,
    gathered_in  BIGINT NOT NULL,
    message      TEXT   NOT NULL,
    host         TEXT   NOT NULL, -- where the runner of this attempt is or was; empty before it is started
    launch       TEXT   NOT NULL DEFAULT '', -- names that start of a runner; empty before it
    delivery     TEXT   NOT NULL DEFAULT '', -- GUID of the webhook that led to it, or to the yes to it
    warned       TEXT   NOT NULL DEFAULT '', -- the doubt that it was queued with
    stop         BIGINT NOT NULL DEFAULT 0, -- somebody asked to stop this attempt, and something of it may be left
    arrived      BIGINT NOT NULL,
    started      BIGINT NOT NULL,
    ended        BIGINT NOT NULL,
    result       TEXT
);
CREATE INDEX operations_environment ON operations (repository, environment, id);
CREATE INDEX operations_open ON operations (repository, environment, id)
    WHERE state IN ('queued', 'running', 'unconfirmed');
CREATE INDEX operations_line ON operations (repository, environment, priority, arrived, id) WHERE exclusive = 1 AND state = 'queued';

CREATE INDEX operations_host ON operations (host) WHERE state = 'running' OR stop = 1;

-- The comments that asked for an apply, or said yes to one: each is taken once.
CREATE TABLE requests (
    repository BIGINT NOT NULL,
    comment    BIGINT NOT NULL,
    operation  BIGINT NOT NULL REFERENCES operations (id),
    PRIMARY KEY (repository, comment)
);

-- Attempts to deliver a webhook that failed and that GitHub was asked to make again.
CREATE TABLE redeliveries (
    delivery BIGINT NOT NULL PRIMARY KEY,
    arrived  BIGINT NOT NULL
);
CREATE INDEX redeliveries_arrived ON redeliveries (arrived);

-- The pull requests that an operation is shown on or carries, to be found by.
CREATE TABLE operation_pulls (
    repository BIGINT NOT NULL,
    pull       BIGINT NOT NULL,
    operation  BIGINT NOT NULL REFERENCES operations (id),
    PRIMARY KEY (repository, pull, operation)
);

CREATE TABLE holds (
    id          IDENTITY,
    repository  BIGINT NOT NULL,
    environment TEXT   NOT NULL,
    scope       TEXT   NOT NULL,
    operation   BIGINT NOT NULL REFERENCES operations (id),
    taken       BIGINT NOT NULL,
    released    BIGINT
);
CREATE UNIQUE INDEX holds_one ON holds (repository, environment, scope) WHERE released IS NULL;
CREATE INDEX holds_operation ON holds (operation) WHERE released IS NULL;

CREATE TABLE targets (
    repository  BIGINT NOT NULL,
    environment TEXT   NOT NULL,
    root        TEXT   NOT NULL,
    applied     TEXT   NOT NULL,
    baseline    TEXT   NOT NULL,
    lineage     TEXT   NOT NULL,
    serial      BIGINT NOT NULL,
    operation   BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (repository, environment, root)
);

CREATE TABLE repositories (
    id             BIGINT NOT NULL PRIMARY KEY,
    installation   BIGINT NOT NULL,
    owner          TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    default_branch TEXT   NOT NULL
);

CREATE TABLE branches (
    repository BIGINT NOT NULL,
    branch     TEXT   NOT NULL,
    sha        TEXT   NOT NULL,
    PRIMARY KEY (repository, branch)
);

CREATE TABLE pulls (
    repository BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    head       TEXT   NOT NULL,
    data       TEXT   NOT NULL,
    PRIMARY KEY (repository, number)
);
CREATE INDEX pulls_head ON pulls (repository, head);

CREATE TABLE commit_pulls (
    repository BIGINT NOT NULL,
    sha        TEXT   NOT NULL,
    pull       BIGINT NOT NULL,
    PRIMARY KEY (repository, sha)
);

CREATE TABLE surfaces (
    id            IDENTITY,
    repository    BIGINT NOT NULL,
    installation  BIGINT NOT NULL,
    owner         TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    key           TEXT   NOT NULL,
    kind          TEXT   NOT NULL,
    priority      BIGINT NOT NULL,
    wanted        TEXT   NOT NULL,
    version       BIGINT NOT NULL,
    written       BIGINT NOT NULL, -- the version that GitHub shows
    claimed       BIGINT NOT NULL, -- the version that is written or being written
    claim         BIGINT NOT NULL, -- fence: rises with each claim
    claimed_until BIGINT NOT NULL,
    external      TEXT   NOT NULL,
    not_before    BIGINT NOT NULL, -- the wish of who wants it
    retry_at      BIGINT NOT NULL, -- imposed by a failed write
    due           BIGINT NOT NULL, -- the latest of not_before, retry_at and claimed_until
    attempts      BIGINT NOT NULL,
    problem       TEXT   NOT NULL,
    UNIQUE (repository, key)
);
CREATE INDEX surfaces_due ON surfaces (priority, due, id, installation) WHERE version > written;

CREATE TABLE audit (
    id          IDENTITY,
    at          BIGINT NOT NULL,
    repository  BIGINT NOT NULL,
    environment TEXT   NOT NULL,
    who         TEXT   NOT NULL,
    what        TEXT   NOT NULL,
    why         TEXT   NOT NULL,
    delivery    TEXT   NOT NULL,
    operation   BIGINT NOT NULL
);
CREATE INDEX audit_trail ON audit (repository, environment, id);
CREATE INDEX audit_repository ON audit (repository, id);

CREATE TABLE replicas (
    id      TEXT   NOT NULL PRIMARY KEY,
    name    TEXT   NOT NULL,
    started BIGINT NOT NULL,
    seen    BIGINT NOT NULL
);
