ALTER TABLE calls ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
DROP INDEX calls_to_claim;
CREATE INDEX calls_to_claim ON calls (tenant, kind, id) WHERE state = 'pending';
DROP INDEX calls_by_state;
CREATE INDEX calls_by_state ON calls (state, kind, tenant, row_count);
CREATE INDEX calls_with_tenant ON calls (tenant) WHERE tenant != '';
