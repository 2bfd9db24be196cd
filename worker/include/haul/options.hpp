#ifndef HAUL_OPTIONS_HPP
#define HAUL_OPTIONS_HPP

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace haul {

using namespace std::chrono_literals;

/// A queue to take jobs from; the weight counts only with worker_options::weighted.
struct queue_choice {
    std::string name;
    double weight = 1;
};

/// How an idle worker learns of new jobs.
enum class wait_mode {
    listen, ///< LISTEN: the server notifies it. Needs a session of its own
    call,   ///< it waits in haul.checkout_wait(). Works through a pooler in transaction mode
    poll,   ///< it looks at every polling interval, and when a job that it knows of is due
};

/// What a draining worker does about jobs that still run.
struct termination {
    enum class mode {
        wait_forever, ///< wait until the last job has ended
        limited,      ///< wait for `limit`, then kill what still runs; 0 kills at once
        abandon,      ///< neither wait nor kill: give up the jobs and exit
    };
    mode how = mode::wait_forever;
    std::chrono::milliseconds limit{0};
};

/// Where log lines go.
struct log_options {
    std::string file;                    ///< empty: standard error
    std::string level = "info";          ///< trace, debug, info, warning, error or off
    std::size_t size = 10 * 1024 * 1024; ///< bytes of one file before it is rotated
    std::size_t count = 5;               ///< rotated files kept
    bool quiet = false;                  ///< nothing on standard error
};

/// Everything a worker can be told. Defaults are those of the program.
struct worker_options {
    std::string dsn;        ///< libpq connection string or URI; empty: libpq's environment variables
    std::string identifier; ///< name of the worker; empty: host name and process id
    std::string name_space; ///< takes only queues named "namespace.…"

    std::vector<queue_choice> queues; ///< queues to take, in this order; empty: all
    std::vector<std::string> exclude; ///< queues not to take
    bool weighted = false;            ///< draw the queue at random by weight instead of strict order
    int min_priority = 1;             ///< 1 to 32767
    int max_priority = 32767;         ///< 1 to 32767

    int min_threads = 1;                                 ///< threads kept when idle
    int max_threads = 10;                                ///< jobs run at a time, at most
    std::chrono::milliseconds max_thread_idletime = 60s; ///< an idle thread above min_threads ends after this
    wait_mode wait = wait_mode::listen;                  ///< how an idle worker learns of new jobs
    std::chrono::milliseconds polling_interval = 60s;    ///< how often an idle worker looks anyway
    double polling_jitter = 0.1; ///< fraction by which each poll varies: 0.1 of 60 s is 57 to 63 s
    std::chrono::milliseconds heartbeat_interval = 2s; ///< how often the worker says that it lives, at least
    /// How long the server may refuse the worker's calls for a reason that only an administrator can mend (a
    /// missing grant, a read-only server) before the worker gives its work back and ends with status 1.
    std::chrono::milliseconds refusal_timeout = 300s;
    /// How long to try again at the start when the database is away. What will not mend itself, a wrong
    /// password say, is an error at once.
    std::chrono::milliseconds wait_for_database = 0s;
    bool set_db_connection_name = true; ///< application_name "haul worker NAME …" on each connection
    termination wait_for_termination;

    bool exit_when_empty = false;                        ///< end when nothing is due and nothing runs
    std::optional<std::chrono::milliseconds> exit_after; ///< end after this time

    /// run() waits for children of its thread that nobody else does, as process 1 of a container has to: the
    /// orphans of programs become such when it is called by the first thread.
    bool reap_orphans = false;

    log_options log;
};

} // namespace haul

#endif
