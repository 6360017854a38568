-- What `contacts forget` needs so that a person can go and nothing comes back in their place, and what a bounce said.

-- Codes of coupons given to people who were forgotten, as keyed hashes: a code that is imported again is not given twice.
CREATE TABLE coupons_spent (
  name TEXT NOT NULL,
  hash TEXT NOT NULL,                            -- HMAC-SHA-256 (store.secret, 'coupon' and the code), hex
  PRIMARY KEY (name, hash)
) STRICT, WITHOUT ROWID;

-- Why it bounced: {"bounce": "hard" or "soft", "status": "5.1.1", "said": the server's words}.
ALTER TABLE message_events ADD COLUMN detail TEXT CHECK (detail IS NULL OR json_valid(detail));

-- An enrollment's number is part of the keys of its messages, hence of their Message-IDs: it must never be given again. SQLite
-- changes a declaration that leaves the file's content as it is only so: https://www.sqlite.org/lang_altertable.html
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'id         INTEGER PRIMARY KEY,', 'id         INTEGER PRIMARY KEY AUTOINCREMENT,')
  WHERE type = 'table' AND name = 'enrollments';
INSERT INTO sqlite_sequence (name, seq) SELECT 'enrollments', coalesce(max(id), 0) FROM enrollments;
PRAGMA writable_schema = RESET;
