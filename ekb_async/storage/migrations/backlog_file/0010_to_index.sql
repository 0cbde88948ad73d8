-- Calls with a new answer, which is not in answered yet. They are listed apart, because a mark in a call would write its
-- answer, most of the file, a second time. The column calls.indexed had that mark and is unused: to drop it would rewrite
-- all answers.

CREATE TABLE to_index (call_id INTEGER PRIMARY KEY);
INSERT INTO to_index SELECT id FROM calls INDEXED BY calls_to_index
WHERE state = 'done' AND indexed = 0 AND kind != 'url' AND kind != 'detail' AND kind != 'download';
DROP INDEX calls_to_index;
CREATE TRIGGER calls_answered AFTER UPDATE OF state ON calls
WHEN NEW.state = 'done' AND NEW.kind != 'url' AND NEW.kind != 'detail' AND NEW.kind != 'download'
BEGIN INSERT OR IGNORE INTO to_index VALUES (NEW.id); END;
CREATE TRIGGER calls_copied AFTER INSERT ON calls
WHEN NEW.state = 'done' AND NEW.kind != 'url' AND NEW.kind != 'detail' AND NEW.kind != 'download'
BEGIN INSERT OR IGNORE INTO to_index VALUES (NEW.id); END;
CREATE TRIGGER calls_removed AFTER DELETE ON calls
BEGIN DELETE FROM to_index WHERE call_id = OLD.id; END;
