#include "haul/feedback.hpp"

#include "event.hpp"
#include "haul/connection.hpp"
#include "haul/pqxx_compat.hpp"
#include "job_row.hpp"
#include "pause.hpp"
#include "session.hpp"
#include "signals.hpp"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <pthread.h>
#include <thread>
#include <vector>

namespace haul {

namespace {

using core::event;
using core::session;
using core::statement;
using core::steady_time;

constexpr int largest_batch = 100;

/// The last words to a server that is silent may take so long.
constexpr std::chrono::seconds last_words{1};

/// Times that are longer than anybody waits, and short enough for clocks not to overflow.
constexpr std::chrono::hours longest_interval{24};
constexpr std::chrono::hours longest_wait{24 * 365};

constexpr statement select{"", "SELECT id, job_id, claim, attempt, state, result, error, repeats, finished_at"
                               " FROM haul.my_replies WHERE reply_to = $1 ORDER BY id LIMIT $2"};
constexpr statement drop{"", "DELETE FROM haul.my_replies WHERE reply_to = $1 AND id = ANY ($2)"};

namespace column {
enum : int { id, job_id, claim, attempt, state, result, error, repeats, finished_at };
}

end_state end_state_of(std::string_view name) {
    if (name == "completed")
        return end_state::completed;
    if (name == "failed")
        return end_state::failed;
    if (name == "discarded")
        return end_state::discarded;
    if (name == "cancelled")
        return end_state::cancelled;
    throw error{"the server sent a reply with the unknown state \"" + std::string{name} + '"'};
}

reply read_reply(const core::result& rows, int row) {
    reply read;
    read.id = core::read_int64(rows(row, column::id));
    read.job_id = core::read_int64(rows(row, column::job_id));
    read.claim = core::read_int32(rows(row, column::claim));
    read.attempt = core::read_int32(rows(row, column::attempt));
    read.state = end_state_of(rows(row, column::state));
    read.result_text = core::read_jsonb(rows(row, column::result));
    read.error = rows(row, column::error);
    read.repeats = rows.boolean(row, column::repeats);
    read.finished_at = core::read_timestamp(rows(row, column::finished_at));
    return read;
}

/// Somebody who waits for a job.
struct expectation {
    callbacks told;
    std::promise<reply> end;

    void give_up(const char* reason) { end.set_exception(std::make_exception_ptr(error{reason})); }
};
using expectation_ptr = std::shared_ptr<expectation>;

/// Those who wait. Thread-safe.
class expectations {
public:
    expectation_ptr add(std::int64_t job, callbacks told) {
        auto added = std::make_shared<expectation>();
        added->told = std::move(told);
        const std::lock_guard lock{mutex_};
        all_.emplace(job, added);
        return added;
    }

    std::vector<expectation_ptr> find(std::int64_t job) {
        const std::lock_guard lock{mutex_};
        return of(job);
    }

    /// They wait no more.
    std::vector<expectation_ptr> take(std::int64_t job) {
        const std::lock_guard lock{mutex_};
        auto taken = of(job);
        all_.erase(job);
        return taken;
    }

    void take(std::int64_t job, const expectation_ptr& one) {
        const std::lock_guard lock{mutex_};
        const auto [begin, end] = all_.equal_range(job);
        const auto found = std::find_if(begin, end, [&](const auto& each) { return each.second == one; });
        if (found != end)
            all_.erase(found);
    }

    std::vector<expectation_ptr> take_all() {
        const std::lock_guard lock{mutex_};
        std::vector<expectation_ptr> taken;
        for (const auto& [job, one] : all_)
            taken.push_back(one);
        all_.clear();
        return taken;
    }

private:
    std::vector<expectation_ptr> of(std::int64_t job) const {
        std::vector<expectation_ptr> found;
        const auto [begin, end] = all_.equal_range(job);
        for (auto one = begin; one != end; ++one)
            found.push_back(one->second);
        return found;
    }

    std::mutex mutex_;
    std::multimap<std::int64_t, expectation_ptr> all_;
};

const std::string& checked_name(const std::string& name) {
    const auto begins_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
    const auto length = std::count_if(name.begin(), name.end(), begins_character);
    if (length < 1 || length > 255 || name.find('\0') != std::string::npos)
        throw bad_job{"the name of a mailbox must have 1 to 255 characters", "22023"};
    return name;
}

nlohmann::json parsed(const std::string& result) {
    return result.empty() ? nlohmann::json{} : nlohmann::json::parse(result);
}

mailbox_options checked(mailbox_options options) {
    if (options.polling_interval < std::chrono::milliseconds{1})
        throw bad_job{"the polling interval of a mailbox must be at least 1 ms, not " +
                          std::to_string(options.polling_interval.count()) + " ms",
                      "22023"};
    options.polling_interval =
        std::min<std::chrono::milliseconds>(options.polling_interval, longest_interval);
    return options;
}

/// Which job is being told of, so that others can wait until that is over. Thread-safe.
class telling {
    struct ender {
        void operator()(telling* whole) const noexcept { whole->end(); }
    };

public:
    using turn = std::unique_ptr<telling, ender>;

    /// The job is being told of until the turn is over. None, for ever, once close() was called.
    turn begin(std::int64_t job) {
        const std::lock_guard lock{mutex_};
        if (closed_)
            return nullptr;
        job_ = job;
        teller_ = std::this_thread::get_id();
        return turn{this};
    }

    /// Waits until the job is not being told of; the thread that tells does not wait for itself.
    void await_end(std::int64_t job) {
        std::unique_lock lock{mutex_};
        const auto before = ended_;
        if (job_ != job || teller_ == std::this_thread::get_id())
            return;
        over_.wait(lock, [&] { return ended_ != before; });
    }

    /// Nothing begins any more. Returns when nothing is being told of.
    void close() {
        std::unique_lock lock{mutex_};
        closed_ = true;
        over_.wait(lock, [&] { return !job_; });
    }

private:
    void end() noexcept {
        const std::lock_guard lock{mutex_};
        job_.reset();
        ++ended_;
        over_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable over_;
    std::optional<std::int64_t> job_;
    std::thread::id teller_;
    std::uint64_t ended_ = 0;
    bool closed_ = false;
};

} // namespace

nlohmann::json reply::result() const {
    return parsed(result_text);
}

nlohmann::json job_state::result() const {
    return parsed(result_text);
}

class mailbox::impl {
public:
    impl(std::string dsn, std::string name, mailbox_options options)
        : dsn_{std::move(dsn)}, name_{checked_name(name)}, options_{checked(std::move(options))} {
        connect();
        remove({}); // refused here and now, if it is
        const core::blocked_signals none{core::blocked_signals::all()};
        thread_ = std::thread{[this] { run(); }};
    }

    ~impl() {
        stop_.set();
        telling_.close();
        if (!ended_.wait_until(std::chrono::steady_clock::now() + last_words))
            interrupt_.set();
        thread_.join();
        for (const auto& one : expected_.take_all())
            one->give_up("the mailbox was closed before the job ended");
    }

    const std::string& name() const noexcept { return name_; }
    expectations& expected() noexcept { return expected_; }

    void forget(std::int64_t job) {
        for (const auto& one : expected_.take(job))
            one->give_up("the mailbox was told to forget the job");
        telling_.await_end(job);
    }

    awaited_job enqueue(const new_job& job, callbacks told) {
        const std::lock_guard lock{enqueueing_};
        if (!enqueuer_ || !enqueuer_->is_alive()) {
            enqueuer_.reset();
            enqueuer_.emplace(dsn_, options_.application_name);
        }
        return translated(*enqueuer_, [&] {
            pqxx::work tx{**enqueuer_};
            const auto id = haul::enqueue(tx, job.kind, job.args, job.options);
            // Before the commit: the reply may come at once.
            const auto added = expected_.add(id, std::move(told));
            try {
                tx.commit();
            } catch (...) {
                expected_.take(id, added);
                throw;
            }
            return awaited_job{id, added->end.get_future()};
        });
    }

private:
    void connect() {
        session_.emplace(dsn_, options_.application_name, interrupt_, false);
        if (options_.listen)
            session_->execute("LISTEN haul_reply");
        pause_.succeeded(std::chrono::steady_clock::now());
        // What was written before we listened was announced to nobody.
        look_at_ = std::chrono::steady_clock::now();
    }

    void run() noexcept {
        pthread_setname_np(pthread_self(), "haul-mailbox");
        while (!stop_.is_set()) {
            try {
                step();
            } catch (const core::interrupted_error&) {
                break;
            } catch (const std::exception& failure) {
                session_.reset();
                look_at_ = std::chrono::steady_clock::now() + pause_.next(std::chrono::steady_clock::now());
                report(failure, nullptr);
            }
        }
        session_.reset();
        ended_.set();
    }

    void step() {
        core::wait_for(session_ ? session_->socket() : -1, POLLIN, stop_, look_at_);
        if (stop_.is_set())
            return;
        const auto now = std::chrono::steady_clock::now();
        if (!session_ && now >= look_at_)
            connect();
        if (!session_)
            return;
        session_->read();
        const bool announced = is_announced();
        if (announced || now >= look_at_)
            look();
    }

    bool is_announced() {
        const auto called = session_->notifications();
        return std::find(called.begin(), called.end(), name_) != called.end();
    }

    void look() {
        look_at_ = std::chrono::steady_clock::now() + core::jittered(options_.polling_interval, 0.2, random_);
        remove_told(); // what was told when the connection was lost
        while (tell_batch() == largest_batch && !stop_.is_set()) {
        }
        // Announcements that came along with the rows of a statement show no more on the socket.
        if (is_announced())
            look_at_ = std::chrono::steady_clock::now();
    }

    /// No transaction is open while callbacks run: they may be slow, and this process may die in silence.
    /// Returns how many outcomes there were.
    int tell_batch() {
        const auto rows = read_batch();
        for (int row = 0; row < rows.rows(); ++row) {
            const auto turn = telling_.begin(core::read_int64(rows(row, column::job_id)));
            if (!turn)
                break; // the rest stays in the table
            // Before, for it may have been told when something is thrown.
            told_.push_back(core::read_int64(rows(row, column::id)));
            tell(rows, row);
        }
        remove_told();
        return rows.rows();
    }

    // The defaults of a database may ask for more than is needed here, and fail for it.
    core::result read_batch() {
        session_->execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY");
        auto rows = session_->query(select, core::parameters{}.add_text(name_).add_int32(largest_batch));
        session_->execute("COMMIT");
        return rows;
    }

    void remove(const std::vector<std::int64_t>& replies) {
        core::array_builder ids{core::type::int8};
        for (const auto id : replies)
            ids.add_int64(id);
        session_->execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        session_->query(drop, core::parameters{}.add_text(name_).add_array(core::type::int8_array, ids));
        session_->execute("COMMIT");
    }

    void remove_told() {
        if (told_.empty())
            return;
        remove(told_);
        told_.clear();
    }

    void tell(const core::result& rows, int row) {
        try {
            tell(read_reply(rows, row));
        } catch (const std::exception& failure) { // of a server that is newer than this
            report(failure, nullptr);
            for (const auto& each : expected_.take(core::read_int64(rows(row, column::job_id))))
                each->give_up(failure.what());
        }
    }

    void tell(const reply& one) {
        const auto waiting = one.repeats ? expected_.find(one.job_id) : expected_.take(one.job_id);
        if (waiting.empty())
            return call(options_.others, one);
        for (const auto& each : waiting) {
            call(each->told, one);
            if (!one.repeats)
                each->end.set_value(one);
        }
    }

    void call(const callbacks& told, const reply& one) {
        const auto& function = one.repeats ? told.on_run : one.succeeded() ? told.on_success : told.on_error;
        try {
            if (function)
                function(one);
        } catch (const std::exception& failure) {
            report(failure, &one);
        } catch (...) {
            report(error{"a callback threw something that is not a std::exception"}, &one);
        }
    }

    void report(const std::exception& what, const reply* of) noexcept {
        try {
            if (options_.on_failure)
                options_.on_failure(what, of);
        } catch (...) { // there is nobody left to tell
        }
    }

    const std::string dsn_;
    const std::string name_;
    const mailbox_options options_;
    expectations expected_;
    telling telling_;

    std::mutex enqueueing_;
    std::optional<connection> enqueuer_;

    event stop_;
    event interrupt_; // gives up every wait for the database
    event ended_;
    // Of the thread:
    std::optional<session> session_;
    core::reconnect_pause pause_;
    std::mt19937_64 random_{std::random_device{}()};
    steady_time look_at_{};          // or connect, when there is no session
    std::vector<std::int64_t> told_; // ids of replies that may still be in the table
    std::thread thread_;
};

mailbox::mailbox(std::string dsn, std::string name, mailbox_options options)
    : impl_{std::make_unique<impl>(std::move(dsn), std::move(name), std::move(options))} {}

mailbox::~mailbox() = default;

const std::string& mailbox::name() const noexcept {
    return impl_->name();
}

awaited_job mailbox::enqueue(const std::string& kind, const job_args& args, job_options options,
                             callbacks told) {
    if (options.on_duplicate == duplicate_action::return_existing)
        throw bad_job{"a mailbox cannot wait for a job that exists", "22023", "",
                      "Leave out on_duplicate = return_existing."};
    options.reply_to = name();
    return impl_->enqueue({kind, args, std::move(options)}, std::move(told));
}

std::future<reply> mailbox::expect(std::int64_t job_id, callbacks told) {
    return impl_->expected().add(job_id, std::move(told))->end.get_future();
}

void mailbox::forget(std::int64_t job_id) {
    impl_->forget(job_id);
}

job_state wait_for(pqxx::connection& connection, std::int64_t job_id, std::chrono::milliseconds timeout) {
    // The server refuses what is negative.
    timeout = std::clamp<std::chrono::milliseconds>(timeout, std::chrono::milliseconds{-1}, longest_wait);
    return translated(connection, [&] {
        pqxx::nontransaction none{connection};
        const auto rows = compat::exec(none, "CALL haul.wait_for($1::bigint, $2::interval)", job_id,
                                       interval_text(timeout));
        const auto text = [&](int column) {
            return rows[0][column].is_null() ? std::string{} : rows[0][column].as<std::string>();
        };
        return job_state{text(0), text(1), text(2)};
    });
}

} // namespace haul
