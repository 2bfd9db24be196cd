-- What the background workers do, and what people see of them.

CREATE FUNCTION haul._lanes(OUT queue text, OUT priority smallint, OUT floor_run_at timestamptz, OUT floor_id bigint,
		OUT generation bigint, OUT rows_scanned bigint, OUT rows_skipped bigint, OUT rows_claimed bigint,
		OUT next_due_at timestamptz, OUT sweeps bigint, OUT last_sweep_at timestamptz, OUT found_below bigint,
		OUT scans bigint)
	RETURNS SETOF record
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'haul_lanes';

CREATE VIEW haul.lanes AS
	SELECT queue, priority, floor_run_at, floor_id, generation, scans, rows_scanned, rows_skipped, rows_claimed,
		   next_due_at, sweeps, last_sweep_at, found_below
		FROM haul._lanes();
COMMENT ON VIEW haul.lanes IS
'What shared memory holds of the lanes (a queue and a priority) of this database; empty unless the server preloads '
	'pg_haul. Since the server started';
COMMENT ON COLUMN haul.lanes.queue IS 'Queue';
COMMENT ON COLUMN haul.lanes.priority IS 'Priority';
COMMENT ON COLUMN haul.lanes.floor_run_at
	IS 'Checkouts start at this run_at: below it nothing can be claimed; in the future: none comes by before; infinity: '
	'there is nothing; NULL: from the start';
COMMENT ON COLUMN haul.lanes.floor_id IS 'And, among the jobs with that run_at, at this id';
COMMENT ON COLUMN haul.lanes.generation IS 'Grows whenever a job of the lane becomes claimable';
COMMENT ON COLUMN haul.lanes.scans IS 'How often something came by to look for jobs: checkouts above all';
COMMENT ON COLUMN haul.lanes.rows_scanned IS 'Live jobs that checkouts looked at';
COMMENT ON COLUMN haul.lanes.rows_skipped
	IS 'Of these: passed over although ready, because they were for other workers or locked';
COMMENT ON COLUMN haul.lanes.rows_claimed IS 'Of these: handed out';
COMMENT ON COLUMN haul.lanes.next_due_at IS 'No job that is not due yet falls due earlier; NULL: none is known';
COMMENT ON COLUMN haul.lanes.sweeps IS 'Searches for jobs below the floor';
COMMENT ON COLUMN haul.lanes.last_sweep_at IS 'When the last of these began';
COMMENT ON COLUMN haul.lanes.found_below
	IS 'How many of these found one: 0, unless rows came in by ways that fire no triggers';

CREATE FUNCTION haul._background(OUT preloaded boolean, OUT launcher_pid integer, OUT worker_pid integer,
		OUT floors_open boolean, OUT waiting_workers integer, OUT wakeups bigint)
	RETURNS record
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'haul_background';

CREATE VIEW haul.background AS
	SELECT preloaded, launcher_pid, worker_pid, floors_open, waiting_workers, wakeups,
		   ARRAY(SELECT d.name FROM haul.duties AS d WHERE d.last_error IS NOT NULL ORDER BY d.place) AS failing_duties
		FROM haul._background();
COMMENT ON VIEW haul.background IS 'What works in the background for this database: one row';
COMMENT ON COLUMN haul.background.preloaded IS 'The server preloads pg_haul (shared_preload_libraries)';
COMMENT ON COLUMN haul.background.launcher_pid IS 'Process that starts the others; NULL: none';
COMMENT ON COLUMN haul.background.worker_pid
	IS 'Process at work in this database; NULL: none at the moment, which is normal while nobody waits and nothing is to '
	'be done';
COMMENT ON COLUMN haul.background.floors_open IS 'Lanes have floors, and NOTIFYs are left to the background worker';
COMMENT ON COLUMN haul.background.waiting_workers IS 'Workers that wait for work';
COMMENT ON COLUMN haul.background.wakeups
	IS 'How often one of them was woken since the server started, in all databases';
COMMENT ON COLUMN haul.background.failing_duties IS 'Duties of maintenance that fail: haul.duties says with what';
