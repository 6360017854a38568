-- What sending remembers from tick to tick: how far it went, how much is usual, which providers refuse, which restored copy was adopted.

-- Counts the batches that passed the point of no return; the file FILE.sent beside the store counts them, too.
ALTER TABLE store ADD COLUMN sent_batch INTEGER NOT NULL DEFAULT 0;

-- Marketing messages that passed the point of no return, by UTC day (days since 1970-01-01).
CREATE TABLE sending_days (
  day       INTEGER PRIMARY KEY,
  marketing INTEGER NOT NULL CHECK (marketing > 0)
) STRICT;
INSERT INTO sending_days (day, marketing)
  SELECT counted_at / 86400000, count(*) FROM outbox WHERE counted_at IS NOT NULL AND marketing = 1 AND state IN (2, 3, 5) GROUP BY 1;

-- Channels whose provider refuses everything. A row stands until a message was taken again.
CREATE TABLE breakers (
  channel   TEXT PRIMARY KEY,
  opened_at INTEGER NOT NULL,
  until_at  INTEGER NOT NULL,                    -- when one message is tried
  refusals  INTEGER NOT NULL CHECK (refusals > 0),  -- in a row; the wait doubles with each
  reply     TEXT NOT NULL                        -- what the provider said last
) STRICT, WITHOUT ROWID;

-- Restored copies that a person vouched for: what was to leave until `sent_until` may have left, and is in doubt unless `resend` covers it.
CREATE TABLE adoptions (
  id         INTEGER PRIMARY KEY,
  at         INTEGER NOT NULL,
  sent_until INTEGER NOT NULL,
  resend     TEXT NOT NULL CHECK (resend IN ('none', 'transactional', 'all'))
) STRICT;
