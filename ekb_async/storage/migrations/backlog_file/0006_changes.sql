CREATE TABLE file (id TEXT NOT NULL, changes INTEGER NOT NULL);
INSERT INTO file VALUES (lower(hex(randomblob(16))), 0);
