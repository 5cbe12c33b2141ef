-- The ledger is a fold of its journal, as in sqlite_0001.sql: every change is one call of ledger_append, which takes the
-- account's row lock first, inserts one row into the journal and keeps the tables that are read on the order path.
-- Amounts are text; moments are seconds since the epoch. Every table and every unique index that belongs to an account
-- holds its name, so that all of it can be spread over machines by account; what must be unique over all accounts stands
-- in a small table of its own (funds). Names compare by their bytes, whatever the database's own order is.

-- One row: what tells this ledger from one that later stands in its place, and which of these scripts have been run.
CREATE TABLE ledger (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    id     text    NOT NULL,
    schema integer NOT NULL
);

CREATE TABLE account (
    name        text COLLATE "C" PRIMARY KEY,
    identity    text,                              -- what the venue calls these funds
    version     bigint NOT NULL DEFAULT 0,         -- moves whenever what a buy is judged on moves
    settlement  bigint NOT NULL DEFAULT 0,         -- moves whenever a reservation is given up
    trading     text   NOT NULL DEFAULT 'active' CHECK (trading IN ('active', 'exits_only')),
    trading_seq bigint,                            -- the journal row that said so
    seq         bigint NOT NULL DEFAULT 0,         -- last journal row of this account
    head        text   NOT NULL DEFAULT ''         -- its hash
);

-- Two names for the same funds would each have the whole cap.
CREATE TABLE funds (
    identity text PRIMARY KEY,
    account  text NOT NULL
);

-- Which process may send buys for an account. Times are the database's own.
CREATE TABLE lease (
    account text COLLATE "C" PRIMARY KEY,
    epoch   bigint      NOT NULL,
    holder  text        NOT NULL,
    until   timestamptz NOT NULL
);

CREATE TABLE journal (
    account text COLLATE "C"  NOT NULL,
    seq     bigint           NOT NULL,
    kind    text             NOT NULL
        CHECK (kind IN ('bound', 'decision', 'receipt', 'settled', 'trading', 'alarm', 'note')),
    at      double precision NOT NULL,
    key     text,                                  -- what must not be recorded twice
    body    text             NOT NULL,             -- canonical JSON
    hash    text             NOT NULL,
    token   text             NOT NULL,             -- of the call that wrote it: whose row it is when the answer was lost
    PRIMARY KEY (account, seq)
);

CREATE UNIQUE INDEX journal_key ON journal (account, key) WHERE key IS NOT NULL;
-- A call whose answer was lost and which was made again may still be done by the server, after the second one.
CREATE UNIQUE INDEX journal_token ON journal (account, token) WHERE key IS NULL;
CREATE INDEX journal_at ON journal (at);

-- What decisions were made on, stored once per content and named by its hash.
CREATE TABLE content (
    account text COLLATE "C" NOT NULL,
    hash    text COLLATE "C" NOT NULL,
    body    text NOT NULL,
    PRIMARY KEY (account, hash)
);

CREATE TABLE orders (
    account         text COLLATE "C" NOT NULL,
    client_order_id text COLLATE "C" NOT NULL,
    seq             bigint           NOT NULL,     -- the journal row of its decision
    at              double precision NOT NULL,
    digest          text             NOT NULL,     -- of the order as asked: the same id with another digest is an error
    is_exit         boolean          NOT NULL,
    symbol          text             NOT NULL,
    wire_id         text COLLATE "C",              -- null when nothing was ever to be sent
    send_by         double precision,
    status          text             NOT NULL,     -- an order status, or 'sending' until the first receipt
    final           boolean          NOT NULL,     -- the venue will not change it any more
    receipt_seq     bigint,
    receipt_at      double precision,
    live            boolean          NOT NULL,     -- its reservation still counts
    reservation     text,                          -- JSON
    PRIMARY KEY (account, client_order_id)
);

CREATE UNIQUE INDEX orders_wire ON orders (account, wire_id) WHERE wire_id IS NOT NULL;
CREATE INDEX orders_open ON orders (account) WHERE live OR NOT final;  -- as the state asks for them, with one look
CREATE INDEX orders_at ON orders (account, at);

CREATE FUNCTION journal_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only';
END $$;

CREATE TRIGGER journal_keeps BEFORE UPDATE OR DELETE ON journal FOR EACH ROW EXECUTE FUNCTION journal_stands();
CREATE TRIGGER journal_stays BEFORE TRUNCATE ON journal FOR EACH STATEMENT EXECUTE FUNCTION journal_stands();

-- ordergate.journal.link, to the letter. Texts have their characters counted, moments come as Python writes them.
CREATE FUNCTION journal_link(previous text, account text, seq bigint, kind text, at text, key text, body text)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(
        length(previous) || ':' || previous
        || length(account) || ':' || account
        || length(seq::text) || ':' || seq::text
        || length(kind) || ':' || kind
        || length(at) || ':' || at
        || length(coalesce(key, '')) || ':' || coalesce(key, '')
        || length(body) || ':' || body, 'UTF8')), 'hex')
$$;

-- JSON may name characters that no text of this database can hold. Only for reading values out of it, they become
-- U+FFFD; the journal keeps the body as it is.
CREATE FUNCTION journal_json(body text) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF strpos(body, '\u') = 0 THEN
        RETURN body::json;
    END IF;
    BEGIN
        PERFORM body::json ->> 'kind';
        RETURN body::json;
    EXCEPTION WHEN untranslatable_character OR invalid_text_representation THEN
        RETURN regexp_replace(body, '\\u(0000|d[89a-f][0-9a-f]{2})', '\\ufffd', 'g')::json;
    END;
END $$;

-- Add one row and return its number. Null: the caller judged on an account that has moved since, or that another process
-- may send for now. Raises unique_violation for a key that stands, OG001 for a journal shorter than the caller has seen.
--
-- asked_at is the moment as Python writes it, for the hash. seen is the last row the caller knows to be there. again:
-- the caller asked before and lost the answer; if its row stands, that is the answer. judged_version and
-- judged_settlement are null for what is not judged, judged_epoch for what is not fenced.
CREATE FUNCTION ledger_append(
    named text, row_kind text, row_at double precision, asked_at text, row_key text, row_body text,
    row_token text, seen bigint, again boolean,
    judged_version bigint, judged_settlement bigint,
    judged_epoch bigint, sender text, lease_seconds double precision
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    was      account%ROWTYPE;
    held     record;
    number   bigint;
    linked   text;
    told     json;
    decided  record;
    heard    record;
    moves    boolean := false;
    settles  boolean := false;
    funds_of text;
    state_of text;
BEGIN
    SELECT * INTO was FROM account AS a WHERE a.name = named FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO account (name) VALUES (named) ON CONFLICT DO NOTHING;
        SELECT * INTO was FROM account AS a WHERE a.name = named FOR NO KEY UPDATE;
    END IF;

    IF was.seq < seen THEN
        RAISE EXCEPTION 'row % of account % was there, and the journal ends at row %', seen, named, was.seq
            USING ERRCODE = 'OG001';
    END IF;
    IF again THEN
        SELECT j.seq INTO number FROM journal AS j WHERE j.account = named AND j.seq > seen AND j.token = row_token;
        IF FOUND THEN
            RETURN number;
        END IF;
    END IF;
    IF judged_version IS NOT NULL AND (was.version, was.settlement) <> (judged_version, judged_settlement) THEN
        PERFORM set_config('synchronous_commit', 'off', true);  -- nothing but a row lock: it is worth no flush
        RETURN NULL;
    END IF;

    IF judged_epoch IS NOT NULL THEN
        SELECT l.epoch, l.holder = sender AS ours, l.until > clock_timestamp() AS alive
            INTO held FROM lease AS l WHERE l.account = named;
        IF coalesce(held.epoch, 0) <> judged_epoch OR (held.alive AND NOT held.ours) THEN
            RETURN NULL;
        END IF;
        INSERT INTO lease VALUES (named, 1, sender, clock_timestamp() + make_interval(secs => lease_seconds))
            ON CONFLICT (account) DO UPDATE
            SET epoch = lease.epoch + CASE WHEN lease.holder = sender THEN 0 ELSE 1 END,
                holder = excluded.holder,
                until = excluded.until;
    END IF;

    number := was.seq + 1;
    linked := journal_link(was.head, named, number, row_kind, asked_at, row_key, row_body);
    INSERT INTO journal VALUES (named, number, row_kind, row_at, row_key, row_body, linked, row_token);

    IF row_kind = 'decision' THEN
        SELECT d.*, d.venue_order ->> 'client_order_id' AS wire_id, (d.venue_order ->> 'send_by')::double precision AS send_by
            INTO decided
            FROM json_to_record(journal_json(row_body)) AS d (
                client_order_id text, digest text, is_exit boolean, symbol text, venue_order json, reservation json);
        INSERT INTO orders VALUES (
            named, decided.client_order_id, number, row_at, decided.digest, decided.is_exit, decided.symbol,
            decided.wire_id, decided.send_by,
            CASE WHEN decided.venue_order IS NULL THEN 'refused' ELSE 'sending' END,
            decided.venue_order IS NULL, NULL, NULL,
            decided.reservation IS NOT NULL, decided.reservation::text);
        moves := decided.reservation IS NOT NULL;
    ELSIF row_kind = 'receipt' THEN
        SELECT * INTO heard FROM json_to_record(journal_json(row_body)) AS r (client_order_id text, status text);
        UPDATE orders AS o SET
            status = heard.status,
            final = heard.status IN ('filled', 'cancelled', 'expired', 'rejected'),
            receipt_seq = number,
            receipt_at = row_at
        WHERE o.account = named AND o.client_order_id = heard.client_order_id AND NOT o.final;
        moves := heard.status = 'unknown';
    ELSIF row_kind = 'settled' THEN
        UPDATE orders AS o SET live = false
        WHERE o.account = named
          AND o.client_order_id IN (SELECT json_array_elements_text(journal_json(row_body) -> 'gone'));
        moves := true;
        settles := true;
    ELSIF row_kind = 'bound' THEN
        IF was.identity IS NOT NULL THEN
            RAISE unique_violation USING MESSAGE = 'the account is bound to other funds';
        END IF;
        funds_of := journal_json(row_body) ->> 'identity';
        INSERT INTO funds VALUES (funds_of, named);
        moves := true;
    ELSIF row_kind = 'trading' THEN
        state_of := journal_json(row_body) ->> 'trading';
        -- A halt of everything, kept under the name '*', moves every account's version: no decision made before it can
        -- land after it.
        UPDATE account AS a SET version = version + 1 WHERE named = '*' AND a.name <> '*';
        moves := true;
    END IF;

    UPDATE account AS a SET
        seq = number,
        head = linked,
        version = a.version + moves::integer,
        settlement = a.settlement + settles::integer,
        identity = coalesce(funds_of, a.identity),
        trading = coalesce(state_of, a.trading),
        trading_seq = CASE WHEN state_of IS NULL THEN a.trading_seq ELSE number END
    WHERE a.name = named;
    RETURN number;
END $$;
