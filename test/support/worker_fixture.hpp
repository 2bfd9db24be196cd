#ifndef HAUL_TEST_WORKER_FIXTURE_HPP
#define HAUL_TEST_WORKER_FIXTURE_HPP

#include "haul/worker.hpp"
#include "support/cluster.hpp"
#include "support/wait.hpp"

#include <gtest/gtest.h>

namespace haul::test {

/// A server for the suite, a database for each test, and workers in this process.
class worker_fixture : public testing::Test {
protected:
    static void SetUpTestSuite() { server = new cluster; }
    static void TearDownTestSuite() { delete server; }

    worker_fixture() : dsn{server->create_database("worker_" + std::to_string(++databases))} {}

    worker_options options(const std::string& name = "w") const {
        worker_options made;
        made.dsn = dsn;
        made.identifier = name;
        made.max_threads = 4;
        made.log.level = "info";
        return made;
    }

    /// Enqueues a job and returns its id.
    std::int64_t enqueue(const std::string& kind, const std::string& columns = "",
                         const std::string& values = "") {
        return sql.number("INSERT INTO haul.jobs (kind" + (columns.empty() ? "" : ", " + columns) +
                          ") VALUES ('" + kind + "'" + (values.empty() ? "" : ", " + values) +
                          ") RETURNING id");
    }

    /// A column of a job that has ended, as text.
    value ended(std::int64_t id, const std::string& column) {
        return sql.get("SELECT (" + column +
                       ")::text FROM haul.finished_jobs WHERE id = " + std::to_string(id));
    }
    value live(std::int64_t id, const std::string& column) {
        return sql.get("SELECT (" + column + ")::text FROM haul.jobs WHERE id = " + std::to_string(id));
    }

    void await(const std::string& condition) {
        wait_until([&] { return sql.truth("SELECT coalesce((" + condition + "), false)"); }, condition);
    }
    void await_end(std::int64_t id) {
        await("EXISTS (SELECT FROM haul.finished_jobs WHERE id = " + std::to_string(id) + ")");
    }

    /// What must be zero: haul.counters against the jobs that run.
    std::int64_t imbalance() {
        return sql.number(
            "SELECT coalesce(sum(dispatches + retries - completions - failures - expiries - discards"
            " - cancels - releases), 0) - (SELECT count(*) FROM haul.jobs WHERE state = 'running')"
            " FROM haul.counters");
    }

    void TearDown() override { EXPECT_EQ(imbalance(), 0) << "the counters do not add up"; }

    static inline cluster* server = nullptr;
    static inline int databases = 0;
    std::string dsn;
    session sql{dsn};
};

} // namespace haul::test

#endif
