"""What the files of a project may say, as models, and reading them. No SQL, no network, no clock."""
