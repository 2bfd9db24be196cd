-- Callers under REPEATABLE READ
SET default_transaction_isolation = 'repeatable read';
\ir include/isolation.psql
