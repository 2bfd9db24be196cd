#include "haul/feedback.hpp"

#include "event.hpp"
#include "haul/connection.hpp"
#include "haul/pqxx_compat.hpp"
#include "job_row.hpp"
#include "pause.hpp"
#include "session.hpp"
#include "signals.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <pthread.h>
#include <set>
#include <thread>

namespace haul {

namespace {

using core::event;
using core::session;
using core::statement;
using core::steady_time;

constexpr int largest_batch = 100;

/// The last words to a server that is silent may take so long.
constexpr std::chrono::seconds last_words{1};

// In the order of their ids; DELETE alone promises none.
constexpr statement take{"",
                         "WITH taken AS (DELETE FROM haul.my_replies WHERE reply_to = $1 AND id = ANY (ARRAY("
                         "SELECT id FROM haul.my_replies WHERE reply_to = $1 ORDER BY id LIMIT $2))"
                         " RETURNING id, job_id, claim, attempt, state, result, error, repeats, finished_at)"
                         " SELECT * FROM taken ORDER BY id"};
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

} // namespace

nlohmann::json reply::result() const {
    return result_text.empty() ? nlohmann::json{} : nlohmann::json::parse(result_text);
}

class mailbox::impl {
public:
    impl(std::string dsn, std::string name, mailbox_options options)
        : dsn_{std::move(dsn)}, name_{checked_name(name)}, options_{std::move(options)} {
        connect();
        // Refused here and now, if it is.
        session_->execute("BEGIN READ WRITE; DELETE FROM haul.my_replies WHERE false; COMMIT");
        const core::blocked_signals none{core::blocked_signals::all()};
        thread_ = std::thread{[this] { run(); }};
    }

    ~impl() {
        stop_.set();
        if (!ended_.wait_until(std::chrono::steady_clock::now() + last_words))
            interrupt_.set();
        thread_.join();
        for (const auto& one : expected_.take_all())
            one->give_up("the mailbox was closed before the job ended");
    }

    const std::string& name() const noexcept { return name_; }
    expectations& expected() noexcept { return expected_; }

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
        const auto called = session_->notifications();
        if (now >= look_at_ || std::find(called.begin(), called.end(), name_) != called.end())
            look();
    }

    void look() {
        look_at_ = std::chrono::steady_clock::now() + core::jittered(options_.polling_interval, 0.2, random_);
        while (take_batch() == largest_batch && !stop_.is_set()) {
        }
        // Announcements that came along with the rows of a statement show no more on the socket.
        if (!stop_.is_set() && !session_->notifications().empty())
            look_at_ = std::chrono::steady_clock::now();
    }

    int take_batch() {
        // The defaults of a database may ask for more than is needed here, and fail for it.
        session_->execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        const auto rows = session_->query(take, core::parameters{}.add_text(name_).add_int32(largest_batch));
        const int count = rows.rows();
        for (int row = 0; row < count; ++row) {
            if (stop_.is_set()) {
                keep_the_rest();
                return row;
            }
            const auto one = read_reply(rows, row);
            // One that was told before the connection was lost, and with it the transaction.
            if (told_.insert(one.id).second)
                tell(one);
        }
        session_->execute("COMMIT");
        for (int row = 0; row < count; ++row)
            told_.erase(core::read_int64(rows(row, column::id)));
        if (count < largest_batch)
            told_.clear(); // what else was told is gone from the table
        return count;
    }

    /// What was told is over, what was not stays in the table.
    void keep_the_rest() {
        session_->execute("ROLLBACK");
        core::array_builder ids{core::type::int8};
        for (const auto id : told_)
            ids.add_int64(id);
        session_->query(drop, core::parameters{}.add_text(name_).add_array(core::type::int8_array, ids));
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

    std::mutex enqueueing_;
    std::optional<connection> enqueuer_;

    event stop_;
    event interrupt_; // gives up every wait for the database
    event ended_;
    // Of the thread:
    std::optional<session> session_;
    core::reconnect_pause pause_;
    std::mt19937_64 random_{std::random_device{}()};
    steady_time look_at_{};       // or connect, when there is no session
    std::set<std::int64_t> told_; // of a batch that is not known to be committed
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
    for (const auto& one : impl_->expected().take(job_id))
        one->give_up("the mailbox was told to forget the job");
}

job_state wait_for(pqxx::connection& connection, std::int64_t job_id, std::chrono::milliseconds timeout) {
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
