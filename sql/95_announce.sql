-- Last: tells the launcher, when this commits, that the database has the extension now.
CREATE FUNCTION haul._announce() RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_announce';
SELECT haul._announce();
DROP FUNCTION haul._announce();
