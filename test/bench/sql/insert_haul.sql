INSERT INTO haul.jobs (kind) VALUES ('noop');
