-- What an apply did to contacts inside older versions, and which release it brought back; no row where neither.

CREATE TABLE release_orders (
  release_id INTEGER PRIMARY KEY REFERENCES releases (id),
  orders     TEXT NOT NULL CHECK (json_valid(orders))
             -- {"in_flight": {workflow: exit or finish}, "exited": {workflow: contacts}, "moved": {workflow: {step: contacts}}, "rollback": release}
) STRICT;
INSERT INTO journal_kinds (id, name) VALUES (31, 'moved');
