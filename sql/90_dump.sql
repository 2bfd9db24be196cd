-- pg_dump leaves out the rows of an extension's tables unless they are named
-- here. The leaves of the history are no members of the extension and need no mention.
SELECT pg_catalog.pg_extension_config_dump('haul.jobs', '');
SELECT pg_catalog.pg_extension_config_dump('haul.jobs_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul._leaves', '');
SELECT pg_catalog.pg_extension_config_dump('haul.queues', '');
SELECT pg_catalog.pg_extension_config_dump('haul.kinds', '');
SELECT pg_catalog.pg_extension_config_dump('haul.workers', '');
SELECT pg_catalog.pg_extension_config_dump('haul.workers_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul._offers', '');
SELECT pg_catalog.pg_extension_config_dump('haul.counter_totals', '');
SELECT pg_catalog.pg_extension_config_dump('haul.cron', '');
SELECT pg_catalog.pg_extension_config_dump('haul.cron_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul.cron_runs', '');
SELECT pg_catalog.pg_extension_config_dump('haul.cron_runs_id_seq', '');
-- Of the journals what is not folded; in the copy it is as if nothing ever was. (pg_dump
-- refuses to read views here.)
SELECT pg_catalog.pg_extension_config_dump('haul._leases_0',
	'WHERE entry >= (SELECT max(upto) FROM haul._folds WHERE name = ''_leases_0'')');
SELECT pg_catalog.pg_extension_config_dump('haul._leases_1',
	'WHERE entry >= (SELECT max(upto) FROM haul._folds WHERE name = ''_leases_1'')');
SELECT pg_catalog.pg_extension_config_dump('haul._ledger_0',
	'WHERE entry >= (SELECT max(upto) FROM haul._folds WHERE name = ''_ledger_0'')');
SELECT pg_catalog.pg_extension_config_dump('haul._ledger_1',
	'WHERE entry >= (SELECT max(upto) FROM haul._folds WHERE name = ''_ledger_1'')');
SELECT pg_catalog.pg_extension_config_dump('haul._entry_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul._lease_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul._claim_ceiling', '');
SELECT pg_catalog.pg_extension_config_dump('haul.workflows', '');
SELECT pg_catalog.pg_extension_config_dump('haul.workflows_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul.workflow_jobs', '');
SELECT pg_catalog.pg_extension_config_dump('haul._workflow_ends', '');
SELECT pg_catalog.pg_extension_config_dump('haul._gates', '');
SELECT pg_catalog.pg_extension_config_dump('haul._gate_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul.replies', '');
SELECT pg_catalog.pg_extension_config_dump('haul.replies_id_seq', '');
