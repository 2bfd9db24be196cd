-- One batch of events, and the tick that ends it.
SELECT count(pgq.insert_event('bench', 'noop', '{}')) FROM generate_series(1, :batch);
SELECT pgq.ticker('bench');
