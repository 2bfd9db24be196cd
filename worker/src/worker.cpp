#include "haul/worker.hpp"

#include "buffer.hpp"
#include "descriptor_limit.hpp"
#include "event.hpp"
#include "fault.hpp"
#include "fetcher.hpp"
#include "handlers/handlers.hpp"
#include "haul/error.hpp"
#include "logging.hpp"
#include "pool.hpp"
#include "registry.hpp"
#include "reporter.hpp"
#include "signals.hpp"
#include "subscription.hpp"
#include "text.hpp"
#include "trouble.hpp"
#include "unavailable.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace haul {

namespace {

using namespace core;

/// After a forced end the last words to the server may take so long.
constexpr std::chrono::seconds last_words{5};

std::string name_of(const worker_options& options) {
    return options.identifier.empty() ? host_name() + ":" + std::to_string(::getpid()) : options.identifier;
}

// Programs are children of the threads that started them, which wait for them. Orphans that the system gives
// to the process become children of its first thread.
void reap_children_of_this_thread() noexcept {
    while (::waitpid(-1, nullptr, WNOHANG | __WNOTHREAD) > 0) {
    }
}

/// All that runs between start() and the end.
class machinery {
public:
    machinery(const worker_options& options, const registry& handlers, bool may_abandon)
        : options_{options},
          name_{name_of(options)},
          subscription_{options, handlers.kinds()},
          log_{options.log, name_},
          reporter_{[this] { return connect("report"); }, wake_, interrupt_, options.refusal_timeout,
                    log_.logger()},
          pool_{buffer_,
                {static_cast<std::size_t>(options.min_threads), static_cast<std::size_t>(options.max_threads),
                 options.max_thread_idletime},
                [this, &handlers] { return make_executor(handlers); },
                wake_,
                log_.logger()},
          fetcher_{options,
                   name_,
                   subscription_,
                   may_abandon,
                   [this] { return connect("fetch"); },
                   {jobs_, buffer_, pool_, reporter_, wake_, interrupt_, log_.logger()}} {}

    ~machinery() {
        kill(cancellation::level::worker);
        join();
    }

    /// Returns at once: what takes time is done on a thread.
    void start() {
        const blocked_signals none{blocked_signals::all()};
        try {
            thread_ = std::thread{[this] { run(); }};
        } catch (...) {
            ended_.set();
            throw;
        }
    }
    /// Set when it has begun to work, or could not.
    const event& started() const noexcept { return started_; }
    /// Throws why it could not. Once started() is set.
    void check() const {
        if (failure_)
            std::rethrow_exception(failure_);
    }

    void stop() noexcept {
        fetcher_.stop();
        do_not_connect_.set();
    }
    void kill(cancellation::level how) noexcept {
        fetcher_.kill(how);
        do_not_connect_.set();
    }
    /// Gives up every wait for the database.
    void interrupt() noexcept { interrupt_.set(); }
    const event& ended() const noexcept { return ended_; }

    void join() {
        ended_.wait_until({});
        const std::lock_guard lock{joining_};
        if (thread_.joinable())
            thread_.join();
    }

    void reopen_log() {
        try {
            log_.reopen();
            log_.logger().info("event=log_reopened");
        } catch (const std::exception& failure) {
            log_.logger().error("event=log_not_reopened message={}", log_value(failure.what()));
        }
    }

    /// After the end: threads are left that only the end of the process can stop. Jobs that still run have
    /// been given back, so nothing of them may take effect any more.
    bool abandoned() const noexcept { return abandoned_; }
    /// After the end: whether the server was told of everything, and it was no fault of the set-up that ended
    /// it.
    bool told_everything() const noexcept { return told_everything_; }

private:
    std::string application_name(const std::string& purpose) const {
        return options_.set_db_connection_name ? "haul worker " + name_ + " " + purpose : "haul";
    }

    session connect(const char* purpose) {
        return session{options_.dsn, application_name(purpose), interrupt_,
                       options_.wait == wait_mode::listen};
    }

    // The only wait that a stop ends: afterwards there is a row to delete.
    session connect_first() {
        const auto until = std::chrono::steady_clock::now() + options_.wait_for_database;
        reconnect_pause pause;
        trouble away;
        for (;;) {
            try {
                session first{options_.dsn, application_name("fetch"), do_not_connect_,
                              options_.wait == wait_mode::listen};
                first.interrupt_by(interrupt_);
                return first;
            } catch (const connection_error& failure) {
                const auto now = std::chrono::steady_clock::now();
                if (fault_of(failure) != fault::connection || now >= until)
                    throw;
                if (away.happened(now))
                    log_.logger().warn("event=waiting_for_database for_ms={} message={}",
                                       away.age(now).count(), log_value(failure.what()));
                if (do_not_connect_.wait_until(std::min(until, now + pause.next(now))))
                    throw interrupted_error{"told to stop"};
            }
        }
    }

    void enter() {
        session first = connect_first();
        if (options_.wait == wait_mode::listen && !first.is_direct()) {
            session other = connect("report");
            if (share_backends(first, other))
                throw error{
                    "a pooler in transaction mode stands between the worker and the server, where it cannot"
                    " listen",
                    {},
                    {},
                    "Start it with --wait call."};
        }
        reporter_.start();
        try {
            fetcher_.enter(std::move(first));
        } catch (const not_installed& failure) {
            throw not_installed{std::string{"the extension pg_haul is not installed in this database: "} +
                                    failure.what(),
                                failure.sqlstate(), failure.detail(), "Run CREATE EXTENSION pg_haul there."};
        }
        try {
            pool_.adapt();
            if (pool_.size() == 0 && options_.min_threads > 0)
                throw unavailable{"no thread for jobs can be started"};
        } catch (const std::exception&) {
            fetcher_.leave();
            throw;
        }
    }

    std::unique_ptr<executor> make_executor(const registry& handlers) {
        auto made = std::make_unique<executor>(handlers, reporter_,
                                               thread_connection{options_.dsn, application_name("job")},
                                               canceller_, log_.logger());
        if (is_reserved(made->cancelling().raised().descriptor()))
            throw unavailable{"the last descriptors are kept for the worker's own connections"};
        return made;
    }

    void run() noexcept {
        bool entered = false;
        try {
            enter();
            entered = true;
        } catch (const interrupted_error&) { // as told
        } catch (...) {
            failure_ = std::current_exception();
        }
        started_.set();
        if (entered)
            fetcher_.run();
        interrupt_.set(); // what is not told by now stays untold
        if (!fetcher_.abandoned()) {
            pool_.join();
            reporter_.finish();
        }
        // While the thread lives, nobody else may ask these.
        abandoned_ = fetcher_.abandoned() || fetcher_.cancelling();
        told_everything_ = reporter_.accepted() == reporter_.delivered() && !fetcher_.still_registered() &&
                           !fetcher_.hopeless();
        log_.logger().info("event=ended");
        log_.logger().flush();
        ended_.set();
    }

    const worker_options& options_;
    std::string name_;
    subscription subscription_;
    log_file log_;
    event wake_;
    event interrupt_;
    event do_not_connect_; // for the first time, that is
    event started_;
    event ended_;
    in_flight jobs_;
    buffer buffer_{wake_};
    canceller canceller_;
    reporter reporter_;
    pool pool_;
    fetcher fetcher_;
    std::exception_ptr failure_;
    std::atomic<bool> abandoned_{false};
    std::atomic<bool> told_everything_{false};
    std::mutex joining_;
    std::thread thread_;
};

} // namespace

class worker::impl {
public:
    explicit impl(worker_options given) : options{std::move(given)} {}

    machinery& start(bool may_abandon) {
        const std::lock_guard lock{starting};
        if (running)
            throw error{"a worker runs only once"};
        running = std::make_unique<machinery>(options, handlers, may_abandon);
        if (stop_first)
            running->stop();
        running->start();
        return *running;
    }

    /// It could not start; another try may.
    void forget() {
        const std::lock_guard lock{starting};
        running.reset();
    }

    void stop(bool kill) noexcept {
        const std::lock_guard lock{starting};
        stop_first = true;
        if (running && kill)
            running->kill(cancellation::level::worker);
        else if (running)
            running->stop();
    }

    worker_options options;
    registry handlers;
    std::mutex starting; // guards what follows until it has started
    bool stop_first = false;
    std::unique_ptr<machinery> running;
};

worker::worker(worker_options options) : impl_{std::make_unique<impl>(std::move(options))} {}

worker::~worker() = default;

worker& worker::add(const std::string& kind, handler function) {
    impl_->handlers.add(kind, std::move(function));
    return *this;
}

worker& worker::add(const handler_spec& spec) {
    return add(spec.kind, make_handler(spec));
}

void worker::start() {
    auto& running = impl_->start(false);
    running.started().wait_until({});
    try {
        running.check();
    } catch (const std::exception&) {
        impl_->forget();
        throw;
    }
}

void worker::stop() noexcept {
    impl_->stop(false);
}

void worker::kill() noexcept {
    impl_->stop(true);
}

void worker::join() {
    if (impl_->running)
        impl_->running->join();
}

int worker::run() {
    signal_source signals{SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    const blocked_signals unreadable_log{signal_set({SIGPIPE})};
    auto& running = impl_->start(true);

    int ends = 0; // signals that asked for the end
    int status = 0;
    std::optional<steady_time> interrupt_at;
    while (!running.ended().is_set()) {
        if (impl_->options.reap_orphans)
            reap_children_of_this_thread();
        const auto number = signals.wait(running.ended(), interrupt_at);
        if (interrupt_at && std::chrono::steady_clock::now() >= *interrupt_at) {
            running.interrupt();
            interrupt_at.reset();
        }
        if (!number || *number == SIGCHLD)
            continue;
        if (*number == SIGHUP) {
            running.reopen_log();
        } else if (++ends == 1) {
            running.stop();
        } else if (ends == 2) {
            running.kill(cancellation::level::force);
            status = 128 + *number;
            interrupt_at = std::chrono::steady_clock::now() + last_words;
            if (!running.started().is_set())
                running.interrupt();
        }
    }
    running.check();
    if (status == 0 && !running.told_everything())
        status = 1;
    if (running.abandoned())
        ::_exit(status);
    running.join();
    return status;
}

} // namespace haul
