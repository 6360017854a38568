-- Files that messages bring along, by the SHA-256 of their bytes; releases name them, a tick reads one when a letter needs it.
CREATE TABLE attachments (
  digest  TEXT PRIMARY KEY,
  content BLOB NOT NULL
) STRICT, WITHOUT ROWID;
