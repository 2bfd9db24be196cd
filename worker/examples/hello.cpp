// A worker inside a program of your own: psql -c "INSERT INTO haul.jobs(kind, args) VALUES ('hello',
// '{\"name\": \"you\"}')"
#include <haul/worker.hpp>
#include <iostream>

int main(int argc, char** argv) {
    haul::worker_options options;
    options.dsn = argc > 1 ? argv[1] : ""; // empty: libpq's environment variables
    options.exit_when_empty = argc > 2;

    haul::worker worker{options};
    worker.on("hello", [](const haul::job_context& job) {
        std::cout << "hello, " << job.args().value("name", "world") << " (attempt " << job.attempt() << ")"
                  << std::endl;
    });
    try {
        return worker.run();
    } catch (const haul::error& e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
