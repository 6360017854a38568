-- The first schema. Times are UTC milliseconds in INTEGER columns; JSON is text; small enumerations are integers whose
-- names stand in the views at the end, so that hot inserts stay narrow and the tables still read well in any SQLite tool.

-- One row: who this store is and how far its sending went.
CREATE TABLE store (
  id              INTEGER PRIMARY KEY CHECK (id = 1),
  uuid            TEXT NOT NULL,               -- part of every idempotency key and Message-ID
  secret          TEXT NOT NULL,               -- hex; signs links, keys the suppression hashes
  created_at      INTEGER NOT NULL
) STRICT;

-- IANA zone names, small integers elsewhere.
CREATE TABLE zones (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

-- Declared contact fields: what `apply` made of `contacts.fields`, each a real column of `contacts`.
CREATE TABLE contact_fields (
  name        TEXT PRIMARY KEY,
  type        TEXT NOT NULL CHECK (type IN ('text','number','integer','boolean','date','datetime','choice','tags','email','phone')),
  declaration TEXT NOT NULL CHECK (json_valid(declaration)),
  retired_at  INTEGER                          -- no longer declared; the column and its values stay
) STRICT;

-- People. Declared fields are added as columns by `apply`; columns that begin with _ are the engine's own.
CREATE TABLE contacts (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: a cursor over ids finds the new ones
  key        TEXT UNIQUE,                        -- the owner's own id
  email      TEXT COLLATE NOCASE,                -- as written, its domain in lower case; one address whatever its case
  phone      TEXT,                               -- E.164
  language   TEXT,
  timezone   TEXT,
  country    TEXT,                               -- ISO 3166-1 alpha-2
  owner      TEXT,
  created_at INTEGER NOT NULL,
  _zone      INTEGER REFERENCES zones (id),      -- timezone, else from phone or country where unambiguous, else NULL: the project's
  _seed      INTEGER NOT NULL,                   -- random, 31 bits: stable splits
  _origin    INTEGER NOT NULL CHECK (_origin IN (0, 1))  -- 0 imported: memberships first found are 'existing'; 1 live
) STRICT;
CREATE INDEX contacts_email ON contacts (email) WHERE email IS NOT NULL;
CREATE INDEX contacts_phone ON contacts (phone) WHERE phone IS NOT NULL;

-- Consent now; the history is in consent_log.
CREATE TABLE consents (
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  channel    TEXT NOT NULL,
  purpose    TEXT NOT NULL,                      -- marketing, or a topic opted out of as 'topic:NAME'
  granted    INTEGER NOT NULL CHECK (granted IN (0, 1)),
  at         INTEGER NOT NULL,
  source     TEXT NOT NULL,
  PRIMARY KEY (contact_id, channel, purpose)
) STRICT, WITHOUT ROWID;
CREATE TABLE consent_log (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  channel    TEXT NOT NULL,
  purpose    TEXT NOT NULL,
  granted    INTEGER NOT NULL CHECK (granted IN (0, 1)),
  at         INTEGER NOT NULL,
  source     TEXT NOT NULL
) STRICT;
CREATE INDEX consent_log_contact ON consent_log (contact_id);

-- Addresses that must not be written to, as a keyed hash so that they outlive the contact. The row with contact_id 0 is the
-- fact; one more row stands for everybody who has the address now (two contacts may share one).
CREATE TABLE suppressions (
  channel TEXT NOT NULL,
  hash    TEXT NOT NULL,                         -- HMAC-SHA-256 (store.secret, normalised address), hex
  contact_id INTEGER NOT NULL DEFAULT 0,         -- no foreign key: the fact outlives its contact; here, as the key's columns must
                                                 -- come first: SQLite 3.40's integrity_check misreads them otherwise
  reason  TEXT NOT NULL,                         -- manual, unsubscribed, complained, bounced, refused
  at      INTEGER NOT NULL,
  source  TEXT NOT NULL,
  PRIMARY KEY (channel, hash, contact_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX suppressions_contact ON suppressions (contact_id, channel);

-- Declared and built-in event types.
CREATE TABLE event_types (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

-- Facts. `at` is when it happened, `id` the order of arrival.
CREATE TABLE events (
  id            INTEGER PRIMARY KEY,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  type          INTEGER NOT NULL REFERENCES event_types (id),
  at            INTEGER NOT NULL,
  props         TEXT CHECK (props IS NULL OR json_valid(props)),
  dedupe        INTEGER,                         -- 63-bit hash of the event's own id; NULL: made by the engine
  enrollment_id INTEGER                          -- the enrollment that made it, if one did
) STRICT;
CREATE INDEX events_contact ON events (contact_id, type, at);
CREATE INDEX events_type ON events (type, at);
CREATE UNIQUE INDEX events_dedupe ON events (contact_id, dedupe) WHERE dedupe IS NOT NULL;

-- What changed on a contact after its creation, one row a field.
CREATE TABLE contact_changes (
  id            INTEGER PRIMARY KEY,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  field         TEXT NOT NULL,                   -- a field; 'consent.CHANNEL', 'suppressed.CHANNEL' for those facts
  old           ANY,
  new           ANY,
  at            INTEGER NOT NULL,
  enrollment_id INTEGER
) STRICT;
CREATE INDEX contact_changes_contact ON contact_changes (contact_id);

-- Segments: who is in now, and every change of it.
CREATE TABLE segments (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  definition TEXT NOT NULL,                      -- digest of what was last judged in full
  retired_at INTEGER
) STRICT;
CREATE TABLE segment_members (
  segment_id INTEGER NOT NULL REFERENCES segments (id),
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  since      INTEGER NOT NULL,
  PRIMARY KEY (segment_id, contact_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX segment_members_contact ON segment_members (contact_id, segment_id);
CREATE TABLE transitions (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  segment_id INTEGER NOT NULL REFERENCES segments (id),
  entered    INTEGER NOT NULL CHECK (entered IN (0, 1)),
  existing   INTEGER NOT NULL CHECK (existing IN (0, 1)),  -- found when first judged: no 'enters'
  at         INTEGER NOT NULL                    -- of the fact or the moved window that caused it
) STRICT;
CREATE INDEX transitions_contact ON transitions (contact_id, segment_id);

-- How far each observer has looked: an id and a time.
CREATE TABLE cursors (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Releases: immutable snapshots of the project.
CREATE TABLE releases (
  id         INTEGER PRIMARY KEY,
  applied_at INTEGER NOT NULL,
  "commit"   TEXT NOT NULL,                      -- abbreviated hash, '+dirty' behind it, or 'uncommitted'
  digest     TEXT NOT NULL,                      -- SHA-256 of the snapshot
  files      TEXT NOT NULL CHECK (json_valid(files)),    -- {path: text}
  runtime    TEXT NOT NULL CHECK (json_valid(runtime)),  -- what a tick loads: segments, triggers, messages, channels, pressure
  compiler   INTEGER NOT NULL                    -- version of the SQL compiler that made `runtime`
) STRICT;
CREATE TABLE workflow_versions (
  id         INTEGER PRIMARY KEY,
  workflow   TEXT NOT NULL,
  number     INTEGER NOT NULL,                   -- 1, 2, … per workflow
  release_id INTEGER NOT NULL REFERENCES releases (id),
  digest     TEXT NOT NULL,                      -- of what is pinned: unchanged workflows keep their version
  path       TEXT NOT NULL,
  program    TEXT NOT NULL CHECK (json_valid(program)),  -- flat instructions with their SQL
  UNIQUE (workflow, number)
) STRICT;
CREATE TABLE workflow_states (                   -- what the newest release, or a person, says of a workflow
  workflow   TEXT PRIMARY KEY,
  version_id INTEGER REFERENCES workflow_versions (id),  -- newcomers enter this one; NULL: gone, draining
  state      TEXT NOT NULL CHECK (state IN ('draft','live','paused','draining')),
  by_hand    TEXT CHECK (by_hand IN ('paused','draining','stopped')),  -- lasts until resumed by hand, through every apply
  note       TEXT,                               -- why: which guard, and whose team is told
  resumed_at INTEGER,                            -- guards count what was sent since
  first_at   INTEGER NOT NULL                    -- first apply: memberships before it are existing
) STRICT, WITHOUT ROWID;

-- One contact's way through one workflow version.
CREATE TABLE enrollments (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  workflow   TEXT NOT NULL,
  version_id INTEGER NOT NULL REFERENCES workflow_versions (id),
  cause      TEXT NOT NULL,                      -- 'event:12', 'transition:5', 'change:7', 'moment:…', 'manual:…'
  rkey       TEXT NOT NULL DEFAULT '',           -- value of reentry.key
  parallel   INTEGER NOT NULL DEFAULT 0 CHECK (parallel IN (0, 1)),
  trigger    TEXT CHECK (trigger IS NULL OR json_valid(trigger)),
  data       TEXT CHECK (data IS NULL OR json_valid(data)),
  entered_at INTEGER NOT NULL,                   -- time of the fact that caused it
  pc         INTEGER NOT NULL,
  visit      INTEGER NOT NULL DEFAULT 0,         -- counts sends of this enrollment: a loop's second turn is another visit
  at         INTEGER NOT NULL,                   -- logical arrival at pc
  due_at     INTEGER,                            -- when to look; NULL: waiting for a send, a person, or over
  until_at   INTEGER,                            -- deadline of a wait_for
  state      INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 4),  -- 0 active 1 completed 2 exited 3 failed 4 goal
  reason     TEXT,                               -- goal, already, restarted, superseded, stopped, or the exit's own word
  ended_at   INTEGER,
  goal_at    INTEGER,
  CHECK ((state = 0) = (ended_at IS NULL)),
  CHECK (ended_at IS NULL OR due_at IS NULL),
  UNIQUE (contact_id, workflow, cause)
) STRICT;
CREATE UNIQUE INDEX enrollments_live ON enrollments (contact_id, workflow, rkey) WHERE ended_at IS NULL AND parallel = 0;
CREATE INDEX enrollments_due ON enrollments (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX enrollments_version ON enrollments (version_id) WHERE ended_at IS NULL;

-- Who is about to enter: written with the cursor of the facts that caused it, judged and consumed in a later transaction.
CREATE TABLE entries (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  workflow   TEXT NOT NULL,
  at         INTEGER NOT NULL,                   -- of the fact that caused it
  cause      TEXT NOT NULL,
  trigger    TEXT CHECK (trigger IS NULL OR json_valid(trigger)),
  data       TEXT CHECK (data IS NULL OR json_valid(data)),
  step       TEXT,                               -- begin at this step rather than at the first
  forced     INTEGER NOT NULL DEFAULT 0 CHECK (forced IN (0, 1)),  -- past the audience
  UNIQUE (workflow, contact_id, cause)
) STRICT;

-- When an enrollment last left a step that some condition's `since` names.
CREATE TABLE marks (
  enrollment_id INTEGER NOT NULL REFERENCES enrollments (id),
  step          TEXT NOT NULL,
  at            INTEGER NOT NULL,
  PRIMARY KEY (enrollment_id, step)
) STRICT, WITHOUT ROWID;

-- Where an enrollment stands in a `repeat`: the turn it is in, and since when.
CREATE TABLE turns (
  enrollment_id INTEGER NOT NULL REFERENCES enrollments (id),
  pc            INTEGER NOT NULL,
  turn          INTEGER NOT NULL,
  started_at    INTEGER NOT NULL,
  PRIMARY KEY (enrollment_id, pc)
) STRICT, WITHOUT ROWID;

-- What happened to whom, and why. file:line@commit follows from version_id and pc.
CREATE TABLE journal (
  id            INTEGER PRIMARY KEY,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  enrollment_id INTEGER,
  version_id    INTEGER,
  pc            INTEGER,
  at            INTEGER NOT NULL,                -- logical time
  kind          INTEGER NOT NULL REFERENCES journal_kinds (id),
  detail        TEXT CHECK (detail IS NULL OR json_valid(detail))
) STRICT;
CREATE INDEX journal_contact ON journal (contact_id);
CREATE TABLE journal_kinds (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO journal_kinds (id, name) VALUES
  (1, 'entered'), (2, 'refused'), (3, 'branch'), (4, 'waiting'), (5, 'woken'), (6, 'timed_out'), (7, 'send'), (8, 'sent'),
  (9, 'held'), (10, 'skipped'), (11, 'failed'), (12, 'in_doubt'), (13, 'set'), (14, 'added'), (15, 'tagged'), (16, 'exited'),
  (17, 'completed'), (18, 'goal'), (19, 'cancelled'), (20, 'resolved'), (21, 'untagged'), (22, 'started'), (23, 'stopped'),
  (24, 'assigned'), (25, 'recorded'), (26, 'notified'), (27, 'task'), (28, 'fetched'), (29, 'advertised'), (30, 'secondary_goal');

-- Messages to leave. Names of channels and messages are numbered in `names`.
CREATE TABLE names (
  id   INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('channel', 'message')),
  name TEXT NOT NULL,
  UNIQUE (kind, name)
) STRICT;
CREATE TABLE outbox (
  id            INTEGER PRIMARY KEY,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  enrollment_id INTEGER NOT NULL REFERENCES enrollments (id),
  version_id    INTEGER NOT NULL REFERENCES workflow_versions (id),
  pc            INTEGER NOT NULL,
  visit         INTEGER NOT NULL,
  channel       INTEGER NOT NULL REFERENCES names (id),
  message       INTEGER NOT NULL REFERENCES names (id),
  recipient     TEXT NOT NULL,
  marketing     INTEGER NOT NULL CHECK (marketing IN (0, 1)),
  priority      INTEGER NOT NULL,
  arrived_at    INTEGER NOT NULL,
  expires_at    INTEGER NOT NULL,
  state         INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 7),
                -- 0 ready 1 claimed 2 transmitting 3 sent 4 failed 5 in_doubt 6 skipped 7 cancelled
  ready_at      INTEGER,                         -- when the gate looks (again); only while ready
  counted_at    INTEGER,                         -- when it counts against caps: claimed, transmitting, sent, in_doubt
  settled_at    INTEGER,
  attempts      INTEGER NOT NULL DEFAULT 0,
  doubts        INTEGER NOT NULL DEFAULT 0,      -- attempts that may have left; a transactional message gets one resend
  key           TEXT,                            -- idempotency key, made at the first claim; the Message-ID derives from it
  reason        TEXT,                            -- of a hold, a skip, a failure
  reply         TEXT,                            -- what the provider last answered
  variant       TEXT,
  CHECK ((ready_at IS NOT NULL) = (state = 0)),
  CHECK ((settled_at IS NOT NULL) = (state >= 3)),
  CHECK (state NOT IN (1, 2, 3, 5) OR (counted_at IS NOT NULL AND key IS NOT NULL)),
  UNIQUE (enrollment_id, pc, visit, channel, recipient)
) STRICT;
-- The bytes of a transactional message from its point of no return until it is settled: a resend is the same letter.
CREATE TABLE outbox_letters (
  outbox_id INTEGER PRIMARY KEY REFERENCES outbox (id),
  letter    TEXT NOT NULL CHECK (json_valid(letter))
) STRICT;
CREATE INDEX outbox_ready ON outbox (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX outbox_counted ON outbox (contact_id, channel, counted_at) WHERE counted_at IS NOT NULL;
CREATE INDEX outbox_open ON outbox (state) WHERE state IN (1, 2);
CREATE UNIQUE INDEX outbox_key ON outbox (key) WHERE key IS NOT NULL;

-- What became of a message: sent by the engine, the rest reported from outside.
CREATE TABLE message_events (
  id            INTEGER PRIMARY KEY,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  message       INTEGER NOT NULL REFERENCES names (id),
  status        INTEGER NOT NULL CHECK (status BETWEEN 0 AND 7),
                -- 0 sent 1 delivered 2 opened 3 clicked 4 dismissed 5 bounced 6 complained 7 unsubscribed
  at            INTEGER NOT NULL,
  outbox_id     INTEGER,
  enrollment_id INTEGER,
  channel       INTEGER,
  link          TEXT
) STRICT;
CREATE INDEX message_events_contact ON message_events (contact_id, message, status, at);
CREATE INDEX message_events_status ON message_events (message, status, at);

-- What `create` and `records import` made: a record of a kind, once per contact and cause.
CREATE TABLE records (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  kind          TEXT NOT NULL,
  key           TEXT,                            -- the owner's own id of it
  cause         TEXT NOT NULL,                   -- 'key:…', or the step visit of a record without key
  record_values TEXT NOT NULL CHECK (json_valid(record_values)),
  at            INTEGER NOT NULL,
  enrollment_id INTEGER,                         -- NULL: imported
  UNIQUE (contact_id, kind, cause)
) STRICT;

-- What people are asked to do. Open: neither done nor timed out, and its enrollment still stands on the step.
CREATE TABLE tasks (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  enrollment_id INTEGER NOT NULL REFERENCES enrollments (id),
  version_id    INTEGER NOT NULL REFERENCES workflow_versions (id),
  pc            INTEGER NOT NULL,
  at            INTEGER NOT NULL,
  until_at      INTEGER NOT NULL,
  team          TEXT NOT NULL,
  step          TEXT NOT NULL,                   -- its id, under which `data` keeps the outcome; '' where it has none
  title         TEXT NOT NULL,
  outcomes      TEXT NOT NULL CHECK (json_valid(outcomes)),
  outcome       TEXT,
  done_at       INTEGER,
  timed_out     INTEGER NOT NULL DEFAULT 0 CHECK (timed_out IN (0, 1)),
  CHECK ((outcome IS NULL) = (done_at IS NULL)),
  CHECK (timed_out = 0 OR done_at IS NULL),
  UNIQUE (enrollment_id, pc, at)
) STRICT;
CREATE INDEX tasks_contact ON tasks (contact_id);
CREATE INDEX tasks_open ON tasks (until_at) WHERE done_at IS NULL AND timed_out = 0;

-- Whose turn it is in a team whose contacts are assigned round robin.
CREATE TABLE rotations (
  team   TEXT PRIMARY KEY,
  turn   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX contacts_owner ON contacts (owner) WHERE owner IS NOT NULL;

-- Who is in which advertising audience.
CREATE TABLE audience_members (
  audience   TEXT NOT NULL,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  since      INTEGER NOT NULL,
  PRIMARY KEY (audience, contact_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX audience_members_contact ON audience_members (contact_id);

-- Alerts to the own people: at most once, no pressure, no consent.
CREATE TABLE notices (
  id            INTEGER PRIMARY KEY,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  enrollment_id INTEGER NOT NULL REFERENCES enrollments (id),
  version_id    INTEGER NOT NULL REFERENCES workflow_versions (id),
  pc            INTEGER NOT NULL,
  at            INTEGER NOT NULL,
  team          TEXT,
  owner         TEXT,                            -- the contact's, where the owner is told
  recipient     TEXT,
  text          TEXT NOT NULL,
  state         INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 4),  -- 0 ready 1 transmitting 2 sent 3 failed 4 in_doubt
  ready_at      INTEGER,
  attempts      INTEGER NOT NULL DEFAULT 0,
  settled_at    INTEGER,
  reply         TEXT,
  CHECK ((ready_at IS NOT NULL) = (state = 0)),
  CHECK ((settled_at IS NOT NULL) = (state >= 2)),
  CHECK (recipient IS NOT NULL OR state = 3),
  UNIQUE (enrollment_id, pc, at)
) STRICT;
CREATE INDEX notices_ready ON notices (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX notices_contact ON notices (contact_id);
CREATE INDEX notices_open ON notices (state) WHERE state = 1;

-- What is asked of services; the answer goes into the enrollment's `data`.
CREATE TABLE fetches (
  id            INTEGER PRIMARY KEY,
  contact_id    INTEGER NOT NULL REFERENCES contacts (id),
  enrollment_id INTEGER NOT NULL REFERENCES enrollments (id),
  version_id    INTEGER NOT NULL REFERENCES workflow_versions (id),
  pc            INTEGER NOT NULL,
  at            INTEGER NOT NULL,
  service       TEXT NOT NULL,
  path          TEXT NOT NULL,
  save_as       TEXT NOT NULL,
  state         INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),  -- 0 waiting 1 answered 2 failed 3 no longer wanted
  ready_at      INTEGER,
  attempts      INTEGER NOT NULL DEFAULT 0,
  settled_at    INTEGER,
  reason        TEXT,
  CHECK ((ready_at IS NOT NULL) = (state = 0)),
  CHECK ((settled_at IS NOT NULL) = (state > 0)),
  UNIQUE (enrollment_id, pc, at)
) STRICT;
CREATE INDEX fetches_contact ON fetches (contact_id);
CREATE INDEX fetches_ready ON fetches (ready_at) WHERE ready_at IS NOT NULL;

-- Every point a score gave or took, with the fact that caused it; the number field of the score's name follows, within its bounds.
-- A score counts facts after its first apply only: imported history never scores.
CREATE TABLE score_ledger (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  score      TEXT NOT NULL,
  rule       TEXT NOT NULL,                      -- what it asks for, with a digest; 'step' for an `add`
  points     REAL NOT NULL,
  at         INTEGER NOT NULL,                   -- of the fact
  cause      TEXT NOT NULL,                      -- 'event:12', 'status:3', 'change:7', 'transition:5', 'step:ENROLLMENT:POSITION:TIME'
  UNIQUE (contact_id, score, rule, cause)
) STRICT;

-- Surveys opened and answered: the events of these names, read; `id` is the event's.
CREATE TABLE survey_answers (
  id         INTEGER PRIMARY KEY,
  contact_id INTEGER NOT NULL REFERENCES contacts (id),
  survey     TEXT NOT NULL,
  at         INTEGER NOT NULL,
  answers    TEXT CHECK (answers IS NULL OR json_type(answers) = 'object')  -- NULL: opened
) STRICT;
CREATE INDEX survey_answers_contact ON survey_answers (contact_id, survey, at);

-- Codes imported for `coupon("NAME")`; each goes to one contact, and a contact keeps its own.
CREATE TABLE coupons (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  code       TEXT NOT NULL,
  contact_id INTEGER REFERENCES contacts (id),
  given_at   INTEGER,
  CHECK ((contact_id IS NULL) = (given_at IS NULL)),
  UNIQUE (name, code)
) STRICT;
CREATE UNIQUE INDEX coupons_contact ON coupons (contact_id, name) WHERE contact_id IS NOT NULL;
CREATE INDEX coupons_free ON coupons (name, id) WHERE contact_id IS NULL;

-- Secondary goals met: once an enrollment.
CREATE TABLE secondary_goals (
  enrollment_id INTEGER NOT NULL REFERENCES enrollments (id),
  name          TEXT NOT NULL,
  at            INTEGER NOT NULL,
  PRIMARY KEY (enrollment_id, name)
) STRICT, WITHOUT ROWID;

-- Readable views.
-- The last position of each contact, as `inside` sees it.
CREATE VIEW positions AS
  SELECT e.contact_id, max(e.at) AS at, e.props ->> 'lat' AS lat, e.props ->> 'lon' AS lon
  FROM events e JOIN event_types t ON t.id = e.type WHERE t.name = 'position_reported' GROUP BY e.contact_id;
CREATE VIEW events_readable AS
  SELECT e.id, c.key AS contact, c.email, t.name AS event, strftime('%Y-%m-%dT%H:%M:%SZ', e.at / 1000, 'unixepoch') AS at, e.props
  FROM events e JOIN contacts c ON c.id = e.contact_id JOIN event_types t ON t.id = e.type;
CREATE VIEW journal_readable AS
  SELECT j.id, c.key AS contact, c.email, strftime('%Y-%m-%dT%H:%M:%SZ', j.at / 1000, 'unixepoch') AS at, k.name AS kind,
         v.workflow, v.number AS version, json_extract(v.program, '$.instructions[' || j.pc || '].step') AS step, j.detail
  FROM journal j JOIN contacts c ON c.id = j.contact_id JOIN journal_kinds k ON k.id = j.kind
  LEFT JOIN workflow_versions v ON v.id = j.version_id;
CREATE VIEW outbox_readable AS
  SELECT o.id, c.key AS contact, o.recipient, ch.name AS channel, m.name AS message, v.workflow,
         CASE o.state WHEN 0 THEN 'ready' WHEN 1 THEN 'claimed' WHEN 2 THEN 'transmitting' WHEN 3 THEN 'sent' WHEN 4 THEN 'failed'
                      WHEN 5 THEN 'in_doubt' WHEN 6 THEN 'skipped' ELSE 'cancelled' END AS state,
         o.reason, strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(o.settled_at, o.ready_at, o.counted_at) / 1000, 'unixepoch') AS at,
         o.attempts, o.key, o.reply
  FROM outbox o JOIN contacts c ON c.id = o.contact_id JOIN names ch ON ch.id = o.channel
  JOIN names m ON m.id = o.message JOIN workflow_versions v ON v.id = o.version_id;
CREATE VIEW enrollments_readable AS
  SELECT e.id, c.key AS contact, c.email, e.workflow, v.number AS version,
         CASE e.state WHEN 0 THEN 'active' WHEN 1 THEN 'completed' WHEN 2 THEN 'exited' WHEN 3 THEN 'failed' ELSE 'goal' END AS state,
         e.reason, e.pc, strftime('%Y-%m-%dT%H:%M:%SZ', e.entered_at / 1000, 'unixepoch') AS entered_at,
         strftime('%Y-%m-%dT%H:%M:%SZ', e.due_at / 1000, 'unixepoch') AS due_at,
         strftime('%Y-%m-%dT%H:%M:%SZ', e.ended_at / 1000, 'unixepoch') AS ended_at
  FROM enrollments e JOIN contacts c ON c.id = e.contact_id JOIN workflow_versions v ON v.id = e.version_id;
