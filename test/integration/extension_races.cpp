// Workers, producers, an operator and maintenance at once, each doing anything at any time: no job is lost,
// doubled or miscounted at any instant, or left below the floor of its lane.
#include "support/background.hpp"
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/wait.hpp"

#include <algorithm>
#include <atomic>
#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

constexpr auto duration = 6s;
constexpr unsigned workers = 5;
constexpr unsigned producers = 2;

class dice {
public:
    explicit dice(unsigned seed) : generator_(seed) {}
    int roll(int sides) { return std::uniform_int_distribution<>(0, sides - 1)(generator_); }

private:
    std::mt19937 generator_;
};

// Ends an open transaction in one step or in two, and not always with success.
void end_transaction(session& database, dice& dice) {
    const bool commit = dice.roll(3) > 0;
    if (dice.roll(3)) {
        database.exec(commit ? "COMMIT" : "ROLLBACK");
        return;
    }
    const std::string name = "'" + std::to_string(database.backend_pid()) + "'";
    database.exec("PREPARE TRANSACTION " + name);
    std::this_thread::sleep_for(std::chrono::milliseconds(dice.roll(20)));
    database.exec((commit ? "COMMIT PREPARED " : "ROLLBACK PREPARED ") + name);
}

struct token {
    std::string id, claim;
};

std::string array(const std::vector<token>& tokens, std::string token::*member) {
    std::string array = "{";
    for (const token& token : tokens)
        array += (array.size() > 1 ? "," : "") + token.*member;
    return array + "}";
}

// A worker that makes every mistake: it reports twice, forgets jobs, rolls back, and goes on when it was
// removed.
class erratic_worker {
public:
    erratic_worker(const std::string& dsn, unsigned seed) : database_(dsn), dice_(seed) {}

    void step() {
        try {
            if (id_.empty())
                id_ = database_.text("SELECT haul.register_worker('w', $1)", {options()});
            act();
        } catch (const sql_error& error) {
            database_.exec("ROLLBACK");
            if (error.sqlstate() == "40001")
                return; // REPEATABLE READ has its price
            if (error.sqlstate() != "HQ003")
                throw;
            id_.clear(); // and keep the tokens: they are stale now
        }
    }

private:
    const char* options() {
        static const char* const options[] = {"{}", R"({"confirm_start": true})",
                                              R"({"kinds": ["k0", "k2"]})",
                                              R"({"queues": ["q0", "q1"], "kinds": ["k1"]})"};
        return options[dice_.roll(std::size(options))];
    }

    void act() {
        const bool in_transaction = dice_.roll(4) == 0;
        if (in_transaction)
            database_.exec(dice_.roll(3) ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ");
        switch (dice_.roll(4)) {
        case 0:
            check_out();
            break;
        case 1:
            forget();
            break;
        default:
            report();
        }
        if (in_transaction)
            end_transaction(database_, dice_);
    }

    void check_out() {
        for (const row& job : database_.exec("SELECT id, claim FROM haul.checkout($1, $2)",
                                             {id_, std::to_string(1 + dice_.roll(20))}))
            held_.push_back({*job[0], *job[1]});
    }

    void forget() {
        if (dice_.roll(20) == 0)
            held_.clear();
        std::vector<value> arguments = {id_, array(held_, &token::id), array(held_, &token::claim)};
        if (dice_.roll(5) == 0)
            database_.exec("SELECT haul.reconcile($1, $2, $3)", arguments);
        else
            database_.exec("SELECT haul.heartbeat($1)", {id_});
    }

    void report() {
        std::shuffle(held_.begin(), held_.end(), std::mt19937(dice_.roll(1000)));
        const std::size_t some = std::min<std::size_t>(held_.size(), 1 + dice_.roll(10));
        const std::vector<token> reported(held_.end() - static_cast<std::ptrdiff_t>(some), held_.end());
        if (reported.empty())
            return;
        if (dice_.roll(5))
            held_.resize(held_.size() - some); // else it will report them again
        const std::vector<value> many = {id_, array(reported, &token::id), array(reported, &token::claim)};
        const std::vector<value> one = {id_, reported[0].id, reported[0].claim};
        static const char* const about_many[] = {
            "SELECT haul.complete($1, $2, $3)",       "SELECT haul.release($1, $2, $3)",
            "SELECT haul.release($1, $2, $3, false)", "SELECT haul.start($1, $2, $3)",
            "SELECT haul.complete($1, $2, $3)",
        };
        static const char* const about_one[] = {
            "SELECT haul.fail($1, $2, $3, 'no luck', retry_in => '0')",
            "SELECT haul.fail($1, $2, $3, 'no luck', retry_in => '0', retry_queue => 'retries')",
            "SELECT haul.fail($1, $2, $3, 'no use', final => true)",
            "SELECT haul.discard($1, $2, $3, 'no use')",
            "SELECT haul.cancelled($1, $2, $3, 'told to')",
            "SELECT haul.snooze($1, $2, $3, '1 ms')",
            R"(SELECT haul.progress($1, $2, $3, '{"done": 0.5}'))",
        };
        if (dice_.roll(3))
            database_.exec(about_many[dice_.roll(std::size(about_many))], many);
        else
            database_.exec(about_one[dice_.roll(std::size(about_one))], one);
    }

    session database_;
    dice dice_;
    std::string id_;
    std::vector<token> held_;
};

void produce(session& database, dice& dice) {
    database.exec("BEGIN");
    if (dice.roll(3) == 0)
        database.exec("SAVEPOINT s");
    // Somewhere in the last second, so that the lanes are filled everywhere.
    database.exec("WITH j AS (INSERT INTO haul.jobs (kind, queue, priority, max_attempts, queue_timeout, "
                  "on_interrupt, run_at) "
                  "SELECT 'k' || $6, 'q' || $1, $2, $3, CASE WHEN $4 = 0 THEN interval '20 ms' END, "
                  "CASE $4 WHEN 1 THEN 'fail' WHEN 2 THEN 'discard' ELSE 'retry' END, now() - random() * "
                  "interval '1 s' "
                  "FROM generate_series(1, $5) RETURNING id) INSERT INTO expected SELECT id FROM j",
                  {std::to_string(dice.roll(3)), std::to_string(1 + dice.roll(3)),
                   std::to_string(1 + dice.roll(5)), std::to_string(dice.roll(8)),
                   std::to_string(1 + dice.roll(20)), std::to_string(dice.roll(3))});
    std::this_thread::sleep_for(std::chrono::milliseconds(dice.roll(10)));
    end_transaction(database, dice);
}

void operate(session& database, dice& dice) {
    static const char* const deeds[] = {
        "SELECT haul.maintain()",
        "SELECT haul.cleanup_workers('1 second')",
        "DELETE FROM haul.workers WHERE id = (SELECT id FROM haul.workers ORDER BY random() LIMIT 1)",
        "UPDATE haul.jobs SET priority = 1 + random() * 2 WHERE id = (SELECT id FROM haul.jobs WHERE state = "
        "'ready' "
        "ORDER BY random() LIMIT 1)",
        "SELECT pg_sleep(0.002) FROM haul.jobs WHERE state = 'ready' LIMIT 1 FOR UPDATE SKIP LOCKED",
        "SELECT haul.unregister_worker(id) FROM (SELECT id FROM haul.workers ORDER BY random() LIMIT 1) AS w",
    };
    database.exec(deeds[dice.roll(std::size(deeds))]);
}

class extension_races : public ::testing::TestWithParam<bool> {
protected:
    // Runs `step` again and again until `stop_`; the first error is the future's.
    template <typename Step>
    std::future<void> repeat(Step step) {
        return std::async(std::launch::async, [this, step]() mutable {
            while (!stop_)
                step();
        });
    }

    void finish_what_is_left() {
        database.exec("DELETE FROM haul.workers");
        database.exec("SELECT haul.maintain()");
        wait_until(
            [&] {
                database.exec("WITH w AS MATERIALIZED (SELECT haul.register_worker('last') AS id) SELECT "
                              "haul.complete(w.id, ARRAY[c.id], ARRAY[c.claim]) FROM w, haul.checkout(w.id, "
                              "1000) AS c");
                return database.truth("SELECT NOT EXISTS (SELECT FROM haul.jobs)");
            },
            "all jobs have ended");
    }

    std::atomic<bool> stop_{false};
    // What lies below a floor is found at once, by searches that are never over.
    cluster server{
        {true,
         {{"max_prepared_transactions", "10"}, {"haul.sweep_interval", "1"}, {"haul.sweep_load", "1"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
};

// With a trigger of somebody else on haul.jobs the queue's own changes take another road.
INSTANTIATE_TEST_SUITE_P(, extension_races, ::testing::Bool(), [](const auto& info) {
    return info.param ? "with_a_foreign_trigger" : "on_the_direct_road";
});

TEST_P(extension_races, lose_and_double_nothing) {
    await_served(database);
    database.exec("CREATE TABLE expected (id bigint)");
    database.exec("CREATE TABLE seen (id bigint)");
    if (GetParam())
        database.exec(R"sql(
            CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN INSERT INTO public.seen VALUES (old.id); RETURN NULL; END $$;
            CREATE TRIGGER see AFTER UPDATE OR DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION see())sql");

    std::vector<std::future<void>> actors;
    for (unsigned n = 0; n < workers; ++n)
        actors.push_back(repeat([worker = std::make_shared<erratic_worker>(dsn, n)] { worker->step(); }));
    for (unsigned n = 0; n < producers; ++n)
        actors.push_back(repeat([producer = std::make_shared<session>(dsn), dice = dice(100 + n)]() mutable {
            produce(*producer, dice);
        }));
    actors.push_back(repeat([op = std::make_shared<session>(dsn), dice = dice(200)]() mutable {
        operate(*op, dice);
        std::this_thread::sleep_for(3ms);
    }));

    const checker_options at_work{"expected", "", true, false};
    const auto end = std::chrono::steady_clock::now() + duration;
    while (std::chrono::steady_clock::now() < end && !HasFailure())
        EXPECT_THAT(check(dsn, at_work), IsEmpty());
    stop_ = true;
    for (std::future<void>& actor : actors)
        EXPECT_NO_THROW(actor.get());

    finish_what_is_left();
    EXPECT_THAT(check(dsn, {"expected", "", true, true}), IsEmpty());
    // The race was one: every way to end was taken.
    for (const char* counter :
         {"retries", "completions", "failures", "expiries", "discards", "cancels", "releases", "drops"})
        EXPECT_GT(database.number(std::string("SELECT sum(") + counter + ") FROM haul.counters"), 0)
            << counter;
    EXPECT_EQ(database.truth("SELECT EXISTS (SELECT FROM seen)"), GetParam());
    // No floor was ever above a job that somebody could have taken.
    EXPECT_GT(database.number("SELECT sum(sweeps) FROM haul.lanes"), 0);
    EXPECT_EQ(database.number("SELECT sum(found_below) FROM haul.lanes"), 0);
}

} // namespace
} // namespace haul::test
