-- Which release brought a version of a workflow. `workflow_versions.release_id` follows the newest release that still holds it, for its lines.
CREATE TABLE version_origins (
  version_id INTEGER PRIMARY KEY REFERENCES workflow_versions (id),
  release_id INTEGER NOT NULL REFERENCES releases (id)
) STRICT;

INSERT INTO version_origins (version_id, release_id) SELECT id, release_id FROM workflow_versions;
