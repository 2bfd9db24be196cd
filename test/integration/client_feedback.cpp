// haul::mailbox: enqueuers are told how their jobs ended.
#include "haul/client.hpp"
#include "haul/feedback.hpp"
#include "support/pooler.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <gmock/gmock.h>
#include <mutex>

namespace haul::test {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// What callbacks were told, as text.
class journal {
public:
    callbacks all() {
        return {[this](const reply& r) { add("success " + r.result_text); },
                [this](const reply& r) { add("error " + r.error); },
                [this](const reply& r) { add("run " + (r.succeeded() ? r.result_text : r.error)); }};
    }
    void add(const std::string& line) {
        const std::lock_guard lock{mutex_};
        lines_.push_back(line);
    }
    std::vector<std::string> lines() const {
        const std::lock_guard lock{mutex_};
        return lines_;
    }
    void await(std::size_t lines) const {
        wait_until([&] { return this->lines().size() >= lines; },
                   std::to_string(lines) + " outcomes are told");
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::string> lines_;
};

class client_feedback : public worker_fixture {
protected:
    /// Works until nothing is left to do.
    void work() {
        auto how = options();
        how.exit_when_empty = true;
        run(how);
    }
    void run(const worker_options& how) {
        worker w{how};
        w.add({"echo", handler_spec::type::builtin, {"echo"}});
        w.on("fail", [](const job_context&) -> outcome { return retry{"no luck", 0ms}; });
        w.start();
        w.join();
    }

    static reply get(std::future<reply>& end) {
        if (end.wait_for(patience) != std::future_status::ready)
            throw std::runtime_error("nothing was told");
        return end.get();
    }

    std::int64_t replies() { return sql.number("SELECT count(*) FROM haul.replies"); }

    /// Writes outcomes of jobs that nobody waits for, numbered from 1, and announces them.
    void write_replies(int count, const std::string& state = "completed") {
        sql.exec("INSERT INTO haul.replies (reply_to, job_id, claim, attempt, state, result, repeats, "
                 "finished_at, enqueued_by) SELECT 'box', n, 1, 1, $2, to_jsonb(n), false, now(), "
                 "current_user FROM generate_series(1, $1::integer) AS n",
                 {std::to_string(count), state});
        sql.exec("NOTIFY haul_reply, 'box'");
    }

    /// How many sessions of mailboxes there are that a condition on pg_stat_activity holds for.
    std::int64_t mailboxes(const std::string& condition) {
        return sql.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'haul mailbox' "
                          "AND datname = current_database() AND " +
                          condition);
    }

    job_options answered() const {
        job_options o;
        o.reply_to = "box";
        return o;
    }

    /// A mailbox that finds out by itself only.
    static mailbox_options deaf() {
        mailbox_options o;
        o.listen = false;
        o.polling_interval = 50ms;
        return o;
    }
    /// One that finds out by notifications only.
    static mailbox_options patient() {
        mailbox_options o;
        o.polling_interval = 1h;
        return o;
    }
};

TEST_F(client_feedback, a_future_tells_the_end) {
    mailbox mail{dsn, "box", patient()};
    EXPECT_EQ(mail.name(), "box");
    job_options twice;
    twice.max_attempts = 2;
    auto good = mail.enqueue("echo", R"({"n": 1.50})");
    auto bad = mail.enqueue("fail", {}, twice);
    work();
    const auto success = get(good.end);
    EXPECT_EQ(success.job_id, good.id);
    EXPECT_TRUE(success.succeeded());
    EXPECT_EQ(success.result_text, "{\"n\": 1.50}");
    EXPECT_EQ(success.result().at("n"), 1.5);
    EXPECT_EQ(success.error, "");
    EXPECT_EQ(success.attempt, 1);
    EXPECT_EQ(success.claim, 1);
    EXPECT_FALSE(success.repeats);
    EXPECT_LT(std::chrono::system_clock::now() - success.finished_at, 1min);
    const auto failure = get(bad.end);
    EXPECT_EQ(failure.state, end_state::failed);
    EXPECT_EQ(failure.error, "no luck");
    EXPECT_EQ(failure.attempt, 2);
    EXPECT_TRUE(failure.result().is_null());
    wait_until([&] { return replies() == 0; }, "what was told is taken out");
}

TEST_F(client_feedback, callbacks_tell_an_error_only_after_the_last_attempt) {
    journal told;
    mailbox mail{dsn, "box", patient()};
    job_options thrice;
    thrice.max_attempts = 3;
    auto bad = mail.enqueue("fail", {}, thrice, told.all());
    for (int attempt = 1; attempt <= 3; ++attempt) {
        EXPECT_THAT(told.lines(), ElementsAre());
        sql.exec("WITH w AS MATERIALIZED (SELECT haul.register_worker('w', '{}') AS id) "
                 "SELECT haul.fail(w.id, j.id, j.claim, 'attempt ' || j.attempt, retry_in => '0') FROM w, "
                 "haul.checkout(w.id, 1) AS j");
    }
    told.await(1);
    EXPECT_THAT(told.lines(), ElementsAre("error attempt 3"));
    EXPECT_EQ(get(bad.end).attempt, 3);
}

TEST_F(client_feedback, a_callback_is_called_for_each_run_of_a_periodic_job) {
    journal told;
    mailbox mail{dsn, "box", patient()};
    int runs = 0;
    worker w{options()};
    w.on("tick", [&](const job_context&) -> outcome {
        switch (++runs) {
        case 1:
            return completed{json(runs)};
        case 2:
            return retry{"once more", 0ms};
        case 3:
            return completed{json(runs)};
        default:
            return cancel{"enough"};
        }
    });
    w.start();
    job_options periodic;
    periodic.every = 1ms;
    auto job = mail.enqueue("tick", {}, periodic, told.all());
    EXPECT_EQ(get(job.end).state, end_state::cancelled);
    EXPECT_THAT(told.lines(), ElementsAre("run 1", "run 3", "error enough"));
}

TEST_F(client_feedback, a_job_is_expected_before_its_transaction_commits) {
    journal told;
    mailbox mail{dsn, "box", patient()};
    connection db{dsn};
    pqxx::work tx{*db};
    const auto id = haul::enqueue(tx, "echo", {}, answered());
    auto first = mail.expect(id, told.all());
    auto second = mail.expect(id);
    tx.commit();
    work();
    EXPECT_EQ(get(first).job_id, id);
    EXPECT_EQ(get(second).job_id, id);
    EXPECT_THAT(told.lines(), ElementsAre("success {}"));
}

TEST_F(client_feedback, jobs_of_a_workflow_can_be_expected) {
    mailbox mail{dsn, "box", patient()};
    workflow flow;
    flow.add("first", {"echo", R"({"n": 1})", answered()});
    flow.add("second", {"fail", {}, answered()}, "first");
    connection db{dsn};
    pqxx::work tx{*db};
    const auto made = haul::enqueue(tx, flow);
    auto first = mail.expect(made.jobs.at("first"));
    auto second = mail.expect(made.jobs.at("second"));
    tx.commit();
    sql.exec("UPDATE haul.jobs SET max_attempts = 1");
    work();
    EXPECT_EQ(get(first).result().at("n"), 1);
    EXPECT_EQ(get(second).error, "no luck");
}

TEST_F(client_feedback, a_job_can_be_forgotten) {
    mailbox mail{dsn, "box", patient()};
    auto end = mail.expect(4711);
    mail.forget(4711);
    mail.forget(4712);
    EXPECT_THROW(get(end), error);
}

TEST_F(client_feedback, a_job_that_was_forgotten_is_told_no_more) {
    mailbox mail{dsn, "box", patient()};
    std::atomic<bool> began{false};
    std::atomic<bool> forgetting{false};
    std::atomic<bool> over{false};
    auto job = mail.enqueue("echo", "{}", {}, {[&](const reply&) {
                                began = true;
                                wait_until([&] { return forgetting.load(); }, "the job is being forgotten");
                                std::this_thread::sleep_for(100ms); // it takes its time
                                over = true;
                            }});
    work();
    wait_until([&] { return began.load(); }, "the callback runs");
    forgetting = true;
    mail.forget(job.id);
    EXPECT_TRUE(over);
    EXPECT_EQ(job.end.wait_for(0s), std::future_status::ready);
    EXPECT_EQ(get(job.end).job_id, job.id) << "it was told by then";
}

TEST_F(client_feedback, a_callback_may_forget_its_own_job) {
    mailbox mail{dsn, "box", patient()};
    auto job = mail.enqueue("echo", "{}", {}, {[&](const reply& one) { mail.forget(one.job_id); }});
    work();
    EXPECT_EQ(get(job.end).job_id, job.id);
}

TEST_F(client_feedback, is_told_of_jobs_that_end_without_a_worker) {
    mailbox mail{dsn, "box", patient()};
    auto deleted = mail.enqueue("echo");
    sql.exec("DELETE FROM haul.jobs");
    const auto told = get(deleted.end);
    EXPECT_EQ(told.state, end_state::cancelled);
    EXPECT_EQ(told.attempt, 0);
}

TEST_F(client_feedback, outcomes_survive_a_restart_of_the_enqueuer) {
    std::future<reply> end;
    {
        mailbox mail{dsn, "box", patient()};
        end = mail.enqueue("echo", R"({"n": 1})").end;
    }
    try {
        end.get();
        FAIL() << "it was told";
    } catch (const error& closed) {
        EXPECT_THAT(closed.what(), HasSubstr("closed"));
    }
    work();
    EXPECT_EQ(replies(), 1);
    journal told;
    auto how = patient();
    how.others = told.all();
    mailbox mail{dsn, "box", how};
    told.await(1);
    EXPECT_THAT(told.lines(), ElementsAre("success {\"n\": 1}"));
}

TEST_F(client_feedback, comes_in_order_and_in_batches) {
    // Stored the other way round, so that their places in the table are not their order.
    sql.exec("INSERT INTO haul.replies (id, reply_to, job_id, claim, attempt, state, result, repeats, "
             "finished_at, enqueued_by) OVERRIDING SYSTEM VALUE SELECT n, 'box', n, 1, 1, 'completed', "
             "to_jsonb(n), false, now(), current_user FROM generate_series(250, 1, -1) AS n");
    std::vector<std::string> expected;
    for (int n = 1; n <= 250; ++n)
        expected.push_back("success " + std::to_string(n));
    journal told;
    auto how = patient();
    how.others = told.all();
    mailbox mail{dsn, "box", how};
    told.await(250);
    EXPECT_EQ(told.lines(), expected);
    wait_until([&] { return replies() == 0; }, "all are taken out");
}

TEST_F(client_feedback, holds_no_transaction_open_while_a_callback_runs) {
    write_replies(2);
    std::atomic<int> told{0};
    std::atomic<bool> looked_at{false};
    auto how = patient();
    how.others.on_success = [&](const reply&) {
        ++told;
        wait_until([&] { return looked_at.load(); }, "the callback was looked at");
    };
    mailbox mail{dsn, "box", how};
    wait_until([&] { return told == 1; }, "one is told");
    EXPECT_EQ(mailboxes("xact_start IS NOT NULL"), 0);
    EXPECT_EQ(mailboxes("state = 'idle'"), 1);
    EXPECT_EQ(replies(), 2) << "what is being told would be lost now";
    looked_at = true;
    wait_until([&] { return replies() == 0; }, "both are taken out");
}

TEST_F(client_feedback, works_whatever_the_defaults_of_transactions_are) {
    sql.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', "
             "current_database()); EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = "
             "serializable', current_database()); END $$");
    write_replies(3);
    journal told;
    auto how = patient();
    how.others = told.all();
    mailbox mail{dsn, "box", how};
    wait_until([&] { return replies() == 0; }, "all are taken out");
    EXPECT_THAT(told.lines(), ElementsAre("success 1", "success 2", "success 3"));
}

TEST_F(client_feedback, looks_for_its_own_announcements_only) {
    const auto database = sql.text("SELECT current_database()");
    sql.exec("ALTER DATABASE " + database + " SET log_statement = 'all'");
    const auto looks = [&] {
        const auto log = server->log();
        int found = 0;
        for (auto at = log.find("FROM haul.my_replies WHERE reply_to = $1 ORDER BY"); at != std::string::npos;
             at = log.find("FROM haul.my_replies WHERE reply_to = $1 ORDER BY", at + 1))
            ++found;
        return found;
    };
    const int before = looks();
    mailbox mail{dsn, "box", patient()};
    wait_until([&] { return looks() == before + 1; }, "it has looked after it connected");
    // While it is busy, so that the announcement comes along with the rows of a statement.
    auto first = mail.enqueue("echo", "{}", {},
                              {[&](const reply&) { session{dsn}.exec("NOTIFY haul_reply, 'another box'"); }});
    work();
    get(first.end);
    wait_until([&] { return replies() == 0; }, "the first is taken out");
    auto second = mail.enqueue("echo");
    work();
    get(second.end);
    EXPECT_EQ(looks(), before + 3);
}

TEST_F(client_feedback, an_outcome_that_it_cannot_read_stops_nobody) {
    journal told;
    auto how = patient();
    how.others = told.all();
    how.on_failure = [&](const std::exception& what, const reply*) { told.add(what.what()); };
    mailbox mail{dsn, "box", how};
    auto end = mail.expect(1);
    write_replies(1, "odd");
    write_replies(1);
    wait_until([&] { return replies() == 0; }, "both are taken out");
    EXPECT_THAT(told.lines(), ElementsAre(HasSubstr("unknown state \"odd\""), "success 1"));
    EXPECT_THROW(get(end), error);
}

TEST_F(client_feedback, what_a_callback_throws_is_reported_and_loses_nothing) {
    journal told;
    auto how = patient();
    how.on_failure = [&](const std::exception& what, const reply* of) {
        told.add(std::string{what.what()} + " of " + (of ? of->result_text : "nothing"));
        throw 1;
    };
    mailbox mail{dsn, "box", how};
    auto first = mail.enqueue("echo", "{}", {}, {[](const reply&) { throw std::runtime_error{"bug"}; }});
    auto second = mail.enqueue("echo", "{}", {}, {[](const reply&) { throw 42; }});
    auto third = mail.enqueue("echo", "{}", {}, told.all());
    work();
    get(first.end);
    get(second.end);
    get(third.end);
    EXPECT_THAT(told.lines(),
                testing::UnorderedElementsAre("bug of {}",
                                              "a callback threw something that is not a std::exception of {}",
                                              "success {}"));
}

/// Of ten outcomes, how many are told before a mailbox is closed whose third callback takes this long then.
class client_feedback_close : public client_feedback,
                              public testing::WithParamInterface<std::chrono::milliseconds> {};

TEST_P(client_feedback_close, in_the_middle_of_a_batch_keeps_the_rest) {
    write_replies(10);
    sql.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', "
             "current_database()); END $$");
    std::atomic<int> told{0};
    std::atomic<bool> closing{false};
    auto how = patient();
    how.others.on_success = [&](const reply&) {
        if (++told != 3)
            return;
        wait_until([&] { return closing.load(); }, "the mailbox is being closed");
        std::this_thread::sleep_for(GetParam());
    };
    auto mail = std::make_unique<mailbox>(dsn, "box", how);
    wait_until([&] { return told == 3; }, "three are told");
    closing = true;
    mail.reset();
    EXPECT_GE(told, 3);
    EXPECT_EQ(told + replies(), 10) << "each was told, or waits";
    mailbox again{dsn, "box", how};
    wait_until([&] { return replies() == 0; }, "the rest is told");
    EXPECT_EQ(told, 10);
}

// The second takes longer than the last words to a server may.
INSTANTIATE_TEST_SUITE_P(, client_feedback_close, testing::Values(0ms, 1500ms));

TEST_F(client_feedback, is_closed_soon_although_the_server_is_silent) {
    write_replies(2);
    std::atomic<int> backend{0};
    auto how = patient();
    how.others.on_success = [&](const reply&) {
        if (backend != 0)
            return;
        const auto pid = static_cast<int>(session{dsn}.number(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'haul mailbox' AND datname = "
            "current_database()"));
        ::kill(pid, SIGSTOP);
        backend = pid;
    };
    auto mail = std::make_unique<mailbox>(dsn, "box", how);
    auto unheard = mail->expect(4711);
    wait_until([&] { return backend != 0; }, "the server is silent");
    const auto began = std::chrono::steady_clock::now();
    mail.reset();
    const auto took = std::chrono::steady_clock::now() - began;
    ::kill(backend, SIGCONT);
    EXPECT_GE(took, 900ms) << "it had last words to say";
    EXPECT_LT(took, 5s);
    EXPECT_THROW(get(unheard), error);
}

TEST_F(client_feedback, closes_at_once) {
    const auto began = std::chrono::steady_clock::now();
    { mailbox mail{dsn, "box", patient()}; }
    EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(client_feedback, works_through_a_pooler) {
    pooler between{*server};
    const auto pooled = between.dsn(sql.text("SELECT current_database()"));
    mailbox mail{pooled, "box", deaf()};
    auto job = mail.enqueue("echo", R"({"n": 1})");
    work();
    EXPECT_EQ(get(job.end).result_text, "{\"n\": 1}");
    connection db{pooled};
    job_options kept;
    kept.keep = 1h;
    client enqueuer{pooled};
    const auto id = enqueuer.enqueue("echo", {}, kept);
    EXPECT_EQ(wait_for(*db, id, 10ms).state, "ready");
    work();
    EXPECT_EQ(wait_for(*db, id).state, "completed");
}

TEST_F(client_feedback, goes_on_when_its_connection_is_lost) {
    journal told;
    auto how = patient();
    std::atomic<int> losses{0};
    how.on_failure = [&](const std::exception&, const reply* of) { losses += of == nullptr; };
    mailbox mail{dsn, "box", how};
    auto job = mail.enqueue("echo");
    sql.exec("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'haul "
             "mailbox' AND "
             "datname = current_database()");
    wait_until([&] { return losses > 0; }, "the loss is noticed");
    work();
    EXPECT_EQ(get(job.end).job_id, job.id);
    auto next = mail.enqueue("echo");
    work();
    EXPECT_EQ(get(next.end).job_id, next.id);
}

TEST_F(client_feedback, tells_once_what_was_told_before_its_connection_was_lost) {
    sql.exec("INSERT INTO haul.jobs (kind, reply_to) SELECT 'echo', 'box' FROM generate_series(1, 5)");
    work();
    std::atomic<int> told{0};
    auto how = patient();
    how.others.on_success = [&](const reply&) {
        if (++told == 3) // in the transaction that takes them out
            session{dsn}.exec(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = "
                "'haul mailbox' AND datname = current_database()");
    };
    mailbox mail{dsn, "box", how};
    wait_until([&] { return replies() == 0; }, "all are taken out");
    EXPECT_EQ(told, 5);
}

TEST_F(client_feedback, is_told_of_its_own_jobs_alone) {
    sql.exec("DROP ROLE IF EXISTS ann; CREATE ROLE ann LOGIN; SELECT haul.grant_producer('ann')");
    sql.exec("INSERT INTO haul.jobs (kind, reply_to) VALUES ('echo', 'box')");
    journal told;
    auto how = deaf();
    how.others = told.all();
    mailbox mail{dsn + " user=ann", "box", how};
    auto job = mail.enqueue("echo", R"({"n": 1})");
    auto other = mailbox{dsn, "other", deaf()}.enqueue("echo", R"({"n": 2})");
    work();
    EXPECT_EQ(get(job.end).result_text, "{\"n\": 1}");
    EXPECT_THAT(told.lines(), ElementsAre());
    wait_until([&] { return replies() == 2; }, "its own is taken out, and no other");
    sql.exec("DROP OWNED BY ann");
    sql.exec("CREATE ROLE bob LOGIN");
    EXPECT_THROW(mailbox(dsn + " user=bob", "box"), permission_denied);
    sql.exec("DROP ROLE ann, bob");
}

TEST_F(client_feedback, refuses_what_makes_no_sense) {
    EXPECT_THROW(mailbox(dsn, ""), bad_job);
    EXPECT_THROW(mailbox(dsn, std::string(256, 'x')), bad_job);
    EXPECT_THROW(mailbox(dsn, "caf\xe9"), bad_job);
    for (const auto interval : {0ms, -1ms, std::chrono::milliseconds::min()}) {
        auto how = patient();
        how.polling_interval = interval;
        EXPECT_THROW(mailbox(dsn, "box", how), bad_job);
    }
    EXPECT_THROW(mailbox("host=/nonexistent", "box"), connection_error);
    EXPECT_THROW(mailbox(server->dsn("template1"), "box"), not_installed);
    mailbox mail{dsn, "box", patient()};
    job_options existing;
    existing.unique_key = "key";
    existing.on_duplicate = duplicate_action::return_existing;
    EXPECT_THROW(mail.enqueue("echo", {}, existing), bad_job);
    EXPECT_THROW(mail.enqueue(""), bad_job);
    auto next = mail.enqueue("echo");
    work();
    EXPECT_EQ(get(next.end).job_id, next.id) << "it can go on";
}

TEST_F(client_feedback, times_may_be_as_long_as_they_like) {
    auto how = patient();
    how.polling_interval = std::chrono::milliseconds::max();
    mailbox mail{dsn, "box", how};
    const auto transactions = [&] {
        return sql.number("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()");
    };
    const auto before = transactions();
    job_options kept;
    kept.keep = 1h;
    auto job = mail.enqueue("echo", {}, kept);
    work();
    get(job.end);
    connection db{dsn};
    const auto state = wait_for(*db, job.id, std::chrono::milliseconds::max());
    EXPECT_TRUE(state.succeeded());
    EXPECT_EQ(state.result(), json::object());
    EXPECT_LT(transactions() - before, 1000) << "it looks only when it is told to";
    EXPECT_THROW(wait_for(*db, job.id, std::chrono::milliseconds::min()), bad_job);
}

TEST_F(client_feedback, may_be_used_by_many_threads) {
    mailbox mail{dsn, "box", patient()};
    auto how = options();
    worker w{how};
    w.add({"echo", handler_spec::type::builtin, {"echo"}});
    w.start();
    std::vector<std::thread> threads;
    std::atomic<int> right{0};
    for (int thread = 0; thread < 4; ++thread)
        threads.emplace_back([&, thread] {
            for (int n = 0; n < 10; ++n) {
                auto job = mail.enqueue("echo", json{{"n", 100 * thread + n}});
                right += get(job.end).result().at("n") == 100 * thread + n;
            }
        });
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(right, 40);
}

TEST(client_feedback_restart, of_the_server_loses_nothing) {
    cluster server;
    const auto dsn = server.create_database();
    mailbox mail{dsn, "box"};
    auto job = mail.enqueue("echo");
    server.restart("immediate");
    worker_options how;
    how.dsn = dsn;
    how.exit_when_empty = true;
    worker w{how};
    w.add({"echo", handler_spec::type::builtin, {"echo"}});
    w.start();
    w.join();
    ASSERT_EQ(job.end.wait_for(60s), std::future_status::ready);
    EXPECT_TRUE(job.end.get().succeeded());
}

} // namespace
} // namespace haul::test
