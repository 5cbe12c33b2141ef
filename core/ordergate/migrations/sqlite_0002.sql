-- Schema 2: one trigger reads the JSON of a decision, orders and journal have no index by time, an account is found in one
-- step.
-- It follows sqlite_0001.sql, in a new file and in one of an older ordergate. There the tables are folded anew from the
-- journal: its rows are put into the new one as they are, in the order in which they were written. The program turns
-- foreign keys off for it and verifies the whole ledger before it commits.

DROP TRIGGER journal_keeps;
DROP TRIGGER journal_stays;
DROP TRIGGER journal_advances;
DROP TRIGGER journal_binds;
DROP TRIGGER journal_decides;
DROP TRIGGER journal_hears;
DROP TRIGGER journal_settles;
DROP TRIGGER journal_halts;
DROP INDEX account_identity;
DROP INDEX journal_key;
DROP INDEX journal_at;
DROP TABLE orders;
ALTER TABLE account RENAME TO account_1;
ALTER TABLE journal RENAME TO journal_1;

CREATE TABLE account (
    name       TEXT PRIMARY KEY NOT NULL,
    identity   TEXT,                              -- what the venue calls these funds
    version    INTEGER NOT NULL DEFAULT 0,        -- moves whenever what a buy is judged on moves
    settlement INTEGER NOT NULL DEFAULT 0,        -- moves whenever a reservation is given up
    trading    TEXT    NOT NULL DEFAULT 'active' CHECK (trading IN ('active', 'exits_only')),
    seq        INTEGER NOT NULL DEFAULT 0,        -- last journal row of this account
    head       TEXT    NOT NULL DEFAULT ''        -- its hash
) STRICT, WITHOUT ROWID;

-- Two names for the same funds would each have the whole cap.
CREATE UNIQUE INDEX account_identity ON account (identity) WHERE identity IS NOT NULL;

-- Versions go on from where they were: what was judged on one must never find it again.
INSERT INTO account (name, version) SELECT name, version + 1 FROM account_1;

-- Its rowid is the order in which rows were written.
CREATE TABLE journal (
    account TEXT    NOT NULL REFERENCES account (name),
    seq     INTEGER NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('bound', 'decision', 'receipt', 'settled', 'trading', 'alarm', 'note')),
    at      REAL    NOT NULL,
    key     TEXT,                                 -- what must not be recorded twice
    body    TEXT    NOT NULL,                     -- canonical JSON
    hash    TEXT    NOT NULL,                     -- of the row and its predecessor (ordergate.journal.link)
    PRIMARY KEY (account, seq)
) STRICT;

CREATE UNIQUE INDEX journal_key ON journal (account, key) WHERE key IS NOT NULL;

-- Only triggers write here.
CREATE TABLE orders (
    account         TEXT    NOT NULL,
    client_order_id TEXT    NOT NULL,
    seq             INTEGER NOT NULL,             -- the journal row of its decision
    at              REAL    NOT NULL,
    digest          TEXT    NOT NULL,             -- of the order as asked: the same id with another digest is an error
    is_exit         INTEGER NOT NULL,
    symbol          TEXT    NOT NULL,
    wire_id         TEXT,                         -- null when nothing was ever to be sent
    send_by         REAL,
    status          TEXT    NOT NULL,             -- an order status, or 'sending' until the first receipt
    final           INTEGER NOT NULL,             -- 1: the venue will not change it any more
    receipt_seq     INTEGER,
    receipt_at      REAL,
    live            INTEGER NOT NULL,             -- 1: its reservation still counts
    reservation     TEXT,                         -- JSON
    PRIMARY KEY (account, client_order_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX orders_wire ON orders (account, wire_id) WHERE wire_id IS NOT NULL;
CREATE INDEX orders_open ON orders (account) WHERE live = 1 OR final = 0;

CREATE TRIGGER journal_keeps BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TRIGGER journal_stays BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TRIGGER journal_advances AFTER INSERT ON journal
BEGIN
    UPDATE account SET
        seq = NEW.seq,
        head = NEW.hash,
        version = version + (NEW.kind IN ('bound', 'settled', 'trading')),
        settlement = settlement + (NEW.kind = 'settled')
    WHERE name = NEW.account;
END;

CREATE TRIGGER journal_binds AFTER INSERT ON journal WHEN NEW.kind = 'bound'
BEGIN
    SELECT RAISE(ABORT, 'the account is bound to other funds')
    FROM account WHERE name = NEW.account AND identity IS NOT NULL;
    UPDATE account SET identity = json_extract(NEW.body, '$.identity') WHERE name = NEW.account;
END;

CREATE TRIGGER journal_decides AFTER INSERT ON journal WHEN NEW.kind = 'decision'
BEGIN
    INSERT INTO orders (account, client_order_id, seq, at, digest, is_exit, symbol, wire_id, send_by, status, final,
                        live, reservation)
    VALUES (NEW.account, json_extract(NEW.body, '$.client_order_id'), NEW.seq, NEW.at,
            json_extract(NEW.body, '$.digest'), json_extract(NEW.body, '$.is_exit'), json_extract(NEW.body, '$.symbol'),
            json_extract(NEW.body, '$.venue_order.client_order_id'), json_extract(NEW.body, '$.venue_order.send_by'),
            CASE WHEN json_extract(NEW.body, '$.venue_order') IS NULL THEN 'refused' ELSE 'sending' END,
            json_extract(NEW.body, '$.venue_order') IS NULL,
            json_extract(NEW.body, '$.reservation') IS NOT NULL,
            json_extract(NEW.body, '$.reservation'));
END;

CREATE TRIGGER orders_reserve AFTER INSERT ON orders WHEN NEW.live = 1
BEGIN
    UPDATE account SET version = version + 1 WHERE name = NEW.account;
END;

CREATE TRIGGER journal_hears AFTER INSERT ON journal WHEN NEW.kind = 'receipt'
BEGIN
    UPDATE orders SET
        status = json_extract(NEW.body, '$.status'),
        final = json_extract(NEW.body, '$.status') IN ('filled', 'cancelled', 'expired', 'rejected'),
        receipt_seq = NEW.seq,
        receipt_at = NEW.at
    WHERE account = NEW.account AND client_order_id = json_extract(NEW.body, '$.client_order_id') AND final = 0;
    UPDATE account SET version = version + 1
    WHERE name = NEW.account AND json_extract(NEW.body, '$.status') = 'unknown';
END;

CREATE TRIGGER journal_settles AFTER INSERT ON journal WHEN NEW.kind = 'settled'
BEGIN
    UPDATE orders SET live = 0
    WHERE account = NEW.account
      AND client_order_id IN (SELECT value FROM json_each(NEW.body, '$.gone'));
END;

-- A halt of everything, kept under the name '*', moves every account's version: no decision made before it can land after it.
CREATE TRIGGER journal_halts AFTER INSERT ON journal WHEN NEW.kind = 'trading'
BEGIN
    UPDATE account SET trading = json_extract(NEW.body, '$.trading') WHERE name = NEW.account;
    UPDATE account SET version = version + 1 WHERE NEW.account = '*' AND name <> '*';
END;

-- A row together with the texts that it names and that are not there yet: one statement, one commit.
CREATE VIEW decision AS SELECT *, NULL AS facts, NULL AS setup FROM journal WHERE kind = 'decision';

CREATE TRIGGER decision_brings INSTEAD OF INSERT ON decision
BEGIN
    INSERT OR IGNORE INTO content SELECT NEW.account, json_extract(NEW.body, '$.facts'), NEW.facts
    WHERE NEW.facts IS NOT NULL;
    INSERT OR IGNORE INTO content SELECT NEW.account, json_extract(NEW.body, '$.setup'), NEW.setup
    WHERE NEW.setup IS NOT NULL;
    INSERT INTO journal VALUES (NEW.account, NEW.seq, NEW.kind, NEW.at, NEW.key, NEW.body, NEW.hash);
END;

INSERT INTO journal SELECT account, seq, kind, at, key, body, hash FROM journal_1 ORDER BY rowid;
DROP TABLE journal_1;
DROP TABLE account_1;
