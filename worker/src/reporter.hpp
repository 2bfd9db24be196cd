#ifndef HAUL_WORKER_REPORTER_HPP
#define HAUL_WORKER_REPORTER_HPP

#include "event.hpp"
#include "fault.hpp"
#include "pause.hpp"
#include "report_call.hpp"
#include "report_sink.hpp"
#include "session.hpp"
#include "trouble.hpp"

#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <spdlog/logger.h>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace haul::core {

/// Tells the server how jobs ended, on a thread and a connection of its own: at once when it is idle, many in
/// one call under load. What cannot be told while the database is away, or refuses it, is kept and told
/// later; every call is guarded by the job's claim, so telling twice does no harm.
///
/// What threads tell, confirm_no_more() and the questions are thread-safe.
class reporter final : public report_sink {
public:
    using connect_function = std::function<session()>;

    /// `settled` is set whenever reports have been delivered, or one of the answers below has changed;
    /// `interrupt` ends every wait. A fault of the set-up may last for `patience`.
    reporter(connect_function connect, event& settled, const event& interrupt,
             std::chrono::milliseconds patience, spdlog::logger& log);
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
    std::chrono::milliseconds refused(const job& what, const error& failure) override;
    /// No job begins any more that needs a confirmation: who waits for one is told so.
    void confirm_no_more();

    /// Reports accepted and delivered so far.
    std::uint64_t accepted() const noexcept { return accepted_.load(); }
    std::uint64_t delivered() const noexcept { return delivered_.load(); }
    /// Reports delivered, or refused each on its own and kept for later.
    std::uint64_t tried() const noexcept { return delivered_.load() + postponed_.load(); }
    /// The database is away, or refuses everything, so that nothing gets delivered.
    bool stuck() const noexcept { return stuck_.load(); }
    /// A fault of the set-up has lasted too long.
    bool hopeless() const noexcept { return hopeless_.load(); }

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
    /// What the thread has taken and not yet delivered.
    struct work {
        std::vector<core::report> reports;
        std::size_t sent = 0;                // of the reports, from the front: delivered or postponed
        std::vector<core::report> postponed; // refused each on its own; sent again later
        progress_map progress;
    };
    /// The calls since the last pause.
    struct round {
        bool any_accepted = false;
        std::optional<error> refusal; // the last that is not the fault of one job's data
    };

    void run() noexcept;
    bool wait_for_work(const work& left);
    void take(work& into);
    void attempt(work& what);
    void connect();
    void succeeded();
    void lost(const std::exception& failure, const work& left);
    void refused(const work& left);
    void count_patience(const error& failure, const trouble& since);
    template <typename Call>
    std::optional<error> refusal_of(Call&& call);

    void confirm();
    void answer(const claims& asked, const std::vector<std::int64_t>& not_owned);
    void send_progress(work& what);
    void send_reports(work& what);
    std::size_t front_size(const work& what) const;
    void settle_front(work& what, std::size_t count);
    void postpone_front(work& what, std::size_t count);
    bool send_replaced(core::report& what, const error& refusal);
    void log_not_owned(const std::vector<std::int64_t>& ids, const char* call) const;

    connect_function connect_;
    event& settled_;
    const event& interrupt_;
    std::chrono::milliseconds patience_;
    spdlog::logger& log_;

    std::mutex mutex_;
    std::vector<core::report> reports_;
    std::vector<confirmation> confirmations_;
    progress_map progress_;
    std::size_t wake_at_ = 0; // the thread sleeps until there are so many reports; 0: it does not sleep
    bool finishing_ = false;
    bool confirms_ = true;
    trouble refused_handlers_; // refusals of completions in transactions of handlers
    event wake_;

    std::atomic<std::uint64_t> accepted_{0};
    std::atomic<std::uint64_t> delivered_{0};
    std::atomic<std::uint64_t> postponed_{0};
    std::atomic<bool> stuck_{false};
    std::atomic<bool> hopeless_{false};

    std::thread thread_;
    // Of the thread alone:
    std::optional<session> session_;
    reconnect_pause pause_;
    trouble away_;
    trouble refused_;
    trouble progress_refused_;
    round round_;
    std::array<steady_time, std::variant_size_v<ending>> accepted_at_{}; // when a call for such endings was
    steady_time resume_at_{};                                            // nothing is sent before
    steady_time retry_at_{};                                             // nor what is postponed
    std::size_t most_;                                                   // reports in one call
    std::size_t last_batch_ = 0;
    bool in_doubt_ = false; // the last call may have taken effect without an answer
};

} // namespace haul::core

#endif
