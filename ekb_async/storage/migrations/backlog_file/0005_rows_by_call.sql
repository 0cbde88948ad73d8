CREATE INDEX rows_by_call ON rows (call_id);
