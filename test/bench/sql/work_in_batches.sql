-- Works off what is ready, in batches, each checkout and each completion a transaction of its own.
CREATE PROCEDURE work_in_batches(batch integer) LANGUAGE plpgsql AS $$
DECLARE
	worker  bigint := haul.register_worker('bench');
	handed  bigint[];
	claimed integer[];
BEGIN
	COMMIT;
	LOOP
		SELECT array_agg(id), array_agg(claim) INTO handed, claimed FROM haul.checkout(worker, batch);
		COMMIT;
		EXIT WHEN handed IS NULL;
		PERFORM haul.complete(worker, handed, claimed);
		COMMIT;
	END LOOP;
END
$$;
