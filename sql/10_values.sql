-- Pure functions on the values that jobs are made of.

CREATE FUNCTION haul.backoff_delay(backoff text, attempt integer) RETURNS interval
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'haul_backoff_delay';
COMMENT ON FUNCTION haul.backoff_delay(text, integer) IS
'Pause before the next attempt, without jitter, after attempt number `attempt` (1 = the first) has failed.
exponential(a,b) = a + b^attempt seconds, linear(a) = a * attempt, constant(a) = a,
polynomial(a,b) = a + (attempt - 1)^b; without numbers: exponential(5,2), linear(5), constant(10), polynomial(30,5).
Never more than 365 days. Errors: 22023 for an unknown backoff or an attempt below 1.';

-- A setting of ours that is a time. In C, so that calling it loads the library that defines the settings.
CREATE FUNCTION haul._setting(name text) RETURNS interval
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'haul_setting';

-- Bounds of times and durations: within them no sum of theirs is out of range (times.h).
CREATE FUNCTION haul._is_time(at timestamptz) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'haul_is_time';
CREATE FUNCTION haul._is_duration(duration interval) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'haul_is_duration';
