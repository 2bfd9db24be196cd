INSERT INTO bench.jobs (kind) VALUES ('noop');
