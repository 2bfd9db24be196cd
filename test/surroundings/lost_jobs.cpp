// Jobs that their worker has while an operator ends them, or others have taken over: what it does about them
// is stopped, whatever kind of handler does it.
#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>
#include <fstream>
#include <unistd.h>

namespace haul::test {
namespace {

/// How the job is lost.
struct way {
    const char* name;
    const char* sql;
    const char* end; // the job as it is left, once the worker has stopped and goes on
};

const way ways[] = {
    {"deleted", "DELETE FROM haul.jobs", "cancelled1"},
    {"released", "SELECT haul.release(worker_id, ARRAY[id], ARRAY[claim]) FROM haul.jobs", "completed2"},
    {"taken_over",
     "SELECT haul.release(worker_id, ARRAY[id], ARRAY[claim], false) FROM haul.jobs;"
     "SELECT haul.register_worker('other', '{\"wake\": \"none\"}');"
     "SELECT haul.complete(w.id, ARRAY[j.id], ARRAY[j.claim])"
     " FROM (SELECT max(id) AS id FROM haul.workers) AS w, haul.checkout(w.id) AS j",
     "completed1"},
};

/// Jobs last until they are stopped, at their first attempt, unless they have priority 1.
class lost_job : public worker_fixture, public testing::WithParamInterface<way> {
protected:
    lost_job() {
        sql.exec(
            "CREATE FUNCTION nap(args jsonb, job jsonb) RETURNS void LANGUAGE sql AS"
            " 'SELECT pg_sleep(600) WHERE job ->> ''attempt'' = ''1'' AND job ->> ''priority'' <> ''1'''");
    }
    static constexpr const char* short_of = "haul:\n  max_threads: 1\n  heartbeat_interval: 0.1\n";
    const std::string naps =
        "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'active' AND query LIKE '%public.nap%' AND pid <> pg_backend_pid())";

    void lose() { sql.exec(GetParam().sql); }
    void expect_end(std::int64_t id) {
        await_end(id);
        EXPECT_EQ(ended(id, "state || attempt"), GetParam().end);
    }
    /// The thread is free again, and what was meant for the other job is over.
    void expect_next_runs() {
        const auto next = enqueue("k", "priority", "1"); // which lasts no time
        await_end(next);
        EXPECT_EQ(ended(next, "state || attempt"), "completed1");
    }
};

TEST_P(lost_job, of_a_program_ends_its_group) {
    temporary_directory directory;
    const auto written = (directory.path() / "pids").string();
    worker_process program{
        dsn,
        std::string{short_of} +
            "  handlers:\n    k: {exec: [bash, -c, '[ $HAUL_ATTEMPT = 1 -a $HAUL_PRIORITY != 1 ] || exit 0; "
            "sleep 600 & echo $$ $! >" +
            written + "; wait']}\n"};
    const auto id = enqueue("k");
    pid_t leader = 0, child = 0;
    wait_until(
        [&] {
            std::ifstream in{written};
            return bool{in >> leader >> child} && in.get() == '\n';
        },
        "the program runs");
    lose();
    wait_until([&] { return ::kill(-leader, 0) != 0; }, "its process group is gone");
    expect_end(id);
    expect_next_runs();
    EXPECT_NE(program->errors().find("event=job_lost job=" + std::to_string(id)), std::string::npos)
        << program->errors();
}

TEST_P(lost_job, of_an_sql_handler_cancels_its_statement) {
    worker_process program{dsn, std::string{short_of} + "  handlers:\n    k: {sql: public.nap}\n"};
    const auto id = enqueue("k");
    await(naps + " = 1");
    lose();
    await(naps + " = 0");
    expect_end(id);
    expect_next_runs();
}

TEST_P(lost_job, of_a_handler_in_cpp_is_told) {
    auto how = options();
    how.max_threads = 1;
    how.heartbeat_interval = 100ms;
    worker w{how};
    std::atomic<bool> begun{false}, told{false};
    w.on("k", [&](const job_context& job) -> outcome {
        if (job.attempt() > 1 || job.priority() == 1)
            return completed{};
        begun = true;
        told = !job.wait_for(10min) && job.cancelled();
        return completed{};
    });
    w.start();
    const auto id = enqueue("k");
    wait_until([&] { return begun.load(); }, "the handler runs");
    lose();
    wait_until([&] { return told.load(); }, "the handler is told");
    expect_end(id);
    expect_next_runs();
    w.stop();
    w.join();
}

// The last thing that a worker has to do before it can end.
TEST_P(lost_job, does_not_keep_a_worker_that_is_draining) {
    worker_process program{dsn, std::string{short_of} + "  handlers:\n    k: {sql: public.nap}\n"};
    enqueue("k");
    await(naps + " = 1");
    program->signal(SIGTERM);
    await("(SELECT status FROM haul.workers) = 'draining'");
    lose();
    EXPECT_EQ(program->wait(), 0) << program->errors();
}

INSTANTIATE_TEST_SUITE_P(, lost_job, testing::ValuesIn(ways),
                         [](const auto& info) { return std::string{info.param.name}; });

} // namespace
} // namespace haul::test
