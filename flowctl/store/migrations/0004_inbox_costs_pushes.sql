-- Messages shown in the app or on the site, for the owner's program to fetch: what `adapter: inbox` delivers to.
CREATE TABLE inbox (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  channel    TEXT NOT NULL,                      -- in_app, on_site …
  key        TEXT NOT NULL UNIQUE,               -- of the outbox row: delivered twice it is one message
  content    TEXT NOT NULL CHECK (json_valid(content)),  -- title, text, url …
  at         INTEGER NOT NULL,
  seen_at    INTEGER
) STRICT;
CREATE INDEX inbox_contact ON inbox (contact_id, id);

-- How long a message was and what it cost, of the channels that say what theirs cost.
CREATE TABLE message_costs (
  outbox_id  INTEGER PRIMARY KEY REFERENCES outbox (id),
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  segments   INTEGER NOT NULL CHECK (segments >= 1),  -- of an SMS; 1 elsewhere
  micros     INTEGER CHECK (micros >= 0),        -- millionths of the currency's unit; NULL: the channel says no `cost:`
  currency   TEXT,                               -- ISO 4217
  CHECK ((micros IS NULL) = (currency IS NULL))
) STRICT;
CREATE INDEX message_costs_contact ON message_costs (contact_id);

-- Records to tell a service of: one row a record, until the service has it.
CREATE TABLE record_pushes (
  record_id  INTEGER PRIMARY KEY REFERENCES records (id),
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  state      INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),  -- 0 ready 1 pushed 2 failed
  ready_at   INTEGER,
  attempts   INTEGER NOT NULL DEFAULT 0,
  settled_at INTEGER,
  reply      TEXT,
  CHECK ((ready_at IS NOT NULL) = (state = 0)),
  CHECK ((settled_at IS NOT NULL) = (state > 0))
) STRICT;
CREATE INDEX record_pushes_ready ON record_pushes (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX record_pushes_contact ON record_pushes (contact_id);
