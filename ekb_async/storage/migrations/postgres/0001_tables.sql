-- The tables that hosts share: receipts of transactions, the pace of calls, access tokens, and backlogs, whose tables are
-- also the call table of the calls that engines dispatch. Moments are epoch seconds of the database's clock.
--
-- ekb_call has the columns of a backlog file and these besides: the tenant of a call, its priority, the engine's job by
-- which a worker has claimed it (turn), and whether the engine has been given a job for it (planned).

CREATE TABLE ekb_receipt (id uuid PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT clock_timestamp());

CREATE TABLE ekb_pace (
    key text PRIMARY KEY,
    version bigint NOT NULL,
    latest double precision NOT NULL,
    not_before double precision NOT NULL,
    widening double precision NOT NULL,
    widened double precision NOT NULL,
    issued bigint NOT NULL,
    served bigint NOT NULL,
    slowest double precision NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE ekb_token (
    key text PRIMARY KEY,
    generation bigint NOT NULL,
    ciphertext bytea NOT NULL,
    issued double precision NOT NULL,
    renew_from double precision NOT NULL,
    unusable_from double precision NOT NULL
);

CREATE TABLE ekb_run (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at double precision NOT NULL,
    seen double precision NOT NULL,
    hold_unknown boolean NOT NULL
);

CREATE TABLE ekb_manifest (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path text NOT NULL,
    columns text NOT NULL,
    added_at double precision NOT NULL
);

CREATE TABLE ekb_call (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    identity text NOT NULL,
    kind text NOT NULL,
    priority smallint NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'failed')),
    row_id bigint NOT NULL,
    row_count integer NOT NULL DEFAULT 1,
    run_id integer,
    turn text,
    planned boolean NOT NULL DEFAULT false,
    sent integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    maybe_billed integer NOT NULL DEFAULT 0,
    ended_at double precision,
    error_type text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    hint text NOT NULL DEFAULT '',
    result bytea,
    UNIQUE (tenant, identity)
);
CREATE INDEX ekb_call_to_claim ON ekb_call (tenant, kind, priority, id) WHERE state = 'pending';
CREATE INDEX ekb_call_to_plan ON ekb_call (priority, id)
    WHERE state = 'pending' AND NOT planned AND kind <> 'download';
CREATE INDEX ekb_call_running ON ekb_call (run_id) WHERE state = 'running';
CREATE INDEX ekb_call_in_turn ON ekb_call (turn) WHERE turn IS NOT NULL;
CREATE INDEX ekb_call_by_state ON ekb_call (state, tenant, kind) INCLUDE (row_count);
CREATE INDEX ekb_call_failed ON ekb_call (error_type) WHERE state = 'failed';
CREATE INDEX ekb_call_maybe_billed ON ekb_call (maybe_billed) WHERE maybe_billed > 0;

CREATE TABLE ekb_row (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_id bigint NOT NULL,
    manifest_id bigint NOT NULL,
    line integer NOT NULL,
    start bigint,
    length bigint,
    ref text NOT NULL,
    file text NOT NULL,
    invoice_id text NOT NULL,
    staff_id text NOT NULL,
    file_name text NOT NULL
);
CREATE INDEX ekb_row_by_call ON ekb_row (call_id);

CREATE TABLE ekb_plan (
    tenant text NOT NULL,
    kind text NOT NULL,
    next_slot double precision NOT NULL,
    PRIMARY KEY (tenant, kind)
) WITH (fillfactor = 50);
