-- Columns that others added to our tables, in front of which some were dropped again
SET default_transaction_isolation = 'repeatable read';
\set prepare columns_of_others.psql
\set check columns_of_others_check.psql
\ir include/isolation.psql
