-- What was found out for an attempt at an operation before its runner was started.
CREATE TABLE evidence (
    operation BIGINT NOT NULL REFERENCES operations (id),
    attempt   BIGINT NOT NULL,
    data      TEXT   NOT NULL,
    PRIMARY KEY (operation, attempt)
);

-- Each change that an apply made, with why it was there and who said yes. Rows are only ever added.
CREATE TABLE ledger (
    id           IDENTITY,
    at           BIGINT NOT NULL,
    repository   BIGINT NOT NULL,
    environment  TEXT   NOT NULL,
    root         TEXT   NOT NULL,
    operation    BIGINT NOT NULL REFERENCES operations (id),
    head         TEXT   NOT NULL,
    address      TEXT   NOT NULL,
    previous     TEXT   NOT NULL, -- address, where it moved
    change       TEXT   NOT NULL,
    approved_by  TEXT   NOT NULL,
    confirmed_by TEXT   NOT NULL,
    attempted    BIGINT NOT NULL -- the apply did not succeed: whether it made the change is not known
);
CREATE INDEX ledger_environment ON ledger (repository, environment, id);
CREATE INDEX ledger_address ON ledger (repository, address, id);
CREATE INDEX ledger_previous ON ledger (repository, previous, id) WHERE previous <> '';
CREATE INDEX ledger_operation ON ledger (operation);

-- The content of roots that was applied, for those who ask whether it was applied in an earlier stage.
CREATE TABLE contents (
    repository  BIGINT NOT NULL,
    environment TEXT   NOT NULL,
    root        TEXT   NOT NULL,
    content     TEXT   NOT NULL,
    head        TEXT   NOT NULL,
    operation   BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (repository, environment, root, content)
);

-- Who approved a change that the configuration blocks, for one commit: the head of a pull request, or a candidate.
CREATE TABLE unblocked (
    repository  BIGINT NOT NULL,
    environment TEXT   NOT NULL,
    head        TEXT   NOT NULL,
    address     TEXT   NOT NULL,
    who         TEXT   NOT NULL,
    comment     BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (repository, environment, head, address, who)
);

CREATE INDEX operations_head ON operations (repository, head);
CREATE INDEX commit_pulls_pull ON commit_pulls (repository, pull);
CREATE INDEX audit_operation ON audit (operation, id) WHERE operation <> 0;
