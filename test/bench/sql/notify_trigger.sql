-- The wake-up that people write themselves.
CREATE FUNCTION bench.notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('bench', NEW.queue);
	RETURN NULL;
END
$$;
CREATE TRIGGER notify AFTER INSERT ON bench.jobs FOR EACH ROW EXECUTE FUNCTION bench.notify();
