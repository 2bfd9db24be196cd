#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <sys/resource.h>

namespace haul::test {
namespace {

class worker_descriptors : public worker_fixture {
protected:
    static void limit(rlim_t soft, rlim_t hard) {
        const rlimit both{soft, hard};
        ::setrlimit(RLIMIT_NOFILE, &both);
    }
    void enqueue_many(int count, const std::string& kind) {
        sql.exec("INSERT INTO haul.jobs (kind, max_attempts) SELECT '" + kind +
                 "', 1 FROM generate_series(1, " + std::to_string(count) + ")");
    }
    std::int64_t completed() {
        return sql.number("SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed'");
    }
    const std::string yaml = "haul:\n  min_threads: 30\n  max_threads: 30\n  handlers:\n"
                             "    script: {exec: [sh, -c, 'ulimit -n; sleep 0.2']}\n";
};

TEST_F(worker_descriptors, too_few_of_them_cost_no_job_an_attempt) {
    worker_process program{dsn, yaml, {}, {}, [] { limit(60, 60); }};
    await("EXISTS (SELECT FROM haul.workers)");
    enqueue_many(40, "script");
    await("(SELECT count(*) FROM haul.finished_jobs) >= 5");
    // Its own connections must come back in spite of the programs that want descriptors, too.
    sql.exec(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'haul worker%'");
    await("(SELECT count(*) FROM haul.finished_jobs) = 40");
    EXPECT_EQ(completed(), 40);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.job_errors"), 0);
    EXPECT_NE(program->errors().find("event=job_postponed"), std::string::npos) << program->errors();
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
}

TEST_F(worker_descriptors, the_soft_limit_is_raised_for_the_worker_and_not_for_its_programs) {
    worker_process program{dsn, yaml, {}, {}, [] { limit(64, 4096); }};
    enqueue_many(60, "script");
    await("(SELECT count(*) FROM haul.finished_jobs) = 60");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs WHERE result = '64'"), 60);
    EXPECT_EQ(program->errors().find("event=job_postponed"), std::string::npos) << program->errors();
}

} // namespace
} // namespace haul::test
