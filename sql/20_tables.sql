-- Tables. haul.jobs first: everything else serves it.

-- Checkout changes only the columns from "state" on, which stand last, without
-- padding between them, so that the WAL of a claim holds little more than them. No index, not even in a
-- predicate, mentions such a column, and the fill factor leaves room for one
-- more version of each row: so a claim is a HOT update.
--
-- The columns from "queue" to "keep" are the options of a job: what enqueues takes them from here (40_enqueue.sql).
CREATE TABLE haul.jobs (
	id                bigint GENERATED ALWAYS AS IDENTITY,
	queue             text COLLATE "C" NOT NULL DEFAULT 'default',
	kind              text COLLATE "C" NOT NULL,
	args              jsonb NOT NULL DEFAULT '{}',
	priority          smallint NOT NULL DEFAULT 16383,
	run_at            timestamptz NOT NULL DEFAULT now(),
	max_attempts      integer NOT NULL DEFAULT 21,
	backoff           text,
	timeout           interval,
	on_timeout        text NOT NULL DEFAULT 'retry',
	queue_timeout     interval,
	expires_at        timestamptz,
	on_interrupt      text NOT NULL DEFAULT 'retry',
	unique_key        text COLLATE "C",
	unique_until      text NOT NULL DEFAULT 'finished',
	concurrency_key   text COLLATE "C",
	concurrency_limit integer NOT NULL DEFAULT 1,
	pin               text,
	pin_strict        boolean NOT NULL DEFAULT false,
	avoid             text[],
	every             interval,
	reply_to          text,
	keep              interval,
	workflow_id       bigint,
	cron_name         text COLLATE "C",
	interruptions     smallint NOT NULL DEFAULT 0,
	enqueued_by       text NOT NULL DEFAULT current_user,
	enqueued_at       timestamptz NOT NULL DEFAULT now(),
	state             text NOT NULL DEFAULT 'ready',
	attempt           integer NOT NULL DEFAULT 0,
	claim             integer NOT NULL DEFAULT 0,
	worker_id         bigint,
	lease_id          bigint,
	started_at        timestamptz,
	interrupted_at    timestamptz,
	last_error        text,
	progress          jsonb,
	CONSTRAINT jobs_pkey PRIMARY KEY (id)
) WITH (
	fillfactor = 45,
	autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_vacuum_insert_scale_factor = 0.2,
	autovacuum_analyze_scale_factor = 0.2,
	autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX jobs_ready ON haul.jobs (queue, priority, run_at, id) WITH (deduplicate_items = off);
CREATE UNIQUE INDEX jobs_unique_key ON haul.jobs (kind, unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX jobs_expires ON haul.jobs (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX jobs_workflow ON haul.jobs (workflow_id, id) WHERE workflow_id IS NOT NULL;
CREATE INDEX jobs_cron ON haul.jobs (cron_name, id) WHERE cron_name IS NOT NULL;

COMMENT ON TABLE haul.jobs IS 'Live jobs: ready, running or waiting. Enqueue with INSERT or COPY; jobs that ended are '
	'in haul.finished_jobs';
COMMENT ON COLUMN haul.jobs.id IS 'Identity; with claim it names one execution';
COMMENT ON COLUMN haul.jobs.queue
	IS 'Queue, 1 to 63 characters of any kind; "namespace.queue" puts it into a namespace';
COMMENT ON COLUMN haul.jobs.kind IS 'What to do: the name under which workers register a handler, 1 to 128 characters';
COMMENT ON COLUMN haul.jobs.args
	IS 'Arguments for the handler, a JSON object, not longer as text than haul.max_args_size';
COMMENT ON COLUMN haul.jobs.priority IS 'Order within the queue: 1 runs first, 32767 last';
COMMENT ON COLUMN haul.jobs.run_at
	IS 'Not started before this time, of the years 1 to 9999; infinity for a waiting job that something else makes ready';
COMMENT ON COLUMN haul.jobs.max_attempts IS 'Executions allowed in all, at least 1';
COMMENT ON COLUMN haul.jobs.backoff
	IS 'Pause before a retry, see haul.backoff_delay(); NULL: that of the kind (haul.kinds), else of the setting '
	'haul.backoff';
COMMENT ON COLUMN haul.jobs.timeout IS 'The worker stops an execution that takes longer; NULL: no limit';
COMMENT ON COLUMN haul.jobs.on_timeout IS 'After a timeout: retry (counts as a failed attempt) or discard';
COMMENT ON COLUMN haul.jobs.queue_timeout
	IS 'Discarded when not started within this time of greatest(run_at, enqueued_at)';
COMMENT ON COLUMN haul.jobs.expires_at
	IS 'Discarded when not started by this time; follows from queue_timeout where that is set';
COMMENT ON COLUMN haul.jobs.on_interrupt IS 'When its worker died or was killed in mid-job: retry, fail or discard';
COMMENT ON COLUMN haul.jobs.unique_key
	IS 'At most one live job of the kind has this key; a second INSERT raises unique_violation, ON CONFLICT DO NOTHING '
	'works';
COMMENT ON COLUMN haul.jobs.unique_until
	IS 'finished: the key is taken until the job ended; started: until its first checkout, which clears unique_key (not '
	'for a job with every: it keeps its key)';
COMMENT ON COLUMN haul.jobs.concurrency_key IS 'Recorded for concurrency limits, which this version does not enforce';
COMMENT ON COLUMN haul.jobs.concurrency_limit
	IS 'Recorded for concurrency limits, which this version does not enforce; at least 1';
COMMENT ON COLUMN haul.jobs.pin
	IS 'Name of the worker to run on; with pin_strict no other worker takes the job, without it this version lets any '
	'worker take it';
COMMENT ON COLUMN haul.jobs.pin_strict IS 'Only the worker named by pin takes the job';
COMMENT ON COLUMN haul.jobs.avoid IS 'Names of workers that never take the job';
COMMENT ON COLUMN haul.jobs.every
	IS 'The job runs again so long after the end of each run that completes or is discarded, at least 1 ms; failed for '
	'good or cancelled, it ends';
COMMENT ON COLUMN haul.jobs.workflow_id
	IS 'Workflow it belongs to (haul.workflows), set by haul.workflow() and haul.chain()';
COMMENT ON COLUMN haul.jobs.reply_to
	IS 'Mailbox of the enqueuer: each end of the job, or of a run of it, puts a row into haul.replies';
COMMENT ON COLUMN haul.jobs.keep
	IS 'How long the job stays in haul.finished_jobs; 0: not kept; NULL: what its queue or the settings say';
COMMENT ON COLUMN haul.jobs.cron_name IS 'Schedule that enqueued it (haul.cron)';
COMMENT ON COLUMN haul.jobs.enqueued_at IS 'When it was enqueued';
COMMENT ON COLUMN haul.jobs.enqueued_by
	IS 'Role that enqueued it, set by the server; who may UPDATE haul.jobs may name another';
COMMENT ON COLUMN haul.jobs.state IS 'ready, running or waiting';
COMMENT ON COLUMN haul.jobs.attempt IS 'Executions charged so far; counted at checkout';
COMMENT ON COLUMN haul.jobs.claim
	IS 'Grows with every checkout, by one, or by more after a crash of the server: with id the fencing token, never '
	'handed out twice';
COMMENT ON COLUMN haul.jobs.interruptions IS 'Executions that ended with the death of their worker';
COMMENT ON COLUMN haul.jobs.worker_id IS 'Worker that holds the job while it is running';
COMMENT ON COLUMN haul.jobs.lease_id IS 'Checkout that handed it out while it is running (haul.leases)';
COMMENT ON COLUMN haul.jobs.started_at
	IS 'When the current execution began; NULL while a worker that confirms starts has only fetched the job';
COMMENT ON COLUMN haul.jobs.interrupted_at IS 'When it was last interrupted';
COMMENT ON COLUMN haul.jobs.last_error IS 'Text of the last failure';
COMMENT ON COLUMN haul.jobs.progress IS 'What the handler last reported';

-- Jobs that ended. One branch a (UTC) day; in it "kept" holds the jobs that say
-- until when they stay, and one leaf an hour holds the rest, which stay for the
-- setting haul.keep_completed. Both go as whole leaves; nothing is deleted.
-- The columns are those of haul.jobs, in the same order, and three more.
-- Leaves, with their indexes on id, are made on demand (haul._add_history), never
-- here: a member of the extension could not be dropped by maintenance. No index
-- on the partitioned table itself: a restored dump would make the leaves' twice.
CREATE TABLE haul.finished_jobs (
	LIKE haul.jobs INCLUDING COMMENTS,
	finished_at timestamptz NOT NULL,
	result      jsonb,
	keep_until  timestamptz
) PARTITION BY RANGE (finished_at);

COMMENT ON TABLE haul.finished_jobs
	IS 'Jobs that ended: completed, failed, discarded or cancelled. Partitioned by finished_at, pruned by whole '
	'partitions';
COMMENT ON COLUMN haul.finished_jobs.state IS 'completed, failed, discarded or cancelled';
COMMENT ON COLUMN haul.finished_jobs.finished_at IS 'When it ended';
COMMENT ON COLUMN haul.finished_jobs.result IS 'What the handler returned';
COMMENT ON COLUMN haul.finished_jobs.keep_until
	IS 'Stays at least until then; NULL: for the setting haul.keep_completed';

CREATE TABLE haul.job_errors (
	job_id    bigint NOT NULL,
	attempt   integer NOT NULL,
	failed_at timestamptz NOT NULL,
	worker_id bigint,
	worker    text,
	error     text NOT NULL,
	detail    jsonb
) PARTITION BY RANGE (failed_at);

COMMENT ON TABLE haul.job_errors
	IS 'One row per failed attempt. Partitioned by day, pruned after the setting haul.keep_errors';
COMMENT ON COLUMN haul.job_errors.job_id IS 'haul.jobs.id';
COMMENT ON COLUMN haul.job_errors.attempt IS 'Number of the attempt that failed, 1 = the first';
COMMENT ON COLUMN haul.job_errors.failed_at IS 'When it failed';
COMMENT ON COLUMN haul.job_errors.worker_id IS 'Worker that ran it';
COMMENT ON COLUMN haul.job_errors.worker IS 'Name of that worker';
COMMENT ON COLUMN haul.job_errors.error IS 'Error text';
COMMENT ON COLUMN haul.job_errors.detail IS 'What else the worker reported';

-- Leaves that haul._add_history has made, and the times for which. A dump of the data alone, which sorts by names and
-- so has this table before them, makes them anew.
CREATE TABLE haul._leaves (
	name text COLLATE "C" PRIMARY KEY,
	at   timestamptz NOT NULL
);

CREATE TABLE haul.queues (
	name           text COLLATE "C" PRIMARY KEY CHECK (char_length(name) BETWEEN 1 AND 63),
	priority       smallint NOT NULL DEFAULT 16383 CHECK (priority >= 1),
	keep_completed interval CHECK (haul._is_duration(keep_completed)),
	keep_failed    interval CHECK (haul._is_duration(keep_failed))
);
COMMENT ON TABLE haul.queues IS 'Settings per queue. A queue needs no row';
COMMENT ON COLUMN haul.queues.name IS 'Queue';
COMMENT ON COLUMN haul.queues.priority IS 'Order among queues for workers that take all of them: 1 first, then by name';
COMMENT ON COLUMN haul.queues.keep_completed
	IS 'How long completed jobs stay in haul.finished_jobs; 0: not kept; NULL: the setting haul.keep_completed';
COMMENT ON COLUMN haul.queues.keep_failed
	IS 'The same for failed, discarded and cancelled jobs; NULL: the setting haul.keep_failed';

-- Has all sessions read the priorities anew when this commits; also those that a subscription brings.
CREATE FUNCTION haul._queue_ranking_changed() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_queue_ranking_changed';
CREATE TRIGGER haul_queue_ranking_changed AFTER INSERT OR UPDATE OR DELETE ON haul.queues
	FOR EACH ROW EXECUTE FUNCTION haul._queue_ranking_changed();
CREATE TRIGGER haul_queues_truncated AFTER TRUNCATE ON haul.queues
	FOR EACH STATEMENT EXECUTE FUNCTION haul._queue_ranking_changed();
ALTER TABLE haul.queues ENABLE ALWAYS TRIGGER haul_queue_ranking_changed;
ALTER TABLE haul.queues ENABLE ALWAYS TRIGGER haul_queues_truncated;

CREATE TABLE haul.kinds (
	kind    text COLLATE "C" PRIMARY KEY CHECK (char_length(kind) BETWEEN 1 AND 128),
	backoff text CHECK (haul.backoff_delay(backoff, 1) >= interval '0')
);
COMMENT ON TABLE haul.kinds IS 'Settings per kind. A kind needs no row';
COMMENT ON COLUMN haul.kinds.kind IS 'Kind';
COMMENT ON COLUMN haul.kinds.backoff
	IS 'Backoff for jobs of the kind that have none of their own; NULL: the setting haul.backoff';

CREATE TABLE haul.workers (
	id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name              text NOT NULL,
	hostname          text,
	pid               integer,
	queues            text[],
	weights           double precision[],
	exclude           text[],
	kinds             text[],
	min_priority      smallint NOT NULL DEFAULT 1,
	max_priority      smallint NOT NULL DEFAULT 32767,
	queue_order       text NOT NULL DEFAULT 'strict',
	namespace         text,
	max_threads       integer NOT NULL DEFAULT 1,
	confirm_start     boolean NOT NULL DEFAULT false,
	wake              text NOT NULL DEFAULT 'queue',
	started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
	busy              integer NOT NULL DEFAULT 0,
	last_heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	status            text NOT NULL DEFAULT 'running',
	lost_at           timestamptz,
	owner             name NOT NULL DEFAULT current_user,
	owner_id          oid
) WITH (fillfactor = 50);
COMMENT ON TABLE haul.workers IS 'One row per worker. DELETE of a row releases the jobs it holds, at once';
COMMENT ON COLUMN haul.workers.id IS 'Never used again for another worker';
COMMENT ON COLUMN haul.workers.name IS 'Name it registered under; several workers may share one';
COMMENT ON COLUMN haul.workers.hostname IS 'Host it runs on';
COMMENT ON COLUMN haul.workers.pid IS 'Its process there';
COMMENT ON COLUMN haul.workers.queues IS 'Queues it takes, in this order; NULL: all';
COMMENT ON COLUMN haul.workers.weights IS 'Weights of those queues, where queue_order is weighted';
COMMENT ON COLUMN haul.workers.exclude IS 'Queues it does not take';
COMMENT ON COLUMN haul.workers.kinds IS 'Kinds it takes; NULL: all';
COMMENT ON COLUMN haul.workers.min_priority IS 'It takes no job with a smaller priority number';
COMMENT ON COLUMN haul.workers.max_priority IS 'It takes no job with a larger priority number';
COMMENT ON COLUMN haul.workers.queue_order
	IS 'strict: a queue is asked when those before it have nothing due; weighted: drawn at random by weight at each '
	'checkout';
COMMENT ON COLUMN haul.workers.namespace IS 'It takes only queues named "namespace.…"';
COMMENT ON COLUMN haul.workers.max_threads IS 'Jobs it runs at a time, at most';
COMMENT ON COLUMN haul.workers.confirm_start
	IS 'It calls haul.start() before it runs a job that checkout returned with confirm_start';
COMMENT ON COLUMN haul.workers.wake
	IS 'How it hears of work: queue (NOTIFY on channel haul), worker (NOTIFY on channel haul_worker_<id>) or none';
COMMENT ON COLUMN haul.workers.started_at IS 'When it registered';
COMMENT ON COLUMN haul.workers.busy IS 'Jobs it was running at its last heartbeat';
COMMENT ON COLUMN haul.workers.last_heartbeat_at
	IS 'Last sign of life: any call of the worker, noted at most once a second, or a heartbeat';
COMMENT ON COLUMN haul.workers.status IS 'running or draining';
COMMENT ON COLUMN haul.workers.lost_at
	IS 'When it was given up: silent for longer than haul.worker_timeout, or its sessions ended. What may run again is '
	'offered to others, uncharged. '
	'NULL: it lives. It may come back until haul.lost_timeout is over; then it counts as dead, and the row is deleted';
COMMENT ON COLUMN haul.workers.owner
	IS 'Role that registered it, set by the server: only that role, its members and who may delete the row act for it';
COMMENT ON COLUMN haul.workers.owner_id
	IS 'The owner as pg_authid.oid, set by the server: not one who gets the name later; 0: it is gone';

-- Jobs of lost workers that are offered to others although nobody knows yet whether the worker died.
CREATE TABLE haul._offers (
	worker_id  bigint NOT NULL,
	job_id     bigint NOT NULL,
	claim      integer NOT NULL,
	started_at timestamptz NOT NULL,
	offered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (worker_id, job_id)
);

-- Who watches over the workers, and since when: one row, written in place.
CREATE TABLE haul._watch (
	one      boolean PRIMARY KEY DEFAULT true CHECK (one),
	looks    timestamptz[] NOT NULL DEFAULT array_fill('-infinity'::timestamptz, ARRAY[4]), -- the last, oldest first
	awake_at timestamptz NOT NULL DEFAULT clock_timestamp() -- the first look after a long time without one
);
INSERT INTO haul._watch DEFAULT VALUES;

-- Two journals, to which calls append in their own transactions: exact, crash-safe,
-- and no two callers ever wait for each other. Nothing in them is updated or deleted,
-- so that no dead rows pile up where everybody reads. Each is a pair of tables that
-- take turns (journal.c): maintenance folds what was written before (fold.c), and
-- truncates the one at rest once no snapshot can see what was in it. Autovacuum would
-- find nothing to do in them, and hold their turn up while it looks.
CREATE SEQUENCE haul._entry_seq;

-- Which jobs does a worker hold? Every checkout writes a row here, or one per 224 jobs.
CREATE TABLE haul._leases_0 (
	entry      bigint NOT NULL,
	id         bigint NOT NULL,
	worker_id  bigint NOT NULL,
	jobs       bigint[] NOT NULL,
	done       integer NOT NULL,
	claimed_at timestamptz NOT NULL
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
CREATE TABLE haul._leases_1 (LIKE haul._leases_0) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
ALTER TABLE haul._leases_0 REPLICA IDENTITY FULL;
ALTER TABLE haul._leases_1 REPLICA IDENTITY FULL;
CREATE SEQUENCE haul._lease_id_seq;

-- No claim is handed out twice, even if a crash took back that it was (claim.h). A crash empties the second one, which
-- is how it shows.
CREATE SEQUENCE haul._claim_ceiling START 256 INCREMENT 256;
CREATE UNLOGGED SEQUENCE haul._claim_base;

-- What each call did. Without day and queue: only that jobs of a lease are done. A sum
-- is what rows of today that are folded come to.
CREATE TABLE haul._ledger_0 (
	entry       bigint NOT NULL,
	sum         boolean NOT NULL DEFAULT false,
	day         date,
	queue       text COLLATE "C",
	dispatches  integer NOT NULL DEFAULT 0,
	retries     integer NOT NULL DEFAULT 0,
	completions integer NOT NULL DEFAULT 0,
	failures    integer NOT NULL DEFAULT 0,
	expiries    integer NOT NULL DEFAULT 0,
	discards    integer NOT NULL DEFAULT 0,
	cancels     integer NOT NULL DEFAULT 0,
	releases    integer NOT NULL DEFAULT 0,
	drops       integer NOT NULL DEFAULT 0,
	lease_id    bigint,
	lease_done  integer NOT NULL DEFAULT 0
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
CREATE TABLE haul._ledger_1 (LIKE haul._ledger_0 INCLUDING DEFAULTS)
	WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
ALTER TABLE haul._ledger_0 REPLICA IDENTITY FULL;
ALTER TABLE haul._ledger_1 REPLICA IDENTITY FULL;

-- How far each of these tables is folded: rows with entry numbers below the highest
-- "upto" are. No others stand in front of "front", as long as the table has this file.
-- Inserted and deleted, never updated: the last entry of the index is the one that holds.
CREATE TABLE haul._folds (
	name     text COLLATE "C",
	upto     bigint DEFAULT 0,
	filenode oid NOT NULL DEFAULT 0,
	front    tid NOT NULL DEFAULT '(0,0)',
	PRIMARY KEY (name, upto)
);
INSERT INTO haul._folds (name) VALUES ('_leases_0'), ('_leases_1'), ('_ledger_0'), ('_ledger_1');

CREATE VIEW haul._fronts AS
	SELECT name, CASE WHEN filenode = pg_relation_filenode(('haul.' || name)::regclass) THEN front ELSE '(0,0)' END
		AS front
		FROM unnest(ARRAY['_leases_0', '_leases_1', '_ledger_0', '_ledger_1']) AS tables (name),
			 LATERAL (SELECT filenode, front FROM haul._folds AS f WHERE f.name = tables.name ORDER BY upto DESC LIMIT 1)
			 	AS last;

-- The journals without what is folded.
CREATE VIEW haul._leases AS
	SELECT * FROM haul._leases_0
		WHERE entry >= (SELECT max(upto) FROM haul._folds WHERE name = '_leases_0')
			AND ctid >= (SELECT front FROM haul._fronts WHERE name = '_leases_0')
	UNION ALL
	SELECT * FROM haul._leases_1
		WHERE entry >= (SELECT max(upto) FROM haul._folds WHERE name = '_leases_1')
			AND ctid >= (SELECT front FROM haul._fronts WHERE name = '_leases_1');

CREATE VIEW haul._ledger AS
	SELECT * FROM haul._ledger_0
		WHERE entry >= (SELECT max(upto) FROM haul._folds WHERE name = '_ledger_0')
			AND ctid >= (SELECT front FROM haul._fronts WHERE name = '_ledger_0')
	UNION ALL
	SELECT * FROM haul._ledger_1
		WHERE entry >= (SELECT max(upto) FROM haul._folds WHERE name = '_ledger_1')
			AND ctid >= (SELECT front FROM haul._fronts WHERE name = '_ledger_1');

CREATE VIEW haul.leases AS
	SELECT l.id, l.worker_id, l.jobs, (l.done + coalesce(d.done, 0))::integer AS done, l.claimed_at
		FROM haul._leases AS l
		LEFT JOIN (SELECT lease_id, sum(lease_done) AS done FROM haul._ledger GROUP BY lease_id) AS d ON d.lease_id = l.id
		WHERE l.done + coalesce(d.done, 0) < cardinality(l.jobs);
COMMENT ON VIEW haul.leases IS 'A row per checkout, or per 224 jobs of one, of which some may still run: what is '
	'released when the worker is gone';
COMMENT ON COLUMN haul.leases.id IS 'haul.jobs.lease_id';
COMMENT ON COLUMN haul.leases.worker_id IS 'Worker that holds it';
COMMENT ON COLUMN haul.leases.jobs IS 'Ids of the jobs handed out';
COMMENT ON COLUMN haul.leases.done IS 'How many of them are known to have ended or been given back';
COMMENT ON COLUMN haul.leases.claimed_at IS 'When they were handed out';

CREATE TABLE haul.counter_totals (
	day         date NOT NULL,
	queue       text COLLATE "C" NOT NULL,
	dispatches  bigint NOT NULL,
	retries     bigint NOT NULL,
	completions bigint NOT NULL,
	failures    bigint NOT NULL,
	expiries    bigint NOT NULL,
	discards    bigint NOT NULL,
	cancels     bigint NOT NULL,
	releases    bigint NOT NULL,
	drops       bigint NOT NULL,
	PRIMARY KEY (day, queue)
) WITH (fillfactor = 50);
COMMENT ON TABLE haul.counter_totals IS 'Counts of past days, and some of today''s; read haul.counters';
