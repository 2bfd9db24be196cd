// haul_check: verifies the invariants of a database with pg_haul. Exit status: 0 all is well, 1 violations, 2
// no answer.
#include "support/checker.hpp"

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

int main(int argc, char** argv) {
    std::string dsn;
    haul::test::checker_options options;
    CLI::App app("Verifies that no job was lost, doubled or miscounted, and prints each violation.");
    app.add_option("dsn", dsn, "libpq connection string; default: the environment");
    app.add_option("--expected", options.expected,
                   "table whose column \"id\" holds all jobs that were enqueued");
    app.add_option("--effects", options.effects,
                   "table whose column \"job_id\" holds all jobs that took effect");
    app.add_flag("!--no-history", options.history, "haul.finished_jobs does not hold every job that ended");
    app.add_flag("!--at-work", options.at_rest,
                 "workers are busy, or maintenance has not run since one was deleted");
    CLI11_PARSE(app, argc, argv);

    try {
        const auto violations = haul::test::check(dsn, options);
        for (const auto& violation : violations)
            std::cout << violation << '\n';
        return violations.empty() ? 0 : 1;
    } catch (const std::exception& error) {
        std::cerr << "haul_check: " << error.what() << '\n';
        return 2;
    }
}
