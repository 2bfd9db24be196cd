#ifndef HAUL_WORKER_FETCHER_HPP
#define HAUL_WORKER_FETCHER_HPP

#include "buffer.hpp"
#include "drain.hpp"
#include "event.hpp"
#include "fault.hpp"
#include "fetch_schedule.hpp"
#include "long_poll.hpp"
#include "membership.hpp"
#include "pause.hpp"
#include "pool.hpp"
#include "prefetch.hpp"
#include "reporter.hpp"
#include "subscription.hpp"
#include "trouble.hpp"

#include <atomic>
#include <functional>
#include <optional>

namespace haul::core {

/// The main loop of the worker, on the connection that fetches: the worker's row and its heartbeats,
/// checkouts when there may be jobs and there is room for them, reconnecting, and the end. stop() and kill()
/// are thread-safe.
class fetcher {
public:
    using connect_function = std::function<session()>;

    /// What the loop works with. All of it outlives the fetcher.
    struct surroundings {
        in_flight& jobs;
        buffer& ahead;
        pool& threads;
        reporter& reports;
        event& wake;      ///< set by the others when the loop should look around
        event& interrupt; ///< ends every wait for the database, for good
        spdlog::logger& log;
    };

    fetcher(const worker_options& options, const std::string& name, const subscription& jobs,
            bool may_abandon, connect_function connect, const surroundings& around);

    /// Registers. Throws haul::error.
    void enter(session first);
    /// Takes that back, as well as it can.
    void leave() noexcept;
    /// Works until the worker has ended.
    void run() noexcept;

    void stop() noexcept;
    void kill(cancellation::level how) noexcept;

    /// After run(): jobs were left running, because they did not end in time.
    bool abandoned() const noexcept { return abandoned_; }
    /// After run(): a fault of the set-up ended it.
    bool hopeless() const noexcept { return hopeless_ || around_.reports.hopeless(); }
    /// After run(): the destructor has to wait for a server that does not answer.
    bool cancelling() const noexcept { return long_poll_.cancelling(); }
    /// After run(): the worker's row could not be deleted; maintenance will.
    bool still_registered() const noexcept { return member_.id() != 0; }

private:
    enum class phase { working, draining, ended };

    void step();
    void wait();
    void sooner(steady_time time);

    void listen();
    void reconnect();
    void lost(const std::exception& failure);
    void refused(const error& failure);
    void count_patience(const error& failure, const trouble& since);
    void reenter();
    void heartbeat();
    void look_after_jobs();
    void look_after_others();
    void reconcile();
    bool take_notifications();

    void fetch();
    void check_out(std::size_t room, const buffer::level& before);
    void took(result rows, std::size_t asked);
    void wait_in_server();
    void read_answer();
    bool backlogged() const;
    bool quiet(const buffer::level& level) const;
    void give_back_if_stalled(const buffer::level& level);
    void release(const std::vector<job*>& unstarted);

    void consider_end(steady_time now);
    void begin_drain(const char* reason);
    void continue_drain();
    void end();

    const worker_options& options_;
    const subscription& subscription_;
    connect_function connect_;
    surroundings around_;
    membership member_;
    fetch_schedule schedule_;
    prefetch prefetch_;
    long_poll long_poll_;
    reconnect_pause pause_;
    drain drain_;

    std::optional<session> session_;
    steady_time reconnect_at_{};
    trouble away_;            // connections that are lost, or not to be had
    trouble refused_;         // calls that the server refuses
    steady_time resume_at_{}; // nothing but heartbeats goes to the server before
    bool hopeless_ = false;
    std::uint64_t deliver_first_ = 0; // reports that must be delivered before anything is fetched
    std::optional<steady_time> reconcile_at_;
    bool jobs_are_due_ = false; // to be asked about, whether they are still ours
    phase phase_ = phase::working;
    std::optional<steady_time> exit_at_;
    std::optional<steady_time> wake_at_;
    std::uint64_t started_ = 0; // jobs that threads had taken at progress_at_
    steady_time progress_at_{};
    bool abandoned_ = false;

    std::atomic<bool> stop_requested_{false};
    std::atomic<cancellation::level> kill_requested_{cancellation::level::none};
};

} // namespace haul::core

#endif
