-- What an outbox row costs each time that its state changes, of which a message sees three or four.

-- For a check over a list of more than two SQLite fills a table with the list, for every row anew. The same in comparisons; a declaration that leaves the file's content as it is changes as in 0005.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (state NOT IN (1, 2, 3, 5) OR ', 'CHECK (state = 0 OR state = 4 OR state > 5 OR ')
  WHERE type = 'table' AND name = 'outbox';
PRAGMA writable_schema = RESET;

-- Claimed and transmitting, by columns that do not change between the two: from the one to the other no index is touched.
DROP INDEX outbox_open;
CREATE INDEX outbox_open ON outbox (id) WHERE ready_at IS NULL AND settled_at IS NULL;
