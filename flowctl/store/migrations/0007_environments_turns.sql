-- Which environment a release was applied for, so that a newer flowctl compiles it anew for the same one; '' where none was said.
ALTER TABLE releases ADD COLUMN environment TEXT NOT NULL DEFAULT '';

-- Messages that wait for their turn after quiet hours: what else their contact is sent asks for them.
CREATE INDEX outbox_turn ON outbox (contact_id) WHERE reason = 'turn';
