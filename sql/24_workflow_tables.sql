-- Workflows: jobs that wait for others. Written when a workflow is made and when its
-- members end; jobs outside workflows never come here.

CREATE TABLE haul.workflows (
	id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name         text CHECK (char_length(name) BETWEEN 1 AND 255),
	created_at   timestamptz NOT NULL DEFAULT now(),
	created_by   name NOT NULL DEFAULT current_user,
	cancelled_at timestamptz
);
COMMENT ON TABLE haul.workflows
	IS 'One row per workflow; its state is in haul.workflow_status. Kept for the setting haul.keep_workflows after its '
	'last job ended';
COMMENT ON COLUMN haul.workflows.id IS 'haul.jobs.workflow_id';
COMMENT ON COLUMN haul.workflows.name IS 'Name, for people';
COMMENT ON COLUMN haul.workflows.created_at IS 'When it was enqueued';
COMMENT ON COLUMN haul.workflows.created_by IS 'Role that enqueued it';
COMMENT ON COLUMN haul.workflows.cancelled_at IS 'When it was cancelled as a whole';

-- One row a member. "step" is its place in an order in which every member comes after
-- those it waits for. next, gates and if_failed go together: one element per job that
-- comes after this one.
CREATE TABLE haul.workflow_jobs (
	workflow_id bigint NOT NULL,
	step        integer NOT NULL,
	name        text COLLATE "C" NOT NULL,
	kind        text COLLATE "C" NOT NULL,
	job_id      bigint NOT NULL,
	run_at      timestamptz NOT NULL,
	after       integer[] NOT NULL,
	next        integer[] NOT NULL,
	gates       bigint[] NOT NULL,
	if_failed   text[] NOT NULL,
	PRIMARY KEY (workflow_id, step)
);
CREATE UNIQUE INDEX workflow_jobs_job ON haul.workflow_jobs (job_id);
COMMENT ON TABLE haul.workflow_jobs
	IS 'Members of workflows and how they hang together; people read haul.workflow_steps';
COMMENT ON COLUMN haul.workflow_jobs.workflow_id IS 'haul.workflows.id';
COMMENT ON COLUMN haul.workflow_jobs.step IS 'Number in the workflow; greater than those of all it comes after';
COMMENT ON COLUMN haul.workflow_jobs.name IS 'Name in the workflow';
COMMENT ON COLUMN haul.workflow_jobs.kind IS 'haul.jobs.kind';
COMMENT ON COLUMN haul.workflow_jobs.job_id IS 'The job; a new one after a retry of the workflow';
COMMENT ON COLUMN haul.workflow_jobs.run_at IS 'Not started before this time, whatever it waits for';
COMMENT ON COLUMN haul.workflow_jobs.after IS 'Steps that it comes after';
COMMENT ON COLUMN haul.workflow_jobs.next IS 'Steps that come after it';
COMMENT ON COLUMN haul.workflow_jobs.gates
	IS 'For each of these: the gate that counts this one; 0 when it waits for nothing else';
COMMENT ON COLUMN haul.workflow_jobs.if_failed
	IS 'For each of these: what becomes of it when this one ends without success: cancel, wait or run';

-- How many edges, or lower gates, are still to come; at 0 it opens the next gate, or releases the job.
CREATE TABLE haul._gates (
	id          bigint PRIMARY KEY,
	missing     integer NOT NULL,
	next_gate   bigint NOT NULL,
	workflow_id bigint NOT NULL,
	step        integer NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX gates_workflow ON haul._gates (workflow_id, step);
CREATE SEQUENCE haul._gate_id_seq;

-- How members ended; only appended to.
CREATE TABLE haul._workflow_ends (
	workflow_id bigint NOT NULL,
	step        integer NOT NULL,
	job_id      bigint NOT NULL,
	state       text NOT NULL,
	attempt     integer NOT NULL,
	started_at  timestamptz,
	finished_at timestamptz NOT NULL,
	result      jsonb,
	error       text,
	job         jsonb
);
-- Whoever publishes all tables must be able to replicate what is deleted here; a key would cost an index.
ALTER TABLE haul._workflow_ends REPLICA IDENTITY FULL;
CREATE INDEX workflow_ends_job ON haul._workflow_ends (workflow_id, step, job_id);
