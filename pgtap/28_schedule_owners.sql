-- Schedules belong to roles, not to names, and fire for another role only while that is allowed.
\ir include/prelude.psql
SELECT no_plan();

CREATE ROLE haul_test_batch LOGIN;
CREATE ROLE haul_test_alice LOGIN IN ROLE haul_test_batch;
SELECT haul.grant_scheduler('haul_test_alice'), haul.grant_scheduler('haul_test_batch');
GRANT USAGE ON SCHEMA helper TO haul_test_alice;

-- Makes all schedules due and fires them; what became of each.
CREATE FUNCTION helper.fire_all() RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	DELETE FROM haul.jobs;
	UPDATE haul.cron_runs SET state = 'failed', finished_at = now() WHERE finished_at IS NULL;
	DELETE FROM haul.cron_runs;
	UPDATE haul.cron SET next_run_at = clock_timestamp() - interval '1 second' WHERE enabled;
	PERFORM haul._fire();
	RETURN (SELECT string_agg(name || ' ' || state, ', ' ORDER BY name)
				FROM (SELECT DISTINCT ON (name) name, state FROM haul.cron_runs ORDER BY name, run_at) AS first);
END
$$;

SET LOCAL ROLE haul_test_alice;
SELECT haul.schedule('own', '1 second', 'SELECT 1') \g /dev/null
SELECT haul.schedule_in_database('for batch', '1 second', 'SELECT 1', NULL, 'haul_test_batch') \g /dev/null
INSERT INTO haul.cron (name, schedule, kind) VALUES ('jobs for batch', '1 second', 'k');
UPDATE haul.cron SET owner = 'haul_test_batch' WHERE name = 'jobs for batch';
RESET ROLE;
SELECT haul.schedule_in_database('by the superuser', '1 second', 'SELECT 1', NULL, 'haul_test_batch') \g /dev/null
SELECT results_eq('SELECT name, owner, scheduled_by FROM haul.cron ORDER BY name', $$ VALUES
	('by the superuser' COLLATE "C", 'haul_test_batch'::name, 'haul_test_batch'::name),
	('for batch', 'haul_test_batch', 'haul_test_alice'), ('jobs for batch', 'haul_test_batch', 'haul_test_alice'),
	('own', 'haul_test_alice', 'haul_test_alice') $$, 'whose they are, and who made them');
SELECT is(helper.fire_all(), 'by the superuser starting, for batch starting, jobs for batch fired, own starting',
	'all of them fire');

-- Membership
REVOKE haul_test_batch FROM haul_test_alice;
SELECT is(helper.fire_all(), 'by the superuser starting, for batch failed, jobs for batch failed, own starting',
	'those made by one who is no member any more do not');
SELECT is((SELECT message FROM haul.cron_runs WHERE name = 'for batch' LIMIT 1),
	'role "haul_test_alice", which scheduled it, could not become role "haul_test_batch" any more', 'and say why');
SET LOCAL ROLE haul_test_alice;
SELECT count(*) AS seen FROM haul.cron \gset
RESET ROLE;
SELECT is(:seen, 1, 'and are out of reach');
GRANT haul_test_batch TO haul_test_alice;
SELECT is(helper.fire_all(), 'by the superuser starting, for batch starting, jobs for batch fired, own starting',
	'a member again');

-- A new name
ALTER ROLE haul_test_batch RENAME TO haul_test_nightly;
SELECT is(helper.fire_all(), 'by the superuser starting, for batch starting, jobs for batch fired, own starting',
	'a role that is renamed is the same');
SELECT results_eq($$ SELECT DISTINCT owner FROM haul.cron WHERE name <> 'own' $$,
	$$ VALUES ('haul_test_nightly'::name) $$, 'the schedule has its new name');
SELECT results_eq($$ SELECT DISTINCT username FROM haul.cron_runs WHERE command IS NOT NULL AND name <> 'own' $$,
	$$ VALUES ('haul_test_nightly'::name) $$, 'and runs under it');
SELECT is((SELECT enqueued_by FROM haul.jobs LIMIT 1)::text, 'haul_test_nightly', 'jobs, too');

-- Another role under the name of one that is gone
SELECT haul.revoke('haul_test_alice');
REVOKE ALL ON SCHEMA helper FROM haul_test_alice;
DROP ROLE haul_test_alice;
CREATE ROLE haul_test_alice SUPERUSER LOGIN;
SELECT is(helper.fire_all(), 'by the superuser starting, for batch failed, jobs for batch failed, own failed',
	'has nothing of it');
SELECT is((SELECT message FROM haul.cron_runs WHERE name = 'own' LIMIT 1),
	'role "haul_test_alice", which owns the schedule, does not exist any more', 'which is said');
-- nor where a dump is restored
SELECT is((SELECT owner_id FROM haul.cron WHERE name = 'own'), 0::oid, 'a dump has it as gone');
COPY haul.cron (id, name, schedule, command, owner, owner_id, scheduled_by, scheduled_by_id) FROM STDIN;
2000	restored gone	1 second	SELECT 1	haul_test_alice	0	haul_test_alice	0
2001	restored alive	1 second	SELECT 1	haul_test_nightly	4242424242	haul_test_nightly	4242424242
2002	restored plain	1 second	SELECT 1	haul_test_nightly	\N	\N	\N
\.
SELECT results_eq($$ SELECT name, owner_id = haul._role_id(owner), scheduled_by_id = haul._role_id(owner)
	FROM haul.cron WHERE name LIKE 'restored%' ORDER BY name $$,
	$$ VALUES ('restored alive' COLLATE "C", true, true),
	('restored gone', false, false), ('restored plain', true, true) $$,
		'the owners of restored schedules go by their names');
-- The owner is set by somebody who may.
UPDATE haul.cron SET owner = 'haul_test_nightly' WHERE name = 'own';
DELETE FROM haul.cron WHERE name <> 'own';
SELECT is(helper.fire_all(), 'own starting', 'a superuser gives it another owner');

\ir include/finish.psql
