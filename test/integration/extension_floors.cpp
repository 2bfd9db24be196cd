// Floors of lanes where more happens than a commit: prepared transactions, crashes, rows that come around the
// triggers, databases and extensions that come and go.
#include "support/background.hpp"
#include "support/cluster.hpp"
#include "support/wait.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using kinds = std::vector<std::string>;

// A worker in a session of its own, which takes all it can get.
class taker {
public:
    explicit taker(const std::string& dsn, const std::string& options = R"({"queues": ["q"]})")
        : database_(dsn) {
        await_served(database_);
        id_ = database_.text("SELECT haul.register_worker('w', $1)", {options});
    }

    kinds take() {
        kinds taken;
        for (const row& job : database_.exec("SELECT kind FROM haul.checkout($1, 1000)", {id_}))
            taken.push_back(*job.at(0));
        return taken;
    }

    session& database() { return database_; }

private:
    session database_;
    std::string id_;
};

void enqueue_long_ago(session& database, const std::string& kind, const std::string& queue = "q") {
    database.exec("INSERT INTO haul.jobs (kind, queue, run_at) VALUES ($1, $2, '2000-01-01')", {kind, queue});
}

bool is_floor_raised(session& database, const std::string& queue = "q") {
    return database.truth("SELECT coalesce(bool_and(floor_run_at > now() - interval '1 hour'), false) FROM "
                          "haul.lanes WHERE queue = $1",
                          {queue});
}

// Checks out until the floor of every lane of the queue is at the present.
void raise_floor(taker& worker, const std::string& queue = "q") {
    worker.database().exec("INSERT INTO haul.jobs (kind, queue) VALUES ('first', $1)", {queue});
    wait_until(
        [&] {
            worker.take();
            return is_floor_raised(worker.database(), queue);
        },
        "the floor of " + queue + " has risen");
}

std::int64_t found_below(session& database) {
    return database.number("SELECT coalesce(sum(found_below), 0) FROM haul.lanes");
}

constexpr auto prepare = "BEGIN; INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('prepared', 'q', "
                         "'2000-01-01'); PREPARE TRANSACTION 'one'";

class extension_floors : public ::testing::Test {
protected:
    cluster server{{true, {{"max_prepared_transactions", "4"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
};

TEST_F(extension_floors, wait_for_a_prepared_transaction_that_commits) {
    taker worker(dsn);
    raise_floor(worker);
    database.exec(prepare);
    enqueue_long_ago(database, "meanwhile");
    EXPECT_THAT(worker.take(), ElementsAre("meanwhile"));
    EXPECT_THAT(worker.take(), IsEmpty());
    EXPECT_FALSE(is_floor_raised(database));
    database.exec("COMMIT PREPARED 'one'");
    EXPECT_THAT(worker.take(), ElementsAre("prepared"));
    raise_floor(worker);
}

TEST_F(extension_floors, rise_again_when_a_prepared_transaction_was_rolled_back) {
    taker worker(dsn);
    raise_floor(worker);
    database.exec(prepare);
    EXPECT_THAT(worker.take(), IsEmpty());
    EXPECT_FALSE(is_floor_raised(database));
    database.exec("ROLLBACK PREPARED 'one'");
    EXPECT_THAT(worker.take(), IsEmpty());
    raise_floor(worker);
}

TEST_F(extension_floors, wait_for_a_prepared_transaction_in_many_lanes) {
    taker worker(dsn, "{}");
    for (int queue = 0; queue < 20; ++queue)
        raise_floor(worker, "q" + std::to_string(queue));
    raise_floor(worker, "other");
    database.exec("BEGIN; INSERT INTO haul.jobs (kind, queue, run_at) SELECT 'prepared', 'q' || n, "
                  "'2000-01-01' FROM generate_series(0, 19) AS n; PREPARE TRANSACTION 'one'");
    EXPECT_THAT(worker.take(), IsEmpty());
    EXPECT_THAT(worker.take(), IsEmpty());
    database.exec("COMMIT PREPARED 'one'");
    EXPECT_THAT(worker.take(), kinds(20, "prepared"));
    for (int queue = 0; queue < 20; ++queue)
        raise_floor(worker, "q" + std::to_string(queue));
}

TEST_F(extension_floors, do_not_pass_what_a_prepared_transaction_claims) {
    taker worker(dsn);
    raise_floor(worker);
    enqueue_long_ago(database, "claimed");
    database.exec("BEGIN; SELECT haul.checkout(haul.register_worker('other')); PREPARE TRANSACTION 'one'");
    EXPECT_THAT(worker.take(), IsEmpty());
    EXPECT_THAT(worker.take(), IsEmpty());
    database.exec("ROLLBACK PREPARED 'one'");
    EXPECT_THAT(worker.take(), ElementsAre("claimed"));
}

TEST_F(extension_floors, wait_for_transactions_prepared_before_a_crash) {
    {
        taker worker(dsn);
        raise_floor(worker);
        database.exec(prepare);
        database.exec(
            "BEGIN; INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('never', 'q', '2000-01-02'); "
            "PREPARE TRANSACTION 'two'");
    }
    server.restart("immediate");
    session later(dsn);
    taker worker(dsn);
    enqueue_long_ago(later, "meanwhile");
    EXPECT_THAT(worker.take(), ElementsAre("meanwhile"));
    EXPECT_THAT(worker.take(), IsEmpty());
    EXPECT_THAT(worker.take(), IsEmpty());
    later.exec("COMMIT PREPARED 'one'");
    EXPECT_THAT(worker.take(), ElementsAre("prepared"));
    EXPECT_THAT(worker.take(), IsEmpty());
    later.exec("ROLLBACK PREPARED 'two'");
    EXPECT_THAT(worker.take(), IsEmpty());
    raise_floor(worker);
}

TEST_F(extension_floors, remember_a_prepared_transaction_however_often_the_database_is_opened) {
    database.exec(prepare);
    server.restart("immediate");
    session later(dsn);
    for (int times = 0; times < 10; ++times) {
        await_served(later);
        server.set("haul.databases", "nowhere");
        await_unserved(later);
        server.set("haul.databases", "*");
    }
    taker worker(dsn);
    later.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('first', 'q')");
    EXPECT_THAT(worker.take(), ElementsAre("first"));
    EXPECT_THAT(worker.take(), IsEmpty());
    later.exec("COMMIT PREPARED 'one'");
    EXPECT_THAT(worker.take(), ElementsAre("prepared"));
}

TEST_F(extension_floors, begin_anew_after_a_crash) {
    {
        taker worker(dsn);
        raise_floor(worker);
        database.exec("SET session_replication_role = replica");
        enqueue_long_ago(database, "replicated");
        EXPECT_THAT(worker.take(), IsEmpty()) << "a row that fires no trigger is below the floor";
    }
    server.restart("immediate");
    EXPECT_THAT(taker(dsn).take(), IsSupersetOf({"replicated"}));
}

TEST_F(extension_floors, are_not_used_where_nobody_sweeps) {
    taker worker(dsn);
    raise_floor(worker);
    server.set("haul.databases", "nowhere");
    await_unserved(database);
    database.exec("SET session_replication_role = replica");
    enqueue_long_ago(database, "replicated");
    EXPECT_THAT(worker.take(), ElementsAre("replicated"));
}

TEST_F(extension_floors, belong_to_one_database) {
    session other(server.create_database("other"));
    taker here(dsn);
    taker there(server.dsn("other"));
    raise_floor(here);
    raise_floor(there);
    enqueue_long_ago(other, "there");
    EXPECT_TRUE(is_floor_raised(database));
    EXPECT_FALSE(is_floor_raised(other));
    EXPECT_THAT(here.take(), IsEmpty());
    EXPECT_THAT(there.take(), ElementsAre("there"));
}

TEST_F(extension_floors, are_not_copied_with_a_database) {
    {
        taker worker(dsn);
        raise_floor(worker);
        enqueue_long_ago(database, "copied");
        database = session(server.dsn());
    }
    wait_until(
        [&] {
            try {
                database.exec("CREATE DATABASE copy TEMPLATE haul_test");
                return true;
            } catch (const sql_error& error) {
                return error.sqlstate() != "55006"; // object in use: a session is still about to end
            }
        },
        "the database has been copied");
    session copy(server.dsn("copy"));
    copy.exec("SELECT haul.maintain()"); // the launcher hears of the database when it is used
    taker worker(server.dsn("copy"));
    EXPECT_THAT(worker.take(), ElementsAre("copied"));
    taker original(dsn);
    EXPECT_THAT(original.take(), ElementsAre("copied"));
}

TEST_F(extension_floors, go_with_the_extension) {
    for (const char* replace :
         {"DROP EXTENSION pg_haul", "BEGIN; DROP EXTENSION pg_haul; CREATE EXTENSION pg_haul; COMMIT"}) {
        {
            taker worker(dsn);
            raise_floor(worker);
        }
        database.exec(replace);
        database.exec("SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pg_haul");
        taker worker(dsn);
        EXPECT_EQ(database.number("SELECT count(*) FROM haul.lanes"), 0) << replace;
        enqueue_long_ago(database, "new");
        EXPECT_THAT(worker.take(), ElementsAre("new")) << replace;
    }
}

TEST(extension_floors_bounded, leave_the_other_lanes_as_they_were) {
    constexpr int lanes = 100;
    cluster server{{true, {{"haul.max_lanes", "16"}}}};
    const std::string dsn = server.create_database();
    session database(dsn);
    taker worker(dsn, "{}");
    const std::string enqueue =
        "INSERT INTO haul.jobs (kind, queue, priority, run_at) SELECT 'k', 'q' || n % 10, 1 + n / 10, "
        "now() - interval '1 day' FROM generate_series(0, " +
        std::to_string(lanes - 1) + ") AS n";
    for (int round = 0; round < 3; ++round) {
        database.exec(enqueue);
        EXPECT_EQ(worker.take().size(), lanes);
        EXPECT_THAT(worker.take(), IsEmpty());
    }
    EXPECT_LE(database.number("SELECT count(*) FROM haul.lanes"), 16);
    EXPECT_GT(database.number("SELECT count(floor_run_at) FROM haul.lanes"), 0);
}

// Rows that fire no trigger, as those of a subscription do.
class extension_floors_swept : public ::testing::Test {
protected:
    extension_floors_swept() { replicated.exec("SET session_replication_role = replica"); }

    cluster server{
        {true, {{"haul.sweep_interval", "1"}, {"haul.sweep_load", "1"}, {"haul.maintenance_interval", "1"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
    session replicated{dsn};
};

TEST_F(extension_floors_swept, come_down_to_a_row_that_fired_no_trigger) {
    taker worker(dsn);
    raise_floor(worker);
    EXPECT_EQ(found_below(database), 0);
    enqueue_long_ago(replicated, "replicated");
    EXPECT_THAT(worker.take(), IsEmpty());
    wait_until([&] { return found_below(database) == 1; }, "a sweep has found the job", 5s);
    EXPECT_THAT(worker.take(), ElementsAre("replicated"));
    raise_floor(worker);

    // What is waiting is where it belongs; what is not due yet holds the floor down to its time.
    replicated.exec("INSERT INTO haul.jobs (kind, queue, state, run_at) VALUES ('waiting', 'q', 'waiting', "
                    "'2000-01-01'), "
                    "('later', 'q', 'ready', '2100-01-01')");
    const std::int64_t sweeps = database.number("SELECT sum(sweeps) FROM haul.lanes");
    wait_until([&] { return database.number("SELECT sum(sweeps) FROM haul.lanes") >= sweeps + 2; },
               "the lane has been swept again");
    EXPECT_EQ(found_below(database), 2);
    EXPECT_EQ(database.text("SELECT next_due_at FROM haul.lanes"),
              database.text("SELECT timestamptz '2100-01-01'"));
    EXPECT_TRUE(is_floor_raised(database));
}

TEST_F(extension_floors_swept, find_a_lane_that_nobody_was_told_of) {
    taker worker(dsn, "{}");
    raise_floor(worker);
    enqueue_long_ago(replicated, "replicated", "unheard of");
    wait_until([&] { return worker.take() == kinds{"replicated"}; }, "a survey has found the lane", 5s);
    EXPECT_EQ(found_below(database), 0);
}

TEST_F(extension_floors_swept, let_a_worker_of_one_kind_find_such_a_row_above_the_floor) {
    taker worker(dsn, R"({"queues": ["q"], "kinds": ["mine"]})");
    database.exec("INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('for others', 'q', '2000-01-01')");
    // The worker begins above the job, which holds the floor, once it has passed it often enough.
    const auto seen = [&] {
        return database.number("SELECT coalesce(sum(rows_scanned), 0) FROM haul.lanes");
    };
    wait_until(
        [&] {
            const std::int64_t before = seen();
            worker.take();
            return seen() == before;
        },
        "the worker begins above the job");
    replicated.exec("INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('mine', 'q', '2000-01-02')");
    wait_until([&] { return worker.take() == kinds{"mine"}; }, "the worker has found the job", 5s);
    EXPECT_EQ(found_below(database), 0);
}

TEST_F(extension_floors_swept, wake_who_waits_for_such_a_row) {
    taker worker(dsn);
    worker.database().exec("LISTEN haul");
    raise_floor(worker);
    enqueue_long_ago(replicated, "replicated");
    // It may have been told of the first job before, and find nothing.
    wait_until(
        [&] { return !worker.database().notifications().empty() && worker.take() == kinds{"replicated"}; },
        "the worker, woken, has found the job", 5s);
}

} // namespace
} // namespace haul::test
