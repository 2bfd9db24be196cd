#include "haul/client.hpp"
#include "haul/enqueue_buffer.hpp"
#include "haul/error.hpp"
#include "haul/unique_key.hpp"
#include "support/cluster.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace haul::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class client_enqueue : public testing::Test {
protected:
    static void SetUpTestSuite() { server = new cluster; }
    static void TearDownTestSuite() { delete server; }

    client_enqueue() : dsn_{server->create_database("client_" + std::to_string(++databases))} {}

    std::int64_t jobs() { return sql_.number("SELECT count(*) FROM haul.jobs"); }

    /// A column of the only job, as text.
    value column(const std::string& expression) {
        return sql_.get("SELECT (" + expression + ")::text FROM haul.jobs");
    }

    static job_options all_options() {
        job_options o;
        o.queue = "a;b:c\"d'e🙂";
        o.priority = 7;
        o.run_at = std::chrono::system_clock::time_point{1893456000123456us}; // 2030-01-01 00:00:00.123456
        o.max_attempts = 3;
        o.backoff = "constant(2)";
        o.timeout = 90s;
        o.on_timeout = timeout_action::discard;
        o.queue_timeout = 36h;
        o.on_interrupt = interrupt_action::fail;
        o.unique_key = "key \\ \t\n'";
        o.unique_until = unique_scope::started;
        o.concurrency_key = "account 5";
        o.concurrency_limit = 4;
        o.pin = "w1";
        o.pin_strict = true;
        o.avoid = {"w2", "a \"b\" \\ ,{}", "NULL"};
        o.every = 1500ms;
        o.reply_to = "me";
        o.keep = 0s;
        return o;
    }

    void expect_all_options() {
        EXPECT_EQ(column("queue"), "a;b:c\"d'e🙂");
        EXPECT_EQ(column("priority"), "7");
        EXPECT_EQ(column("run_at AT TIME ZONE 'UTC'"), "2030-01-01 00:00:00.123456");
        EXPECT_EQ(column("max_attempts"), "3");
        EXPECT_EQ(column("backoff"), "constant(2)");
        EXPECT_EQ(column("timeout"), "00:01:30");
        EXPECT_EQ(column("on_timeout"), "discard");
        EXPECT_EQ(column("queue_timeout"), "36:00:00");
        EXPECT_EQ(column("on_interrupt"), "fail");
        EXPECT_EQ(column("unique_key"), "key \\ \t\n'");
        EXPECT_EQ(column("unique_until"), "started");
        EXPECT_EQ(column("concurrency_key"), "account 5");
        EXPECT_EQ(column("concurrency_limit"), "4");
        EXPECT_EQ(column("pin"), "w1");
        EXPECT_EQ(column("pin_strict"), "true");
        EXPECT_EQ(column("array_to_json(avoid)"), R"(["w2","a \"b\" \\ ,{}","NULL"])");
        EXPECT_EQ(column("every"), "00:00:01.5");
        EXPECT_EQ(column("reply_to"), "me");
        EXPECT_EQ(column("keep"), "00:00:00");
        EXPECT_EQ(column("args"), "{\"user\": 1}");
        EXPECT_EQ(column("state"), "ready");
    }

    inline static cluster* server = nullptr;
    inline static int databases = 0;
    std::string dsn_;
    session sql_{dsn_};
};

TEST_F(client_enqueue, left_out_options_get_the_defaults_of_the_columns) {
    client c{dsn_};
    const auto id = c.enqueue("mail");
    sql_.exec("CREATE TEMPORARY TABLE first AS SELECT to_jsonb(j) - '{id,run_at,enqueued_at}'::text[] AS j "
              "FROM haul.jobs j");
    EXPECT_EQ(column("id"), std::to_string(id));
    EXPECT_EQ(column("args"), "{}");
    EXPECT_EQ(column("run_at = enqueued_at"), "true");

    // The same by plain INSERT, and by COPY beside a job that sets everything.
    sql_.exec("INSERT INTO haul.jobs (kind) VALUES ('mail')");
    c.enqueue_many({{"mail", {}, {}}, {"other", "{\"user\": 1}", all_options()}});
    EXPECT_EQ(sql_.number("SELECT count(*) FROM haul.jobs AS jobs, first"
                          " WHERE to_jsonb(jobs) - '{id,run_at,enqueued_at}'::text[] = first.j"),
              3);
    EXPECT_EQ(sql_.number("SELECT count(*) FROM haul.jobs WHERE run_at = enqueued_at"), 3);
}

TEST_F(client_enqueue, every_option_reaches_its_column_by_insert) {
    client{dsn_}.enqueue("mail", nlohmann::json{{"user", 1}}, all_options());
    expect_all_options();
}

TEST_F(client_enqueue, every_option_reaches_its_column_by_copy) {
    client{dsn_}.enqueue_many({{"mail", "{\"user\": 1}", all_options()}});
    expect_all_options();
}

TEST_F(client_enqueue, every_option_reaches_its_column_by_function) {
    auto options = all_options();
    options.on_duplicate = duplicate_action::return_existing;
    client{dsn_}.enqueue("mail", "{\"user\": 1}", options);
    expect_all_options();
}

TEST_F(client_enqueue, expires_at_reaches_its_column) {
    job_options options;
    options.expires_at = std::chrono::system_clock::time_point{1893456000s};
    client c{dsn_};
    c.enqueue("mail", {}, options);
    c.enqueue_many({{"mail", {}, options}});
    EXPECT_EQ(sql_.number("SELECT count(*) FROM haul.jobs WHERE expires_at = '2030-01-01 00:00:00+00'"), 2);
}

TEST_F(client_enqueue, wait_counts_from_now_by_the_clock_of_the_server) {
    job_options options;
    options.wait = 90s;
    client c{dsn_};
    c.enqueue("mail", {}, options);
    c.enqueue_many({{"mail", {}, options}, {"now", {}, {}}});
    options.on_duplicate = duplicate_action::return_existing;
    c.enqueue("mail", {}, options);
    EXPECT_EQ(
        sql_.number(
            "SELECT count(*) FROM haul.jobs WHERE kind = 'mail' AND run_at = enqueued_at + interval '90 s'"),
        3);
    EXPECT_EQ(sql_.number("SELECT count(*) FROM haul.jobs WHERE kind = 'now' AND run_at = enqueued_at"), 1);
}

TEST_F(client_enqueue, is_part_of_the_callers_transaction) {
    connection db{dsn_};
    {
        pqxx::work tx{*db};
        haul::enqueue(tx, "gone");
        haul::enqueue_many(tx, {{"gone", {}, {}}});
    }
    EXPECT_EQ(jobs(), 0);
    {
        pqxx::work tx{*db};
        haul::enqueue(tx, "here");
        haul::enqueue_many(tx, {{"here", {}, {}}, {"here", {}, {}}});
        tx.commit();
    }
    EXPECT_EQ(jobs(), 3);
}

TEST_F(client_enqueue, a_duplicate_is_an_error_or_returns_the_existing_job) {
    client c{dsn_};
    job_options options;
    options.unique_key = unique_key("mail", "{}");
    const auto id = c.enqueue("mail", {}, options);
    EXPECT_THROW(c.enqueue("mail", {}, options), duplicate_job);
    EXPECT_THROW(c.enqueue_many({{"mail", {}, options}}), duplicate_job);
    options.on_duplicate = duplicate_action::return_existing;
    EXPECT_EQ(c.enqueue("mail", {}, options), id);
    EXPECT_EQ(jobs(), 1);
}

TEST_F(client_enqueue, copy_keeps_order_text_and_size) {
    std::vector<new_job> jobs;
    const std::string texts[] = {"tab\tnewline\nreturn\rbackslash\\end",
                                 "\\N",
                                 "\\.",
                                 "",
                                 "ä🙂\xe2\x80\xa8",
                                 "\b\f\v\x01",
                                 std::string(1 << 20, 'x')};
    for (const auto& text : texts)
        jobs.push_back({"k", nlohmann::json{{"text", text}}, {}});
    client{dsn_}.enqueue_many(jobs);

    const auto stored = sql_.exec("SELECT args ->> 'text' FROM haul.jobs ORDER BY id");
    ASSERT_EQ(stored.size(), std::size(texts));
    for (std::size_t i = 0; i < stored.size(); ++i)
        EXPECT_EQ(stored[i][0], texts[i]);
}

TEST_F(client_enqueue, copy_escapes_every_text_column) {
    const std::string nasty = "a\\b\tc\nd\re\\N🙂";
    job_options options;
    options.queue = nasty;
    options.unique_key = nasty;
    options.pin = nasty;
    client{dsn_}.enqueue_many({{nasty, {}, options}});
    EXPECT_EQ(column("kind"), nasty);
    EXPECT_EQ(column("queue"), nasty);
    EXPECT_EQ(column("unique_key"), nasty);
    EXPECT_EQ(column("pin"), nasty);
}

TEST_F(client_enqueue, copy_speaks_the_encoding_of_the_connection) {
    connection db{dsn_ + " client_encoding=LATIN1"};
    pqxx::work tx{*db};
    haul::enqueue(tx, "caf\xe9");
    haul::enqueue_many(tx, {{"caf\xe9", {}, {}}});
    tx.commit();
    EXPECT_EQ(sql_.number("SELECT count(*) FROM haul.jobs WHERE kind = 'café'"), 2);
}

TEST_F(client_enqueue, copy_is_all_or_nothing) {
    client c{dsn_};
    job_options bad;
    bad.priority = 0;
    std::vector<new_job> batch(1000, {"k", {}, {}});
    batch.back().options = bad;
    EXPECT_THROW(c.enqueue_many(batch), bad_job);
    EXPECT_EQ(jobs(), 0);
    batch.back().options = {};
    c.enqueue_many(batch); // the client goes on working
    EXPECT_EQ(jobs(), 1000);
}

TEST_F(client_enqueue, many_may_be_none) {
    client{dsn_}.enqueue_many({});
    EXPECT_EQ(jobs(), 0);
}

TEST_F(client_enqueue, bad_jobs_are_refused_with_message_sqlstate_and_hint) {
    client c{dsn_};
    const auto refused = [&](const new_job& job, const std::string& sqlstate) {
        EXPECT_THROW(
            {
                try {
                    c.enqueue(job.kind, job.args, job.options);
                } catch (const bad_job& e) {
                    EXPECT_EQ(e.sqlstate().substr(0, sqlstate.size()), sqlstate) << e.what();
                    EXPECT_THAT(e.what(), testing::Not(HasSubstr("ERROR")));
                    throw;
                }
            },
            bad_job);
        EXPECT_THROW(c.enqueue_many({job}), bad_job);
    };
    const auto with = [](auto change) {
        job_options o;
        change(o);
        return new_job{"k", {}, o};
    };
    refused({"", {}, {}}, "2");
    refused({std::string(129, 'k'), {}, {}}, "2");
    refused({"k", "{", {}}, "22P02");
    refused({"k", "[1]", {}}, "2");
    refused({std::string{"a\0b", 3}, {}, {}}, "22021");
    refused({"\xff", {}, {}}, "22021");
    refused(with([](auto& o) { o.queue = std::string(64, 'q'); }), "2");
    refused(with([](auto& o) { o.priority = 70000; }), "22003");
    refused(with([](auto& o) { o.backoff = "sometimes(3)"; }), "2");
    refused(with([](auto& o) { o.timeout = -1s; }), "2");
    refused(with([](auto& o) { o.wait = 1s, o.run_at = std::chrono::system_clock::now(); }), "22023");
    refused(with([](auto& o) { o.avoid = {std::string{"w\0", 2}}; }), "22021");
    EXPECT_EQ(jobs(), 0);

    job_options existing;
    existing.on_duplicate = duplicate_action::return_existing;
    EXPECT_THROW(c.enqueue_many({{"k", {}, existing}}), bad_job);
    try {
        c.enqueue("k", {}, with([](auto& o) { o.backoff = "sometimes(3)"; }).options);
    } catch (const bad_job& e) {
        EXPECT_NE(e.hint(), "");
    }
}

TEST_F(client_enqueue, a_namespace_goes_before_the_queue_of_every_job) {
    client c{dsn_, {"billing", "haul"}};
    job_options options;
    options.queue = "mail";
    c.enqueue("a");
    c.enqueue("b", {}, options);
    c.enqueue_many({{"c", {}, {}}, {"d", {}, options}});
    const auto queues = sql_.exec("SELECT kind || ' ' || queue FROM haul.jobs ORDER BY id");
    EXPECT_EQ(queues,
              (rows{{"a billing.default"}, {"b billing.mail"}, {"c billing.default"}, {"d billing.mail"}}));
}

TEST_F(client_enqueue, a_buffer_enqueues_all_when_flushed) {
    client c{dsn_};
    enqueue_buffer buffer{c};
    buffer.enqueue("a");
    buffer.enqueue("b", "{\"n\": 1}");
    EXPECT_EQ(buffer.size(), 2u);
    EXPECT_EQ(jobs(), 0);
    buffer.flush();
    EXPECT_EQ(buffer.size(), 0u);
    EXPECT_EQ(jobs(), 2);
    buffer.flush();
    EXPECT_EQ(jobs(), 2);
    buffer.enqueue("c");
    buffer.clear();
    buffer.flush();
    EXPECT_EQ(jobs(), 2);
}

TEST_F(client_enqueue, a_buffer_is_dropped_by_an_exception) {
    client c{dsn_};
    try {
        enqueue_buffer buffer{c};
        buffer.enqueue("a");
        throw std::logic_error{"in the scope"};
    } catch (const std::logic_error&) {
    }
    enqueue_buffer buffer{c};
    EXPECT_THROW(buffer.enqueue(std::string{"\0", 1}), bad_job);
    buffer.flush();
    EXPECT_EQ(jobs(), 0);
}

TEST_F(client_enqueue, a_refused_flush_leaves_nothing_behind) {
    client c{dsn_};
    enqueue_buffer buffer{c};
    buffer.enqueue("good");
    buffer.enqueue("");
    EXPECT_THROW(buffer.flush(), bad_job);
    EXPECT_EQ(buffer.size(), 0u);
    EXPECT_EQ(jobs(), 0);
}

TEST_F(client_enqueue, a_buffer_can_be_part_of_the_callers_transaction) {
    connection db{dsn_};
    pqxx::work tx{*db};
    enqueue_buffer buffer{tx};
    buffer.enqueue("a");
    buffer.flush();
    EXPECT_EQ(jobs(), 0);
    tx.commit();
    EXPECT_EQ(jobs(), 1);
}

TEST_F(client_enqueue, half_a_million_jobs_take_seconds) {
    std::vector<new_job> batch(500000);
    for (std::size_t i = 0; i < batch.size(); ++i)
        batch[i] = {"noop", "{\"n\": " + std::to_string(i) + "}", {}};
    const auto begin = std::chrono::steady_clock::now();
    client{dsn_}.enqueue_many(std::move(batch));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s); // about 4 s on an idle machine
    EXPECT_EQ(jobs(), 500000);
    EXPECT_EQ(
        sql_.number("SELECT count(*) FROM (SELECT (args ->> 'n')::int - row_number() OVER (ORDER BY id) AS d"
                    " FROM haul.jobs) AS t WHERE d <> -1"),
        0);
}

} // namespace
} // namespace haul::test
