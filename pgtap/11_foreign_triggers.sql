-- Somebody else's triggers and foreign keys on haul.jobs are honoured by all calls, with the same results.
\ir include/prelude.psql
SELECT no_plan();

-- Every change of a row, as its triggers saw it
CREATE TABLE helper.seen (n integer GENERATED ALWAYS AS IDENTITY, at text, kind text, before text, after text);
-- With rights of its own: of such a function the server remembers more.
CREATE FUNCTION helper.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
AS $$
BEGIN
	INSERT INTO helper.seen (at, kind, before, after)
		VALUES (lower(TG_WHEN || ' ' || TG_OP), OLD.kind, OLD.state || ' ' || OLD.attempt || ' ' || OLD.claim,
				CASE TG_OP WHEN 'UPDATE' THEN NEW.state || ' ' || NEW.attempt || ' ' || NEW.claim END);
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE TRIGGER a_note_before BEFORE UPDATE OR DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.note();
CREATE TRIGGER z_note_after AFTER UPDATE OR DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.note();
-- What was seen since the last time, in its order
CREATE FUNCTION helper.changes() RETURNS text[] LANGUAGE sql
AS $$
	WITH gone AS (DELETE FROM helper.seen RETURNING *)
		SELECT coalesce(array_agg(concat_ws(', ', at, kind, before, after) ORDER BY n), '{}') FROM gone
$$;

SELECT haul.register_worker('w', '{"queues": ["q"], "confirm_start": true}') AS w \gset
INSERT INTO haul.jobs (kind, queue, on_interrupt) VALUES ('a', 'q', 'fail');
INSERT INTO haul.jobs (kind, queue, priority) VALUES ('b', 'q', 1), ('c', 'q', 16383);
SELECT is(helper.checkout_kinds(:w), 'b a c', 'checkout, in order');
SELECT is(helper.changes(), ARRAY['before update, b, ready 0 0, running 1 1',
	'before update, a, ready 0 0, running 1 1', 'before update, c, ready 0 0, running 1 1',
	'after update, b, ready 0 0, running 1 1', 'after update, a, ready 0 0, running 1 1',
		'after update, c, ready 0 0, running 1 1'], 'its updates fire triggers, BEFORE and AFTER');
SELECT is(helper.checkout_kinds(:w), NULL, 'nobody gets a job twice');
SELECT id AS a FROM haul.jobs WHERE kind = 'a' \gset
SELECT id AS b FROM haul.jobs WHERE kind = 'b' \gset
SELECT id AS c FROM haul.jobs WHERE kind = 'c' \gset
SELECT is(haul.start(:w, ARRAY[:a], ARRAY[1]), '{}', 'start');
SELECT is(helper.changes(), ARRAY['before update, a, running 1 1, running 1 1',
	'after update, a, running 1 1, running 1 1'], 'is an update');
SELECT is(haul.progress(:w, :a, 1, '"half"'), true, 'progress');
SELECT is(helper.changes(), ARRAY['before update, a, running 1 1, running 1 1',
	'after update, a, running 1 1, running 1 1'], 'is an update');
SELECT is(haul.complete(:w, ARRAY[:a, :b], ARRAY[1, 7], ARRAY['"r"', NULL]::jsonb[]), ARRAY[:b]::bigint[],
	'complete of one that is owned and one that is not');
SELECT is(helper.changes(), ARRAY['before delete, a, running 1 1', 'after delete, a, running 1 1'],
	'deletes the first, once');
SELECT has(helper.finished(:a), jsonb_build_object('state', 'completed', 'result', 'r', 'progress', 'half', 'attempt',
	1, 'claim', 1, 'worker_id', :w), 'the history is the same');
SELECT is(haul.fail(:w, :b, 1, 'e', retry_in => '0', retry_queue => 'q2'), 'ready', 'fail');
SELECT is(helper.changes(), ARRAY['before update, b, running 1 1, ready 1 1',
	'after update, b, running 1 1, ready 1 1'], 'is an update');
SELECT has(helper.job(:b), '{"queue": "q2", "state": "ready", "last_error": "e", "worker_id": null}',
	'the job is ready, in its new queue');
SELECT is(haul.snooze(:w, :c, 1, '0'), true, 'snooze');
SELECT is(helper.changes(), ARRAY['before update, c, running 1 1, ready 0 1',
	'after update, c, running 1 1, ready 0 1'], 'is an update');
SELECT haul.register_worker('w2', '{"queues": ["q2", "q"]}') AS w2 \gset
SELECT is(helper.checkout_kinds(:w2), 'b c', 'the index has their new places');
SELECT is(haul.release(:w2, ARRAY[:b], ARRAY[2], false), '{}', 'release');
SELECT is(haul.discard(:w2, :c, 2, 'r'), true, 'discard');
SELECT is((helper.changes())[5:], ARRAY['before update, b, running 2 2, ready 1 2',
	'after update, b, running 2 2, ready 1 2', 'before delete, c, running 1 2', 'after delete, c, running 1 2'],
	'are an update and a delete');
SELECT is(helper.checkout_kinds(:w2), 'b', 'checkout');
SELECT haul.cancelled(:w2, :b, 2, 'stale');
SELECT is(haul.complete(:w2, ARRAY[:b, :b], ARRAY[3, 3]), ARRAY[:b]::bigint[], 'complete, named twice');
SELECT is((helper.changes())[3:], ARRAY['before delete, b, running 2 3', 'after delete, b, running 2 3'],
	'stale calls fire nothing, a job is deleted once');
SELECT is(helper.counts('q'),
	'{"dispatches": 3, "retries": 1, "completions": 1, "failures": 1, "releases": 1, "discards": 1}',
	'the counts of one queue are as ever');
SELECT is(helper.counts('q2'), '{"retries": 2, "completions": 1, "releases": 1}', 'and of the other');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- Interruptions and maintenance
INSERT INTO haul.jobs (kind, queue, on_interrupt) VALUES ('i1', 'int', 'retry'), ('i2', 'int', 'fail');
INSERT INTO haul.jobs (kind, queue, queue_timeout) VALUES ('late', 'int2', '1 microsecond');
SELECT haul.register_worker('i', '{"queues": ["int"]}') AS i \gset
SELECT is(helper.checkout_kinds(:i), 'i1 i2', 'checkout');
SELECT helper.changes();
DELETE FROM haul.workers WHERE id = :i;
SELECT is(helper.changes(), ARRAY['before update, i1, running 1 1, ready 1 1', 'before delete, i2, running 1 1',
	'after update, i1, running 1 1, ready 1 1', 'after delete, i2, running 1 1'],
	'the death of a worker fires triggers');
SELECT is(haul.maintain() -> 'jobs_expired', '1', 'maintenance discards a late job');
SELECT is(helper.changes(), ARRAY['before delete, late, ready 0 0', 'after delete, late, ready 0 0'],
	'which fires triggers');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- A unique key that is free once the job started
INSERT INTO haul.jobs (kind, queue, unique_key, unique_until) VALUES ('u', 'int', 'k', 'started')
	RETURNING id AS u \gset
SELECT haul.register_worker('i', '{"queues": ["int"], "kinds": ["u"]}') AS i \gset
SELECT is(helper.checkout_kinds(:i), 'u', 'checkout');
SELECT is(helper.job(:u) -> 'unique_key', 'null', 'clears the key');
SELECT isnt(haul.enqueue('u', unique_key => 'k'), :u::bigint, 'and the index knows');
DROP TRIGGER a_note_before ON haul.jobs;
DROP TRIGGER z_note_after ON haul.jobs;

-- A trigger that suppresses what is inserted
CREATE FUNCTION helper.suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER a_suppress BEFORE INSERT ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.suppress();
CREATE TRIGGER a_suppress BEFORE INSERT ON haul.cron FOR EACH ROW EXECUTE FUNCTION helper.suppress();
SELECT throws_ok(statement, '39P01', NULL, statement) FROM unnest(ARRAY[
	$$ SELECT haul.enqueue('s') $$, $$ SELECT haul.enqueue('s', unique_key => 's') $$, $$ SELECT haul.try_enqueue('s') $$,
	$$ SELECT haul.enqueue_many('[{"kind": "s"}]') $$, $$ SELECT haul.workflow('[{"kind": "s"}]') $$]) AS statement;
SELECT throws_ok($$ SELECT haul.schedule('s', '@daily', 'SELECT 1') $$, '42710', NULL, 'nor does haul.schedule loop');
DROP TRIGGER a_suppress ON haul.jobs;
DROP TRIGGER a_suppress ON haul.cron;
SELECT haul.workflow('[{"kind": "f", "queue": "suppressed"}]') AS wf \gset
SELECT haul.fail(w, c.id, c.claim, 'e', final => true) FROM haul.register_worker('s', '{"queues": ["suppressed"]}')
	AS w,
	haul.checkout(w) AS c;
CREATE TRIGGER a_suppress BEFORE INSERT ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.suppress();
SELECT throws_ok(format('SELECT haul.retry_workflow(%s)', :wf), '39P01', NULL, 'haul.retry_workflow');
INSERT INTO haul.cron (name, schedule, kind) VALUES ('s', '1 second', 's');
UPDATE haul.cron SET next_run_at = clock_timestamp() - interval '2 seconds';
SELECT haul.maintain() \g /dev/null
SELECT is((SELECT message FROM haul.cron_runs WHERE name = 's' LIMIT 1), 'a trigger on haul.jobs suppressed the job',
	'a schedule says so');
DELETE FROM haul.cron;
DROP TRIGGER a_suppress ON haul.jobs;

-- A trigger may change the row, or suppress the change.
CREATE FUNCTION helper.meddle() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	IF OLD.kind = 'untouchable' THEN
		RETURN NULL;
	END IF;
	NEW.progress := '"meddled"';
	RETURN NEW;
END
$$;
CREATE TRIGGER meddle BEFORE UPDATE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.meddle();
INSERT INTO haul.jobs (kind, queue) VALUES ('untouchable', 'meddled'), ('normal', 'meddled');
SELECT haul.register_worker('m', '{"queues": ["meddled"]}') AS m \gset
SELECT id, kind, claim FROM haul.checkout(:m, 10) \gset m_
SELECT is(:'m_kind'::text, 'normal', 'a job whose claim a trigger suppressed is not handed out');
SELECT has(helper.job(:m_id), '{"progress": "meddled", "state": "running"}', 'what a trigger changes stays changed');
SELECT is((SELECT state FROM haul.jobs WHERE kind = 'untouchable'), 'ready', 'and what it suppressed has not happened');
SELECT is(helper.counts('meddled'), '{"dispatches": 1}', 'nor is it counted');
DROP TRIGGER meddle ON haul.jobs;
CREATE FUNCTION helper.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.keep();
SELECT throws_ok(replace(replace(call, '<w>', :'m'), '<id>', :'m_id'), '39P01', NULL,
	'a trigger may not suppress what became of a job: ' || call) FROM unnest(ARRAY[
	'SELECT haul.complete(<w>, ARRAY[<id>], ARRAY[1])', 'SELECT haul.fail(<w>, <id>, 1, ''e'')',
		'SELECT haul.discard(<w>, <id>, 1, ''r'')', 'SELECT haul.snooze(<w>, <id>, 1, ''0'')',
	'SELECT haul.release(<w>, ARRAY[<id>], ARRAY[1])', 'DELETE FROM haul.workers WHERE id = <w>']) AS call;
SELECT has(helper.job(:m_id), jsonb_build_object('state', 'running', 'worker_id', :m), 'the job goes on running');
SELECT is((SELECT count(*) FROM haul.finished_jobs WHERE id = :m_id), 0::bigint, 'nothing is recorded');
SELECT ok(helper.counters_add_up(), 'nor counted');
DROP TRIGGER keep ON haul.jobs;
SELECT is(haul.complete(:m, ARRAY[:m_id], ARRAY[:m_claim]), '{}', 'without the trigger it is done');

-- A trigger may use the queue itself.
CREATE FUNCTION helper.follow_up() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO haul.jobs (kind, queue, args) VALUES ('after ' || OLD.kind, 'follow', jsonb_build_object('id', OLD.id));
	UPDATE haul.jobs SET priority = 1 WHERE kind = 'bystander';
	RETURN NULL;
END
$$;
CREATE TRIGGER follow_up AFTER DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.follow_up();
INSERT INTO haul.jobs (kind, queue) VALUES ('one', 'lead'), ('two', 'lead'), ('bystander', 'follow');
SELECT haul.register_worker('l', '{"queues": ["lead"]}') AS l \gset
SELECT is((SELECT haul.complete(:l, array_agg(id), array_agg(claim)) FROM haul.checkout(:l, 2)), '{}',
	'complete, with a trigger that enqueues');
SELECT is((SELECT string_agg(kind || ' ' || priority, ', ' ORDER BY id) FROM haul.jobs WHERE queue = 'follow'),
	'bystander 1, after one 16383, after two 16383', 'what it did is there');
DROP TRIGGER follow_up ON haul.jobs;

-- A trigger that raises
CREATE FUNCTION helper.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE =
	'XX998'; END $$;
CREATE TRIGGER refuse AFTER UPDATE OR DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.refuse();
SELECT throws_ok(format('SELECT haul.checkout(%s)', haul.register_worker('x', '{"queues": ["meddled"]}')), 'XX998',
	NULL, 'an error in a trigger is the error of the call');
DROP TRIGGER refuse ON haul.jobs;
SELECT is((SELECT state FROM haul.jobs WHERE kind = 'untouchable'), 'ready', 'which has done nothing');

-- Foreign keys
CREATE TABLE helper.cascades (job_id bigint REFERENCES haul.jobs (id) ON DELETE CASCADE);
INSERT INTO haul.jobs (kind, queue) VALUES ('f1', 'fk'), ('f2', 'fk'), ('f3', 'fk'), ('f4', 'fk');
INSERT INTO helper.cascades SELECT id FROM haul.jobs WHERE queue = 'fk';
SELECT haul.register_worker('f', '{"queues": ["fk"]}') AS f \gset
CREATE TEMP TABLE held AS SELECT * FROM haul.checkout(:f, 4);
SELECT is((SELECT string_agg(kind, ' ' ORDER BY id) FROM held), 'f1 f2 f3 f4', 'checkout with a foreign key');
SELECT is((SELECT haul.complete(:f, array_agg(id), array_agg(claim)) FROM held WHERE kind IN ('f1', 'f2')), '{}',
	'complete');
SELECT is((SELECT count(*) FROM helper.cascades), 2::bigint, 'ON DELETE CASCADE follows it');
SELECT is((SELECT haul.fail(:f, id, claim, 'e', final => true) FROM held WHERE kind = 'f3'), 'failed', 'fail for good');
SELECT is((SELECT count(*) FROM helper.cascades), 1::bigint, 'ON DELETE CASCADE follows it');
DROP TABLE helper.cascades;
CREATE TABLE helper.holds (job_id bigint REFERENCES haul.jobs (id));
INSERT INTO helper.holds SELECT id FROM held WHERE kind = 'f4';
SELECT id AS f4 FROM held WHERE kind = 'f4' \gset
SELECT throws_ok(format('SELECT haul.complete(%s, ARRAY[%s], ARRAY[1])', :f, :f4), '23503', NULL,
	'NO ACTION keeps a job from ending');
SELECT throws_ok(format('SELECT haul.discard(%s, %s, 1, %L)', :f, :f4, 'r'), '23503', NULL, 'in whatever way');
SELECT has(helper.job(:f4), '{"state": "running"}', 'it goes on running');
SELECT is(haul.fail(:f, :f4, 1, 'e', retry_in => '0'), 'ready', 'it may fail');
SELECT is(helper.checkout_kinds(:f), 'f4', 'and be tried again');
ALTER TABLE helper.holds ALTER CONSTRAINT holds_job_id_fkey DEFERRABLE INITIALLY DEFERRED;
SELECT throws_ok(format($$ DO
	'BEGIN PERFORM haul.complete(%s, ARRAY[%s], ARRAY[2]); SET CONSTRAINTS ALL IMMEDIATE; END' $$, :f, :f4), '23503',
	NULL, 'a deferred constraint is checked later');
SELECT has(helper.job(:f4), '{"state": "running", "claim": 2}', 'and undoes the completion');
DELETE FROM helper.holds;
SELECT is(haul.complete(:f, ARRAY[:f4], ARRAY[2]), '{}', 'and ends when nothing refers to it');
SELECT ok(helper.counters_add_up(), 'the counters add up');

\ir include/finish.psql
