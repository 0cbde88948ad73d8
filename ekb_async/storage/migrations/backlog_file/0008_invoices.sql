-- Files that show the same invoice share a call. A row whose file is not the one that names the call has its own identity
-- in content; form orders the files of a call by how well the vendor takes them, 0 first. printed has what the file says of
-- itself, as JSON: '' if it was not read, '{}' if it says nothing. own has the user's own columns, as JSON, and
-- manifests.own their names.
-- invoices has the call of each invoice that a file names with certainty, and what is printed on it.
-- A call whose source is 'ledger' was answered by the vendor's ledger.
-- answered has the invoices in the answers of calls, once these are indexed, with the first call that names each. All calls
-- that name it have that one in same_as, if they are several.

ALTER TABLE manifests ADD COLUMN own TEXT NOT NULL DEFAULT '[]';
ALTER TABLE rows ADD COLUMN content TEXT NOT NULL DEFAULT '';
ALTER TABLE rows ADD COLUMN form INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rows ADD COLUMN own TEXT NOT NULL DEFAULT '';
ALTER TABLE rows ADD COLUMN printed TEXT NOT NULL DEFAULT '';
ALTER TABLE rows ADD COLUMN warning TEXT NOT NULL DEFAULT '';
CREATE INDEX rows_by_content ON rows (content, call_id) WHERE content != '';
CREATE TABLE invoices (
    key TEXT PRIMARY KEY,
    call_id INTEGER NOT NULL,
    date TEXT NOT NULL,
    net TEXT NOT NULL,
    tax TEXT NOT NULL,
    total TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX invoices_by_call ON invoices (call_id);
ALTER TABLE calls ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN same_as INTEGER;
DROP INDEX calls_by_state;
CREATE INDEX calls_by_state ON calls (state, kind, tenant, row_count, attempts, source);
CREATE INDEX calls_to_index ON calls (id) WHERE state = 'done' AND indexed = 0
    AND kind != 'url' AND kind != 'detail' AND kind != 'download';
CREATE TABLE answered (key TEXT PRIMARY KEY, call_id INTEGER NOT NULL) WITHOUT ROWID;
