-- One checkout and one completion of a thousand jobs, explained; a pair of calls before them fills the caches.
SELECT haul.register_worker('bench') AS worker \gset
SELECT array_agg(id) AS ids, array_agg(claim) AS claims FROM haul.checkout(:worker, 1000) \gset
SELECT haul.complete(:worker, :'ids', :'claims') AS lost \gset
-- The plan is that of the SELECT. To look for the jobs in haul.jobs instead could do work which the completion would
-- have to pay for.
EXPLAIN (ANALYZE, BUFFERS, WAL) CREATE TEMPORARY TABLE handed_out AS SELECT id, claim FROM haul.checkout(:worker, 1000);
SELECT array_agg(id) AS ids, array_agg(claim) AS claims FROM handed_out \gset
EXPLAIN (ANALYZE, BUFFERS, WAL) SELECT haul.complete(:worker, :'ids', :'claims');
SELECT haul.unregister_worker(:worker) AS released \gset
