#include "haul/worker.hpp"

#include "buffer.hpp"
#include "descriptor_limit.hpp"
#include "event.hpp"
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
#include "unavailable.hpp"

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
                   {jobs_, buffer_, pool_, reporter_, wake_, interrupt_, log_.logger()}} {
        const blocked_signals none{blocked_signals::all()};
        try {
            fetcher_.enter();
        } catch (const not_installed& failure) {
            throw not_installed{std::string{"the extension pg_haul is not installed in this database: "} +
                                    failure.what(),
                                failure.sqlstate(), failure.detail(), "Run CREATE EXTENSION pg_haul there."};
        }
        reporter_.start();
        pool_.adapt();
        if (pool_.size() == 0 && options.min_threads > 0)
            throw unavailable{"no thread for jobs can be started"};
        thread_ = std::thread{[this] { run(); }};
    }

    ~machinery() {
        kill(cancellation::level::worker);
        join();
    }

    void stop() noexcept { fetcher_.stop(); }
    void kill(cancellation::level how) noexcept { fetcher_.kill(how); }
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
    bool abandoned() const noexcept { return fetcher_.abandoned() || fetcher_.cancelling(); }
    /// After the end: whether the server was told of everything, and it was no fault of the set-up that ended
    /// it.
    bool told_everything() const noexcept {
        return reporter_.accepted() == reporter_.delivered() && !fetcher_.still_registered() &&
               !fetcher_.hopeless();
    }

private:
    std::string application_name(const std::string& purpose) const {
        return options_.set_db_connection_name ? "haul worker " + name_ + " " + purpose : "haul";
    }

    session connect(const char* purpose) {
        return session{options_.dsn, application_name(purpose), interrupt_,
                       options_.wait == wait_mode::listen};
    }

    std::unique_ptr<executor> make_executor(const registry& handlers) {
        auto made = std::make_unique<executor>(
            handlers, reporter_, thread_connection{options_.dsn, application_name("job")}, log_.logger());
        if (is_reserved(made->cancelling().raised().descriptor()))
            throw unavailable{"the last descriptors are kept for the worker's own connections"};
        return made;
    }

    void run() noexcept {
        fetcher_.run();
        interrupt_.set(); // what is not told by now stays untold
        if (!fetcher_.abandoned()) {
            pool_.join();
            reporter_.finish();
        }
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
    event ended_;
    in_flight jobs_;
    buffer buffer_{wake_};
    reporter reporter_;
    pool pool_;
    fetcher fetcher_;
    std::mutex joining_;
    std::thread thread_;
};

} // namespace

class worker::impl {
public:
    explicit impl(worker_options given) : options{std::move(given)} {}

    void start(bool may_abandon) {
        if (running)
            throw error{"a worker runs only once"};
        running = std::make_unique<machinery>(options, handlers, may_abandon);
    }

    worker_options options;
    registry handlers;
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
    impl_->start(false);
}

void worker::stop() noexcept {
    if (impl_->running)
        impl_->running->stop();
}

void worker::kill() noexcept {
    if (impl_->running)
        impl_->running->kill(cancellation::level::worker);
}

void worker::join() {
    if (impl_->running)
        impl_->running->join();
}

int worker::run() {
    signal_source signals{SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    const blocked_signals unreadable_log{signal_set({SIGPIPE})};
    impl_->start(true);
    auto& running = *impl_->running;

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
        }
    }
    if (status == 0 && !running.told_everything())
        status = 1;
    if (running.abandoned())
        ::_exit(status);
    running.join();
    return status;
}

} // namespace haul
