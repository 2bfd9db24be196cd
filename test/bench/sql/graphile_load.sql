-- What graphile_worker.add_jobs() inserts, without the row that it returns for each.
INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('noop') ON CONFLICT DO NOTHING;
INSERT INTO graphile_worker._private_jobs (task_id)
	SELECT t.id FROM graphile_worker._private_tasks AS t, generate_series(1, :jobs) WHERE t.identifier = 'noop';
