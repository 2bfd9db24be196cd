-- pg_dump leaves out the rows of an extension's tables unless they are named
-- here. The leaves of the history are no members of the extension and need no mention.
SELECT pg_catalog.pg_extension_config_dump('haul.jobs', '');
SELECT pg_catalog.pg_extension_config_dump('haul.jobs_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul.queues', '');
SELECT pg_catalog.pg_extension_config_dump('haul.kinds', '');
SELECT pg_catalog.pg_extension_config_dump('haul.workers', '');
SELECT pg_catalog.pg_extension_config_dump('haul.workers_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul.leases', '');
SELECT pg_catalog.pg_extension_config_dump('haul.leases_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('haul.ledger', '');
SELECT pg_catalog.pg_extension_config_dump('haul.counter_totals', '');
