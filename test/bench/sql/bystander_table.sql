-- A table of an application beside the queue.
CREATE TABLE bystander (id integer PRIMARY KEY, balance integer NOT NULL) WITH (fillfactor = 50);
INSERT INTO bystander SELECT id, 0 FROM generate_series(1, 10000) AS id;
