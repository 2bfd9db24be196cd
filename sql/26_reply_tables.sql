-- Answers to those who enqueued jobs with a reply_to. Written in the transaction that ends the job; whoever has read
-- one deletes it.
CREATE TABLE haul.replies (
	id          bigint GENERATED ALWAYS AS IDENTITY,
	reply_to    text COLLATE "C" NOT NULL,
	job_id      bigint NOT NULL,
	claim       integer NOT NULL,
	attempt     integer NOT NULL,
	state       text NOT NULL,
	result      jsonb,
	error       text,
	repeats     boolean NOT NULL,
	finished_at timestamptz NOT NULL,
	enqueued_by text NOT NULL
);
-- Whoever publishes all tables must be able to replicate what is deleted here; a key would cost an index.
ALTER TABLE haul.replies REPLICA IDENTITY FULL;
CREATE INDEX replies_mailbox ON haul.replies (reply_to, id);
CREATE INDEX replies_finished ON haul.replies (finished_at);
COMMENT ON TABLE haul.replies
	IS 'Outcomes of jobs that were enqueued with reply_to, until they are deleted by whom they are for (haul.my_replies), '
	'or for the setting haul.keep_replies';
COMMENT ON COLUMN haul.replies.id IS 'Identity';
COMMENT ON COLUMN haul.replies.reply_to
	IS 'Mailbox: haul.jobs.reply_to. NOTIFY on channel haul_reply, payload the mailbox, goes with it';
COMMENT ON COLUMN haul.replies.job_id IS 'The job';
COMMENT ON COLUMN haul.replies.claim IS 'How often it had been checked out when it ended';
COMMENT ON COLUMN haul.replies.attempt IS 'Attempts made; 0: it ended without one';
COMMENT ON COLUMN haul.replies.state IS 'completed, failed, discarded or cancelled';
COMMENT ON COLUMN haul.replies.result IS 'What the handler returned';
COMMENT ON COLUMN haul.replies.error IS 'Why it did not succeed';
COMMENT ON COLUMN haul.replies.repeats IS 'A run of a periodic job, of which there will be more';
COMMENT ON COLUMN haul.replies.finished_at IS 'When it ended';
COMMENT ON COLUMN haul.replies.enqueued_by IS 'Role that enqueued the job';
