// haul_bench: a producer and a worker of pg_haul in one process, for a benchmark harness that starts it,
// kills it, and reads records from its standard output. See README.md.
#include "executions.hpp"
#include "haul/worker.hpp"
#include "observer.hpp"
#include "producer.hpp"
#include "task.hpp"
#include "telemetry.hpp"

#include <cerrno>
#include <csignal>
#include <iostream>
#include <optional>

namespace {

using namespace haul::bench;
using wall_clock = std::chrono::system_clock;

sigset_t block_signals() {
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, nullptr); // inherited by all threads: only we take them
    return ending;
}

haul::worker_options worker_options(const settings& settings) {
    haul::worker_options options;
    options.dsn = settings.database_url;
    options.max_threads = settings.workers;
    for (int number = 0; number < settings.queues; ++number)
        options.queues.push_back({queue_name(number)});
    // The harness wants an end within 5 seconds.
    options.wait_for_termination = {haul::termination::mode::limited, std::chrono::seconds{3}};
    options.log.level = "warning";
    return options;
}

void run_job(const haul::job_context& job, const settings& settings, meters& meters,
             const executions& executions) {
    executions.began(job.id());
    meters.claim.record(wall_clock::now() - job.enqueued_at());
    if (settings.work.count() > 0 && !job.wait_for(settings.work))
        return; // told to stop: the worker gives the job back
    meters.end_to_end.record(wall_clock::now() - job.enqueued_at());
    ++meters.completed;
}

/// Samples at multiples of the period, by the wall clock, until a signal comes.
void sample_until(const sigset_t& ending, telemetry& telemetry, std::chrono::seconds every) {
    for (;;) {
        const auto since_tick = wall_clock::now().time_since_epoch() % every;
        const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(every - since_tick).count();
        const timespec patience{left / 1'000'000'000, left % 1'000'000'000};
        if (sigtimedwait(&ending, nullptr, &patience) > 0)
            return;
        if (errno == EAGAIN)
            telemetry.sample();
    }
}

int run() {
    const sigset_t ending = block_signals();
    const settings settings = read_settings();
    const executions executions{settings.executions_file};
    meters meters{settings.latency_window};
    stop_event stop;

    haul::worker worker{worker_options(settings)};
    worker.on(job_kind, [&](const haul::job_context& job) { run_job(job, settings, meters, executions); });
    worker.start();
    telemetry telemetry{settings, meters};
    telemetry.describe();

    bool failed;
    {
        const task producer{stop, "producer", [&] { produce(settings, meters, stop); }};
        std::optional<task> observer;
        if (settings.instance == 0 || settings.paced_by == pacing::depth)
            observer.emplace(stop, "observer", [&] { observe(settings, meters, stop); });
        sample_until(ending, telemetry, settings.sample_every);
        worker.stop();
        failed = producer.failed() || (observer && observer->failed());
    }
    worker.join();
    return failed ? 1 : 0;
}

} // namespace

int main() {
    try {
        return run();
    } catch (const std::exception& error) {
        std::cerr << "haul_bench: " << error.what() << std::endl;
        return 1;
    }
}
