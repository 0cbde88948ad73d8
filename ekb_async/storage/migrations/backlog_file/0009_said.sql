-- said is what a run says of itself while it is at work, as JSON: the rates that it may use, and what its calls wait for.

ALTER TABLE runs ADD COLUMN said TEXT NOT NULL DEFAULT '';
