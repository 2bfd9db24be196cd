// The checker finds every kind of violation, seeded by hand into a database where all is well, and nothing
// else there.
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const checker_options with_tables{"expected", "effects", true, true};

// One job for each way that a job can be or end; the kind says which.
const char* const enqueue = R"sql(
CREATE TABLE expected (id bigint);
CREATE TABLE effects (job_id bigint);
WITH j AS (
    INSERT INTO haul.jobs (kind, max_attempts)
        SELECT kind, CASE kind WHEN 'failed' THEN 1 ELSE 3 END
            FROM unnest(ARRAY['completed', 'failed', 'discarded', 'cancelled', 'running', 'retried', 'snoozed',
                              'released', 'returned', 'ready']) AS kind
        RETURNING id)
    INSERT INTO expected SELECT id FROM j
)sql";

const char* const work = R"sql(
DO $$
DECLARE
    w bigint := haul.register_worker('a');
    j record;
BEGIN
    FOR j IN SELECT * FROM haul.checkout(w, 9) LOOP
        CASE j.kind
            WHEN 'completed' THEN
                INSERT INTO effects VALUES (j.id);
                PERFORM haul.complete(w, ARRAY[j.id], ARRAY[j.claim]);
            WHEN 'failed', 'retried' THEN PERFORM haul.fail(w, j.id, j.claim, 'no luck');
            WHEN 'discarded' THEN PERFORM haul.discard(w, j.id, j.claim, 'no use');
            WHEN 'cancelled' THEN PERFORM haul.cancelled(w, j.id, j.claim, 'told to');
            WHEN 'snoozed' THEN PERFORM haul.snooze(w, j.id, j.claim, '1 day');
            WHEN 'released' THEN PERFORM haul.release(w, ARRAY[j.id], ARRAY[j.claim]);
            WHEN 'returned' THEN PERFORM haul.release(w, ARRAY[j.id], ARRAY[j.claim], false);
            WHEN 'running' THEN NULL;
        END CASE;
    END LOOP;
END
$$
)sql";

struct seed {
    const char* sql;       // makes the violation
    const char* violation; // what the checker must say, in part
};

const seed seeds[] = {
    {"UPDATE haul.jobs SET state = 'lost' WHERE kind = 'ready'", "is live with state lost"},
    {"UPDATE haul.finished_jobs SET state = 'ready' WHERE kind = 'failed'", "is finished with state ready"},
    {"INSERT INTO haul.finished_jobs SELECT * FROM haul.finished_jobs WHERE kind = 'completed'",
     "ended 2 times"},
    {"INSERT INTO haul.finished_jobs SELECT *, now() FROM haul.jobs WHERE kind = 'ready'",
     "both ready and finished"},
    {"UPDATE haul.jobs SET attempt = 4, claim = 4 WHERE kind = 'running'", "has attempt 4 of 3"},
    {"UPDATE haul.jobs SET attempt = -1 WHERE kind = 'ready'", "has attempt -1 of 3"},
    {"UPDATE haul.jobs SET attempt = 3, claim = 3 WHERE kind = 'ready'",
     "is ready although its 3 attempts are used up"},
    {"UPDATE haul.jobs SET claim = 0 WHERE kind = 'running'", "has attempt 1 but was checked out 0 times"},
    {"UPDATE haul.jobs SET worker_id = NULL WHERE kind = 'running'", "is running without a worker"},
    {"DELETE FROM haul.workers", "which does not exist"},
    {"UPDATE haul._leases_0 SET jobs = '{}'; UPDATE haul._leases_1 SET jobs = '{}'",
     "but no lease of worker"},
    {"UPDATE haul.jobs SET lease_id = NULL WHERE kind = 'running'", "but no lease of worker"},
    {"UPDATE haul.jobs SET worker_id = (SELECT id FROM haul.workers) WHERE kind = 'ready'",
     "is ready but held by worker"},
    {"DELETE FROM haul.jobs WHERE kind = 'running'; DELETE FROM haul.workers", "belongs to worker"},
    {"UPDATE haul._leases_0 SET done = done - 1; UPDATE haul._leases_1 SET done = done - 1",
     "7 of them settled, but 1 run"},
    {"UPDATE haul.jobs SET state = 'ready', worker_id = NULL, lease_id = NULL WHERE kind = 'running'",
     "settled, but 0 run"},
    {"DELETE FROM haul.jobs WHERE kind = 'running'", "9 dispatches + 0 retries, but"},
    {"INSERT INTO haul._ledger_0 (entry, queue, releases) VALUES (1e12, 'x', -1)", "are negative"},
    {"INSERT INTO haul._ledger_0 (entry, queue, completions, releases) VALUES (1e12, 'default', 1, -1)",
     "2 completions are counted, but 1 jobs completed"},
    {"INSERT INTO haul._ledger_0 (entry, queue, expiries, failures) VALUES (1e12, 'default', 1, -1)",
     "2 expiries are counted, but 1 jobs failed"},
    {"INSERT INTO haul._ledger_0 (entry, queue, drops) VALUES (1e12, 'default', 1)",
     "1 discards + 1 cancels + 1 drops are counted, but 2 jobs ended so"},
    {"INSERT INTO haul._ledger_0 (entry, queue, dispatches, retries) VALUES (1e12, 'default', -1, 1)",
     "8 dispatches are counted, but 9 jobs were checked out"},
    {"INSERT INTO haul._ledger_0 (entry, queue, retries, releases) VALUES (1e12, 'default', 1, 1)",
     "9 dispatches + 1 retries are counted, but jobs were checked out 9 times"},
    {"INSERT INTO haul._ledger_0 (entry, queue, drops) VALUES (1e12, 'default', 1)",
     "10 jobs were enqueued, but 6 are live and 5 ended"},
    {"DELETE FROM haul.jobs WHERE kind = 'ready'", "is lost: neither live nor finished"},
    {"DELETE FROM expected WHERE id = (SELECT id FROM haul.jobs WHERE kind = 'ready')",
     "(ready) was never enqueued"},
    {"INSERT INTO effects SELECT * FROM effects", "took effect 2 times"},
    {"INSERT INTO effects SELECT id FROM haul.jobs WHERE kind = 'running'", "is running but took effect"},
    {"INSERT INTO effects SELECT id FROM haul.finished_jobs WHERE kind = 'failed'",
     "is failed but took effect"},
    {"DELETE FROM effects", "completed without taking effect"},
};

class checker : public ::testing::Test {
protected:
    checker() {
        session healthy(dsn);
        healthy.exec(enqueue);
        healthy.exec(work);
    }

    std::string broken_copy(const char* sql) {
        session(server.dsn()).exec("DROP DATABASE IF EXISTS broken");
        session(server.dsn()).exec("CREATE DATABASE broken TEMPLATE healthy");
        session copy(server.dsn("broken"));
        copy.exec("SET session_replication_role = replica"); // no triggers
        copy.exec(sql);
        return server.dsn("broken");
    }

    cluster server;
    std::string dsn = server.create_database("healthy");
};

TEST_F(checker, finds_nothing_where_all_is_well) {
    EXPECT_THAT(check(dsn), IsEmpty());
    EXPECT_THAT(check(dsn, with_tables), IsEmpty());
    session(dsn).exec("SELECT haul.maintain()");
    EXPECT_THAT(check(dsn, with_tables), IsEmpty());
}

TEST_F(checker, finds_each_violation) {
    for (const seed& seed : seeds)
        EXPECT_THAT(check(broken_copy(seed.sql), with_tables), Contains(HasSubstr(seed.violation)))
            << seed.sql;
}

TEST_F(checker, does_not_expect_a_history_where_there_is_none) {
    const std::string pruned = broken_copy("DELETE FROM haul.finished_jobs");
    EXPECT_THAT(check(pruned), Contains(HasSubstr("1 completions are counted, but 0 jobs completed")));
    EXPECT_THAT(check(pruned, {"expected", "effects", false, true}), IsEmpty());
}

TEST_F(checker, lets_maintenance_pick_up_what_a_deleted_worker_held) {
    const std::string dying = broken_copy("DELETE FROM haul.workers");
    EXPECT_THAT(check(dying, {"expected", "effects", true, false}), IsEmpty());
    EXPECT_THAT(check(dying, with_tables), SizeIs(2)); // the job and the lease
    session(dying).exec("SELECT haul.maintain()");
    EXPECT_THAT(check(dying, with_tables), IsEmpty());
}

TEST_F(checker, is_a_program) {
    process well({HAUL_CHECK_PROGRAM, "--expected", "expected", "--effects", "public.effects", dsn});
    EXPECT_EQ(well.wait(), 0);
    EXPECT_EQ(well.output() + well.errors(), "");

    const std::string broken = broken_copy("UPDATE haul.jobs SET state = 'lost' WHERE kind = 'ready'");
    process finds({HAUL_CHECK_PROGRAM, "--no-history", broken});
    EXPECT_EQ(finds.wait(), 1);
    EXPECT_EQ(finds.output(), "job 10 is live with state lost\n");

    process blind({HAUL_CHECK_PROGRAM, "--expected", "no_such_table", dsn});
    EXPECT_EQ(blind.wait(), 2);
    EXPECT_THAT(blind.errors(), HasSubstr("no_such_table"));
}

} // namespace
} // namespace haul::test
