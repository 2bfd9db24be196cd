// The ledger and the leases under a pinned xmin horizon, and what else can happen to their tables.
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/process.hpp"
#include "support/wait.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

const char* const journal_tables[] = {"_ledger_0", "_ledger_1", "_leases_0", "_leases_1"};

std::string array(const std::vector<std::string>& ids) {
    std::string array = "{";
    for (const std::string& id : ids)
        array += (array.size() > 1 ? "," : "") + id;
    return array + "}";
}

// Not preloaded: maintenance is what the test calls.
class extension_journals : public ::testing::Test {
protected:
    extension_journals() {
        database.exec("CREATE TABLE expected (id bigint)");
        database.exec("SET synchronous_commit = off");
    }

    void enqueue(int jobs) {
        database.exec(
            "WITH j AS (INSERT INTO haul.jobs (kind, queue, keep) SELECT 'k', 'q' || n % 5, '0' FROM "
            "generate_series(1, $1) AS n RETURNING id) INSERT INTO expected SELECT id FROM j",
            {std::to_string(jobs)});
    }

    std::string add_worker() { return database.text("SELECT haul.register_worker('w')"); }

    // Checks out and completes `jobs` jobs, one in a call.
    void work(const std::string& worker, int jobs) {
        enqueue(jobs);
        for (int job = 0; job < jobs; ++job) {
            const row token =
                database.exec("SELECT array_agg(id), array_agg(claim) FROM haul.checkout($1)", {worker})[0];
            database.exec("SELECT haul.complete($1, $2, $3)", {worker, token[0], token[1]});
        }
    }

    // Appends so much to both journals that their tables are worth emptying, once it is folded.
    void write_much() {
        database.exec("SELECT haul._count_deleted_jobs('much', NULL, 0, 1) FROM generate_series(1, 12000)");
        database.exec(R"sql(
            DO $$
            BEGIN
                EXECUTE format('INSERT INTO haul._leases_%s (entry, id, worker_id, jobs, done, claimed_at)
                    SELECT nextval(%L), -n, 0, array_fill(0, ARRAY[224]), 224, now() FROM generate_series(1, 600) AS n',
                    (SELECT last_value >> 20 & 1 FROM haul._entry_seq), 'haul._entry_seq');
            END
            $$)sql");
        database.exec("INSERT INTO expected SELECT -n FROM generate_series(1, 12000) AS n");
    }

    std::int64_t size(const std::string& table) {
        return database.number("SELECT pg_relation_size('haul.' || $1)", {table});
    }

    std::int64_t journal_size() {
        std::int64_t sum = 0;
        for (const char* table : journal_tables)
            sum += size(table);
        return sum;
    }

    void maintain() { database.exec("SELECT haul.maintain()"); }

    std::int64_t unfolded() { return database.number("SELECT count(*) FROM haul._ledger WHERE NOT sum"); }

    void expect_all_well() { EXPECT_THAT(check(dsn, {"expected", "", false, true}), IsEmpty()); }

    cluster server{{false, {{"autovacuum", "off"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
};

// ---- a pinned horizon ----

class pinned_horizon : public extension_journals {
protected:
    // Pages of shared buffers that a statement looks at.
    std::int64_t buffers(const std::string& sql) {
        const auto plan =
            nlohmann::json::parse(database.text("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql))
                .at(0)
                .at("Plan");
        return plan.at("Shared Hit Blocks").get<std::int64_t>() +
               plan.at("Shared Read Blocks").get<std::int64_t>();
    }

    struct costs {
        std::int64_t maintenance, heartbeat, cleanup, reaping, counters;
    };

    // What each costs after the same work.
    costs measure() {
        work(workers[0], 20);
        const std::string doomed = add_worker();
        enqueue(10);
        database.exec("SELECT haul.checkout($1, 10)", {doomed});
        costs found{};
        found.reaping = buffers("SELECT haul.unregister_worker(" + doomed + ")");
        finish_rest();
        found.counters = buffers("SELECT * FROM haul.counters");
        found.maintenance = buffers("SELECT haul.maintain()");
        found.heartbeat = buffers("SELECT haul.heartbeat(" + workers[0] + ", 1)");
        found.cleanup = buffers("SELECT haul.cleanup_workers()");
        return found;
    }

    void finish_rest() {
        database.exec("SELECT haul.complete($1, array_agg(id), array_agg(claim)) FROM haul.checkout($1, 100)",
                      {workers[0]});
    }

    std::vector<std::string> workers = [this] {
        std::vector<std::string> ids;
        for (int n = 0; n < 20; ++n)
            ids.push_back(add_worker());
        return ids;
    }();
};

TEST_F(pinned_horizon, costs_nothing_after_an_hours_worth_of_work) {
    measure(); // fills the caches
    maintain();
    database.exec("VACUUM");
    const costs clean = measure();

    session reader(dsn);
    reader.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    reader.exec("SELECT count(*) FROM haul.queues");
    for (int round = 0; round < 360; ++round) { // one in ten seconds
        database.exec("SELECT haul.heartbeat(w, $2) FROM unnest($1::bigint[]) AS w",
                      {array(workers), std::to_string(round % 10)});
        work(workers[round % workers.size()], 5);
        maintain();
    }

    const costs after = measure();
    EXPECT_LE(after.maintenance, 2 * clean.maintenance);
    EXPECT_LE(after.heartbeat, 2 * clean.heartbeat);
    EXPECT_LE(after.cleanup, 2 * clean.cleanup);
    EXPECT_LE(after.reaping, 2 * clean.reaping);
    EXPECT_LE(after.counters, 3 * clean.counters + 20); // the planner reads small tables from end to end
    expect_all_well();
}

TEST_F(pinned_horizon, keeps_what_an_old_snapshot_sees) {
    const std::string counts = "SELECT c::text FROM haul.counters AS c ORDER BY day, queue";
    const std::string leases = "SELECT l::text FROM haul.leases AS l ORDER BY id";
    work(workers[0], 30);
    enqueue(10);
    database.exec("SELECT haul.checkout($1, 10)", {workers[1]});
    maintain();
    work(workers[0], 30);
    const rows counts_then = database.exec(counts);
    const rows leases_then = database.exec(leases);
    session reader(dsn);
    reader.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    reader.exec("SELECT count(*) FROM haul.queues");

    write_much();
    maintain();
    maintain();
    maintain();
    EXPECT_EQ(database.number("SELECT haul.unregister_worker($1)", {workers[1]}), 10);
    const std::int64_t kept = journal_size();
    EXPECT_GT(kept, 2 << 20);
    EXPECT_EQ(reader.exec(counts), counts_then);
    EXPECT_EQ(reader.exec(leases), leases_then);
    expect_all_well();

    reader.exec("COMMIT");
    for (int pass = 0; pass < 6; ++pass)
        maintain();
    EXPECT_LT(journal_size(), kept / 2);
    expect_all_well();
}

TEST_F(pinned_horizon, of_a_transaction_that_has_completed_a_job_lets_the_rest_be_folded) {
    enqueue(1);
    session worker(dsn);
    const row token = worker.exec("SELECT id, claim FROM haul.checkout($1)", {workers[1]})[0];
    worker.exec("BEGIN");
    worker.exec("SELECT haul.complete($1, ARRAY[$2::bigint], ARRAY[$3::integer])",
                {workers[1], token[0], token[1]});
    for (int round = 0; round < 6; ++round) {
        work(workers[0], 10);
        maintain();
    }
    EXPECT_LE(unfolded(), 1 + 2 * 10); // what was counted in the same turn
    expect_all_well();
    worker.exec("COMMIT");
    maintain();
    maintain();
    EXPECT_EQ(unfolded(), 0);
    expect_all_well();
}

// ---- the tables ----

TEST_F(extension_journals, are_emptied) {
    const std::string worker = add_worker();
    write_much();
    work(worker, 5);
    const std::int64_t full = journal_size();
    ASSERT_GT(full, 2 << 20);
    maintain();
    EXPECT_EQ(unfolded(), 0);
    EXPECT_GE(journal_size(), full); // this pass may still be rolled back
    maintain();
    EXPECT_LT(journal_size(), full / 10);
    work(worker, 5);
    expect_all_well();
    maintain();
    expect_all_well();
}

TEST_F(extension_journals, are_not_emptied_while_somebody_reads_them_nor_is_anybody_kept_waiting) {
    const std::string worker = add_worker();
    write_much();
    maintain();
    const std::int64_t full = journal_size();
    session reader(dsn); // as pg_dump does
    reader.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    for (const char* table : journal_tables)
        reader.exec(std::string("LOCK TABLE haul.") + table + " IN ACCESS SHARE MODE");
    database.exec("SET lock_timeout = '1ms'");
    for (int round = 0; round < 4; ++round) {
        work(worker, 5);
        maintain();
        EXPECT_EQ(unfolded(), 0);
        EXPECT_GE(journal_size(), full);
    }
    reader.exec("COMMIT");
    maintain();
    maintain();
    EXPECT_LT(journal_size(), full / 2);
    expect_all_well();
}

TEST_F(extension_journals, take_a_pass_in_an_open_transaction) {
    const std::string worker = add_worker();
    write_much();
    maintain();
    work(worker, 5);
    session other(dsn);
    other.exec("BEGIN");
    EXPECT_TRUE(other.truth("SELECT (haul.maintain() -> 'ran')::boolean"));
    database.exec("SET lock_timeout = '1ms'");
    work(worker, 20);
    EXPECT_EQ(database.number("SELECT sum(completions) FROM haul.counters"), 25);
    EXPECT_EQ(database.number("SELECT haul.unregister_worker($1)", {worker}), 0);
    expect_all_well();
    other.exec("ROLLBACK");
    expect_all_well();
    maintain(); // empties what was folded at first
    maintain();
    EXPECT_EQ(unfolded(), 0);
    expect_all_well();
}

TEST_F(extension_journals, survive_a_rewrite_of_their_tables) {
    const std::string worker = add_worker();
    enqueue(10);
    database.exec("SELECT haul.checkout($1, 10)", {worker});
    const std::string other = add_worker();
    for (int round = 0; round < 4; ++round) {
        work(other, 20);
        if (round > 0)
            maintain();
    }
    work(other, 20);
    for (const char* table : journal_tables)
        database.exec(std::string("VACUUM FULL haul.") + table);
    expect_all_well();
    maintain();
    EXPECT_EQ(unfolded(), 0);
    work(other, 20);
    expect_all_well();
    EXPECT_EQ(database.number("SELECT haul.unregister_worker($1)", {worker}), 10);
    expect_all_well();
}

TEST_F(extension_journals, go_on_after_a_restore) {
    const std::string worker = add_worker();
    enqueue(10);
    database.exec("SELECT haul.checkout($1, 10)", {worker});
    const std::string other = add_worker();
    for (int round = 0; round < 3; ++round) {
        work(other, 20);
        maintain();
    }
    work(other, 20);
    const temporary_directory directory;
    const std::string file = (directory.path() / "dump").string();
    run({cluster::program_directory() + "/pg_dump", "--format=custom", "--file", file, "--dbname", dsn});
    session(server.dsn()).exec("CREATE DATABASE copy");
    run({cluster::program_directory() + "/pg_restore", "--exit-on-error", "--dbname", server.dsn("copy"),
         file});

    const std::string copy = server.dsn("copy");
    session restored(copy);
    const std::string counts = "SELECT c::text FROM haul.counters AS c ORDER BY day, queue";
    EXPECT_EQ(restored.exec(counts), database.exec(counts));
    for (int pass = 0; pass < 3; ++pass) {
        restored.exec("SELECT haul.maintain()");
        EXPECT_EQ(restored.exec(counts), database.exec(counts));
        EXPECT_THAT(check(copy, {"expected", "", false, true}), IsEmpty());
    }
    EXPECT_EQ(restored.number("SELECT count(*) FROM haul._ledger WHERE NOT sum"), 0);
    EXPECT_EQ(restored.number("SELECT haul.unregister_worker($1)", {worker}), 10);
    EXPECT_THAT(check(copy, {"expected", "", false, true}), IsEmpty());
}

// Where a session wrote last there may be room again, far in front of what has been folded since.
TEST_F(extension_journals, are_written_to_at_their_end_only) {
    const std::string count = "SELECT haul._count_deleted_jobs($1, NULL, 0, 1)";
    std::string wide;
    for (int n = 0; n < 63; ++n)
        wide += "\U0001F69A"; // rows that leave room for a narrow one on each page
    session writer(dsn);
    for (int turn = 0; turn < 4; ++turn) {
        writer.exec(count, {"narrow"});
        database.exec(count + " FROM generate_series(1, 200)", {wide});
        maintain();
    }
    EXPECT_EQ(database.number("SELECT sum(drops) FROM haul.counters WHERE queue = 'narrow'"), 4);
    maintain();
    EXPECT_EQ(database.number("SELECT sum(drops) FROM haul.counters WHERE queue = 'narrow'"), 4);
    EXPECT_EQ(unfolded(), 0);
}

// ---- crashes ----

TEST_F(extension_journals, are_exact_after_a_crash_at_any_step) {
    const std::string worker = add_worker();
    const std::string other = add_worker();
    database.exec("CHECKPOINT"); // the workers, at least, survive
    const std::vector<std::vector<std::string>> steps = {
        {},
        {"SELECT haul.maintain()"},
        {"BEGIN", "SELECT haul.maintain()"},
        {"SELECT haul.maintain()", "BEGIN", "SELECT haul.maintain()"},
        {"BEGIN", "SELECT haul.checkout(" + worker + ", 3)", "SELECT haul.maintain()"},
        {"BEGIN", "SELECT haul.unregister_worker(" + other + ")"},
        {"SELECT haul.maintain()", "SELECT haul.maintain()"},
    };
    for (const auto& step : steps)
        for (const bool durable : {true, false}) {
            SCOPED_TRACE(::testing::PrintToString(step));
            work(worker, 10);
            enqueue(3);
            database.exec("SELECT haul.checkout($1, 3)", {other});
            if (durable)
                database.exec("CHECKPOINT");
            {
                session unlucky(dsn);
                for (const std::string& sql : step)
                    unlucky.exec(sql);
                server.restart("immediate");
            }
            database = session(dsn);
            database.exec("SET synchronous_commit = off");
            expect_all_well();
            maintain();
            expect_all_well();
            EXPECT_EQ(unfolded(), 0);
        }
    const std::int64_t held = database.number("SELECT count(*) FROM haul.jobs WHERE worker_id = $1", {other});
    EXPECT_EQ(database.number("SELECT haul.unregister_worker($1)", {other}), held);
    expect_all_well();
}

} // namespace
} // namespace haul::test
