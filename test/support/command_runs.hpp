#ifndef HAUL_TEST_COMMAND_RUNS_HPP
#define HAUL_TEST_COMMAND_RUNS_HPP

#include "support/session.hpp"
#include "support/wait.hpp"

#include <optional>
#include <string>

namespace haul::test {

/// How a run of a command went.
struct command_run {
    std::string state;
    std::string message; ///< "" for NULL
};

/// Runs of commands, as schedules fire them, without schedules.
class command_runs {
public:
    /// A superuser's session in a database with the extension.
    explicit command_runs(session& database) : database_(database) {}

    /// Fires a command and returns the id of its run. Without a schedule it has one of its own.
    std::int64_t fire(const std::string& command, const std::string& role = "postgres",
                      const std::optional<std::string>& in = {}, std::optional<std::int64_t> schedule = {}) {
        if (!schedule)
            schedule = 1'000'000 + ++schedules_;
        const std::int64_t run = database_.number(
            "INSERT INTO haul.cron_runs (cron_id, name, run_at, state, command, database, username)"
            " VALUES ($1, 'test', clock_timestamp(), 'starting', $2, coalesce($3, current_database()), $4)"
            " RETURNING id",
            {std::to_string(*schedule), command, in, role});
        go();
        return run;
    }

    /// What every pass over the schedules does.
    void go() { database_.exec("SELECT haul._run_commands()"); }

    command_run of(std::int64_t run) {
        const row found =
            database_.exec("SELECT state, message FROM haul.cron_runs WHERE id = $1", {std::to_string(run)})
                .at(0);
        return {*found[0], found[1].value_or("")};
    }

    void await(std::int64_t run, const std::string& state) {
        wait_until([&] { return of(run).state == state; }, "run " + std::to_string(run) + " is " + state +
                                                               " and not " + of(run).state + " (" +
                                                               of(run).message + ")");
    }

    command_run await_end(std::int64_t run) {
        wait_until(
            [&] {
                return database_.truth("SELECT finished_at IS NOT NULL FROM haul.cron_runs WHERE id = $1",
                                       {std::to_string(run)});
            },
            "run " + std::to_string(run) + " ends");
        return of(run);
    }

    /// Fires a command and waits for its end: "succeeded: 1 row".
    std::string outcome(const std::string& command, const std::string& role = "postgres",
                        const std::optional<std::string>& in = {}) {
        const command_run run = await_end(fire(command, role, in));
        return run.state + ": " + run.message;
    }

    /// Processes that run commands, or have them run.
    std::int64_t processes() {
        return database_.number(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_haul command%'");
    }

private:
    session& database_;
    int schedules_ = 0;
};

} // namespace haul::test

#endif
