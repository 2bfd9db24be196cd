#include "haul/client.hpp"
#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"
#include "support/cluster.hpp"
#include "support/wait.hpp"

#include <gmock/gmock.h>
#include <poll.h>

namespace haul::test {
namespace {

class client_connection : public testing::Test {
protected:
    cluster server_;
    std::string dsn_ = server_.create_database();
};

/// Whether `function` throws exactly an Error.
template <typename Error, typename Function>
testing::AssertionResult throws(Function&& function) {
    try {
        function();
    } catch (const Error& e) {
        if (typeid(e) == typeid(Error))
            return testing::AssertionSuccess();
        return testing::AssertionFailure() << "threw " << typeid(e).name() << ": " << e.what();
    } catch (const std::exception& e) {
        return testing::AssertionFailure() << "threw " << typeid(e).name() << ": " << e.what();
    }
    return testing::AssertionFailure() << "threw nothing";
}

TEST_F(client_connection, is_named_and_movable) {
    connection one{dsn_, "haul worker \"it's\""};
    connection two{std::move(one)};
    pqxx::nontransaction tx{*two};
    EXPECT_EQ(compat::exec(tx, "SELECT current_setting('application_name')")[0][0].as<std::string>(),
              "haul worker \"it's\"");
    EXPECT_EQ(compat::exec(tx, "SELECT current_setting('client_encoding')")[0][0].as<std::string>(), "UTF8");
}

TEST_F(client_connection, what_is_missing_or_forbidden_has_a_type) {
    EXPECT_TRUE(throws<not_installed>([&] { client{server_.dsn()}.enqueue("k"); }));
    EXPECT_TRUE(throws<not_installed>([&] { client{server_.dsn()}.enqueue_many({{"k", {}, {}}}); }));
    EXPECT_TRUE(throws<connection_error>([&] { client{server_.dsn("nonexistent")}; }));

    session admin{dsn_};
    admin.exec(
        "CREATE ROLE nobody LOGIN; CREATE ROLE producer LOGIN; SELECT haul.grant_producer('producer')");
    EXPECT_TRUE(throws<permission_denied>([&] { client{dsn_ + " user=nobody"}.enqueue("k"); }));
    client producer{dsn_ + " user=producer"};
    producer.enqueue("k");
    producer.enqueue_many({{"k", {}, {}}});
    job_options options;
    options.unique_key = "u";
    options.on_duplicate = duplicate_action::return_existing;
    EXPECT_EQ(producer.enqueue("k", {}, options), producer.enqueue("k", {}, options));
    admin.exec("INSERT INTO haul.jobs (kind, unique_key) VALUES ('shared', 'u')");
    EXPECT_TRUE(throws<duplicate_job>([&] { producer.enqueue("shared", {}, options); }));
    EXPECT_EQ(admin.number("SELECT count(*) FROM haul.jobs WHERE enqueued_by = 'producer'"), 3);
}

TEST_F(client_connection, a_client_survives_a_restart_between_calls) {
    client c{dsn_};
    c.enqueue("before");
    server_.restart();
    c.enqueue("after");
    EXPECT_EQ(session{dsn_}.number("SELECT count(*) FROM haul.jobs"), 2);
}

TEST_F(client_connection, a_loss_in_mid_transaction_is_a_connection_error) {
    connection db{dsn_};
    EXPECT_TRUE(db.is_alive());
    EXPECT_TRUE(throws<connection_error>([&] {
        pqxx::work tx{*db};
        haul::enqueue(tx, "gone");
        server_.restart("immediate");
        haul::enqueue(tx, "gone");
    }));
    EXPECT_FALSE(db.is_alive());
    EXPECT_FALSE(db.is_open());
    EXPECT_TRUE(throws<connection_error>([&] { // and nothing reconnects behind our back
        translated(*db, [&] {
            pqxx::work tx{*db};
            compat::exec(tx, "SELECT 1");
        });
    }));
    EXPECT_EQ(session{dsn_}.number("SELECT count(*) FROM haul.jobs"), 0);
}

TEST_F(client_connection, a_loss_in_mid_copy_is_a_connection_error) {
    connection db{dsn_};
    session admin{dsn_};
    EXPECT_TRUE(throws<connection_error>([&] {
        translated(*db, [&] {
            pqxx::work tx{*db};
            const auto pid = compat::exec(tx, "SELECT pg_backend_pid()")[0][0].as<std::string>();
            compat::copy_writer writer{tx, "haul.jobs", {"kind"}};
            writer.write({"k"});
            admin.exec("SELECT pg_terminate_backend(" + pid + ")");
            for (int i = 0; i < 1000000; ++i)
                writer.write({"k"});
            writer.complete();
            tx.commit();
        });
    }));
    EXPECT_EQ(admin.number("SELECT count(*) FROM haul.jobs"), 0);
}

TEST_F(client_connection, sqlstates_reach_their_types) {
    connection db{dsn_};
    const auto raise = [&](const std::string& sqlstate) {
        translated(*db, [&] {
            pqxx::work tx{*db};
            compat::exec(tx, "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '" + sqlstate +
                                 "', HINT = 'h'; END $$");
        });
    };
    for (const char* sqlstate : {"40000", "40001", "40003", "40P01"})
        EXPECT_TRUE(throws<transaction_conflict>([&] { raise(sqlstate); })) << sqlstate;
    EXPECT_TRUE(throws<duplicate_job>([&] { raise("23505"); }));
    EXPECT_TRUE(throws<bad_job>([&] { raise("23514"); }));
    EXPECT_TRUE(throws<permission_denied>([&] { raise("42501"); }));
    EXPECT_TRUE(throws<not_installed>([&] { raise("42883"); }));
    EXPECT_TRUE(throws<not_owned>([&] { raise("HQ001"); }));
    EXPECT_TRUE(throws<queue_full>([&] { raise("HQ002"); }));
    EXPECT_TRUE(throws<unknown_worker>([&] { raise("HQ003"); }));
    EXPECT_TRUE(throws<error>([&] { raise("P0001"); }));
    try {
        raise("42501");
    } catch (const error& e) {
        EXPECT_STREQ(e.what(), "x");
        EXPECT_EQ(e.hint(), "h");
        EXPECT_EQ(e.sqlstate(), "42501");
    }
}

TEST_F(client_connection, parameters_of_all_types) {
    connection db{dsn_};
    pqxx::work tx{*db};
    // Kept: rows of libpqxx 8 do not keep their result alive.
    const auto result =
        compat::exec(tx, "SELECT $1::int, $2::text, $3::bool, $4::float8, $5::text, $6::text, $7::bigint, $8",
                     1, "two", true, 2.5, std::optional<std::string>{}, std::nullopt,
                     std::optional<std::int64_t>{1LL << 40}, std::string_view{"eight"});
    const auto row = result[0];
    EXPECT_EQ(row[0].as<int>(), 1);
    EXPECT_EQ(row[1].as<std::string>(), "two");
    EXPECT_TRUE(row[2].as<bool>());
    EXPECT_EQ(row[3].as<double>(), 2.5);
    EXPECT_TRUE(row[4].is_null());
    EXPECT_TRUE(row[5].is_null());
    EXPECT_EQ(row[6].as<std::int64_t>(), 1LL << 40);
    EXPECT_EQ(row[7].as<std::string>(), "eight");
    EXPECT_EQ(compat::exec_list(tx, "SELECT $1::text || $2", {"a", "b"})[0][0].as<std::string>(), "ab");
}

TEST_F(client_connection, an_abandoned_copy_copies_nothing) {
    connection db{dsn_};
    EXPECT_TRUE(throws<error>([&] {
        translated(*db, [&] {
            pqxx::work tx{*db};
            {
                compat::copy_writer writer{tx, "haul.jobs", {"kind"}};
                writer.write({"k"});
            }
            tx.commit();
        });
    }));
    EXPECT_EQ(session{dsn_}.number("SELECT count(*) FROM haul.jobs"), 0);
    EXPECT_TRUE(db.is_alive());
}

TEST_F(client_connection, a_subscription_gets_notifications_while_it_lives) {
    connection db{dsn_};
    std::vector<std::string> payloads;
    session other{dsn_};
    const auto receive = [&] {
        pollfd ready{compat::socket_of(*db), POLLIN, 0};
        poll(&ready, 1, 10);
        return compat::get_notifications(*db);
    };
    {
        compat::subscription subscription{*db, "haul",
                                          [&](const std::string& payload) { payloads.push_back(payload); }};
        other.exec("NOTIFY haul, 'a;b'");
        wait_until([&] { return receive() > 0; }, "the notification came");
        EXPECT_THAT(payloads, testing::ElementsAre("a;b"));
    }
    pqxx::nontransaction tx{*db};
    EXPECT_EQ(compat::exec(tx, "SELECT count(*) FROM pg_listening_channels()")[0][0].as<int>(), 0);
}

TEST_F(client_connection, a_dead_connection_shows_when_notifications_are_read) {
    connection db{dsn_};
    compat::subscription subscription{*db, "haul", [](const std::string&) {}};
    server_.stop();
    EXPECT_THROW(compat::get_notifications(*db), pqxx::broken_connection);
    EXPECT_THROW(compat::get_notifications(*db), pqxx::broken_connection);
}

} // namespace
} // namespace haul::test
