-- One job's whole life while the server throws its caches away at every chance. Only one that was built with assertions
-- can do that (make check-cassert); for others it is just the life of a job.
\ir include/prelude.psql
SELECT plan(2);

INSERT INTO haul.kinds (kind, backoff) VALUES ('a', 'constant(0)');
INSERT INTO haul.queues (name, keep_completed) VALUES ('default', '1 hour');
CREATE TABLE helper.life (n integer GENERATED ALWAYS AS IDENTITY, what text);
SET statement_timeout = 0;

SELECT set_config('debug_discard_caches', least(max_val::integer, 1)::text, true) AS caches
	FROM pg_settings WHERE name = 'debug_discard_caches' \gset
INSERT INTO haul.jobs (kind, args, reply_to) VALUES ('a', '{"n": 1}', 'me');
SELECT haul.register_worker('w') AS w \gset
INSERT INTO life (what) SELECT concat_ws(' ', kind, claim, attempt) FROM haul.checkout(:w);
INSERT INTO life (what) SELECT haul.fail(:w, id, claim, 'no') FROM haul.jobs;
INSERT INTO life (what) SELECT concat_ws(' ', kind, claim, attempt) FROM haul.checkout(:w);
INSERT INTO life (what) SELECT haul.heartbeat(:w);
INSERT INTO life (what) SELECT haul.complete(:w, ARRAY[id], ARRAY[claim]) FROM haul.jobs;
INSERT INTO life (what) SELECT haul.maintain() ->> 'ran';
INSERT INTO life (what) SELECT concat_ws(' ', state, attempt) FROM haul.replies;
INSERT INTO life (what) SELECT concat_ws(' ', state, attempt) FROM haul.finished_jobs;
INSERT INTO life (what) SELECT haul.unregister_worker(:w);
SET LOCAL debug_discard_caches = 0;

SELECT is((SELECT string_agg(what, ', ' ORDER BY n) FROM life),
	'a 1 1, ready, a 2 2, true, {}, true, completed 2, completed 2, 0', 'all calls are right');
SELECT ok(helper.counters_add_up(), 'so are the counts');
\ir include/finish.psql
