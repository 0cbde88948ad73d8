-- Which migrations were applied, and when. Tables without it are of version 1.

CREATE TABLE ekb_schema (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO ekb_schema (version) VALUES (1);
