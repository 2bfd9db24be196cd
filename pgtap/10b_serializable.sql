-- Callers under SERIALIZABLE
SET default_transaction_isolation = 'serializable';
\ir include/isolation.psql
