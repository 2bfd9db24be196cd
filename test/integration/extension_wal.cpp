// What a checkout and a completion write: the budget that makes the hot path fast.
#include "support/cluster.hpp"
#include "support/wait.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace haul::test {
namespace {

constexpr int batch = 1000;

class extension_wal : public ::testing::TestWithParam<bool> {
protected:
    extension_wal() {
        database.exec("ALTER TABLE haul.jobs SET (autovacuum_enabled = off)"); // its WAL records are not ours
        database.exec(
            "INSERT INTO haul.jobs (kind, args, keep) SELECT 'k', jsonb_build_object('n', n), '0' FROM "
            "generate_series(1, 10000) AS n");
        database.exec("VACUUM ANALYZE haul.jobs");
        database.exec("CHECKPOINT");
        // The first call of a session also reads the catalogs, which may prune their pages.
        database.exec("SELECT haul.checkout($1, 1)", {worker});
    }

    double wal_records_per_job(const std::string& sql) {
        const std::string plan = database.text("EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) " + sql);
        return nlohmann::json::parse(plan).at(0).at("Plan").at("WAL Records").get<double>() / batch;
    }

    cluster server{{GetParam(), {}}};
    session database{server.create_database()};
    std::string worker = database.text("SELECT haul.register_worker('w')");
};

INSTANTIATE_TEST_SUITE_P(, extension_wal, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "preloaded" : "not_preloaded"; });

TEST_P(extension_wal, checkout_locks_and_updates_each_row_without_touching_an_index) {
    EXPECT_LE(wal_records_per_job("SELECT * FROM haul.checkout(" + worker + ", 1000)"), 2.3);
    for (int more = 0; more < 8; ++more)
        database.exec("SELECT haul.checkout($1, 1000)", {worker});
    ASSERT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), 9 * batch + 1);

    database.exec("SELECT pg_stat_force_next_flush()");
    const rows updates =
        database.exec("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = "
                      "'haul.jobs'::regclass");
    const double updated = std::stod(*updates.at(0).at(0));
    const double hot = std::stod(*updates.at(0).at(1));
    EXPECT_EQ(updated, 9 * batch + 1);
    EXPECT_GE(hot / updated, 0.95);
}

TEST_P(extension_wal, completion_without_history_deletes_each_row) {
    const rows token =
        database.exec("SELECT array_agg(id), array_agg(claim) FROM haul.checkout($1, 1000)", {worker});
    EXPECT_LE(wal_records_per_job("SELECT haul.complete(" + worker + ", '" + *token[0][0] + "', '" +
                                  *token[0][1] + "')"),
              1.3);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs"), 10000 - batch);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.finished_jobs"), 0);
}

} // namespace
} // namespace haul::test
