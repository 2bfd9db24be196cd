#ifndef HAUL_WORKER_REPORTER_HPP
#define HAUL_WORKER_REPORTER_HPP

#include "event.hpp"
#include "report_call.hpp"
#include "report_sink.hpp"
#include "session.hpp"

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <spdlog/logger.h>
#include <string>
#include <thread>
#include <vector>

namespace haul::core {

/// Tells the server how jobs ended, on a thread and a connection of its own: at once when it is idle, many in
/// one call under load. What cannot be told while the database is away is kept and told later; every call is
/// guarded by the job's claim, so telling twice does no harm.
///
/// report(), progress(), confirm_start() and the counts are thread-safe.
class reporter final : public report_sink {
public:
    using connect_function = std::function<session()>;

    /// `settled` is set whenever reports have been delivered; `interrupt` ends every wait.
    reporter(connect_function connect, event& settled, const event& interrupt, spdlog::logger& log);
    /// Gives up what is not delivered.
    ~reporter();
    reporter(const reporter&) = delete;
    reporter& operator=(const reporter&) = delete;

    /// Connects and starts the thread. Throws connection_error.
    void start();
    /// Delivers what there is, then ends the thread. Nothing may be reported any more.
    void finish() noexcept;

    void report(job& what, ending how) override;
    void progress(const job& what, std::string json) override;
    bool confirm_start(job& what) override;

    /// Reports accepted and delivered so far.
    std::uint64_t accepted() const noexcept { return accepted_.load(); }
    std::uint64_t delivered() const noexcept { return delivered_.load(); }

private:
    struct confirmation {
        job* what;
        std::promise<bool> answer;
    };
    struct progress_value {
        std::int64_t worker_id;
        std::string json;
    };
    using progress_map = std::map<std::pair<std::int64_t, std::int32_t>, progress_value>;
    struct work {
        std::vector<core::report> reports;
        std::size_t delivered = 0; // of the reports, from the front
        std::vector<confirmation> confirmations;
        progress_map progress;
    };

    void run() noexcept;
    bool wait_for_work();
    void take(work& into);
    void deliver(work& what);
    void confirm(work& what);
    void send_progress(work& what);
    void send_reports(work& what);
    std::size_t send_front(work& what);
    void send_range(core::report* first, std::size_t count);
    void send_alone(core::report& what);
    void log_not_owned(const std::vector<std::int64_t>& ids, const char* call) const;
    void give_up(work& what);

    connect_function connect_;
    event& settled_;
    const event& interrupt_;
    spdlog::logger& log_;

    std::mutex mutex_;
    std::vector<core::report> reports_;
    std::vector<confirmation> confirmations_;
    progress_map progress_;
    std::size_t wake_at_ = 0; // the thread sleeps until there are so many reports; 0: it does not sleep
    bool finishing_ = false;
    event wake_;

    std::atomic<std::uint64_t> accepted_{0};
    std::atomic<std::uint64_t> delivered_{0};

    std::thread thread_;
    // Of the thread alone:
    std::optional<session> session_;
    std::size_t last_batch_ = 0;
    bool in_doubt_ = false; // the last call may have taken effect without an answer
};

} // namespace haul::core

#endif
