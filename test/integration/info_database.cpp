#include "haul/error.hpp"
#include "info.hpp"
#include "support/cluster.hpp"

#include <gmock/gmock.h>

namespace haul::program {
namespace {

using namespace std::chrono_literals;
using test::cluster;
using test::session;

class info_database : public testing::Test {
protected:
    cluster server_;
    std::string dsn_ = server_.create_database();
};

TEST_F(info_database, reads_what_the_role_of_a_worker_may_see) {
    session admin{dsn_};
    admin.exec("CREATE ROLE w LOGIN; SELECT haul.grant_worker('w')");
    const auto worker = admin.text(
        R"(SELECT haul.register_worker('w1', '{"hostname": "alpha", "pid": 7, "max_threads": 4}'))");
    admin.exec("INSERT INTO haul.jobs (kind, run_at) VALUES ('a', now() - interval '2 min'),"
               " ('b', now() - interval '3 min'), ('later', now() + interval '1 hour')");
    admin.exec("SELECT haul.checkout(" + worker + ", 1)");
    admin.exec("UPDATE haul.workers SET last_heartbeat_at = now() - interval '40 s', busy = 1");

    const auto info = read_info(dsn_ + " user=w");
    ASSERT_EQ(info.workers.size(), 1u);
    EXPECT_EQ(info.workers[0].name, "w1");
    EXPECT_EQ(info.workers[0].hostname, "alpha");
    EXPECT_EQ(info.workers[0].pid, "7");
    EXPECT_EQ(info.workers[0].busy, 1);
    EXPECT_EQ(info.workers[0].max_threads, 4);
    EXPECT_GE(info.workers[0].heartbeat_age, 40s);
    EXPECT_EQ(info.workers[0].status, "running");

    ASSERT_EQ(info.queues.size(), 1u);
    EXPECT_EQ(info.queues[0].name, "default");
    EXPECT_EQ(info.queues[0].ready, 1);
    EXPECT_EQ(info.queues[0].scheduled, 1);
    EXPECT_EQ(info.queues[0].running, 1);
    EXPECT_FALSE(info.queues[0].capped);
    ASSERT_TRUE(info.queues[0].oldest_due_age);
    EXPECT_GE(*info.queues[0].oldest_due_age, 2min);
    EXPECT_LT(*info.queues[0].oldest_due_age, 3min);
    ASSERT_TRUE(info.queues[0].next_due_in);
    EXPECT_GT(*info.queues[0].next_due_in, 59min);

    ASSERT_EQ(info.counters.size(), 1u);
    EXPECT_EQ(info.counters[0].counts.front(), 1);

    const auto text = info_text(info, false);
    EXPECT_THAT(text, testing::HasSubstr("w1"));
}

TEST_F(info_database, an_idle_database_has_nothing_to_show) {
    const auto info = read_info(dsn_);
    EXPECT_TRUE(info.workers.empty());
    EXPECT_TRUE(info.queues.empty());
    EXPECT_TRUE(info.counters.empty());
}

TEST_F(info_database, says_what_is_wrong) {
    session{dsn_}.exec("CREATE ROLE nobody LOGIN");
    EXPECT_THROW(read_info(dsn_ + " user=nobody"), permission_denied);
    EXPECT_THROW(read_info(server_.dsn()), not_installed);
    EXPECT_THROW(read_info("host=/nonexistent"), connection_error);
}

} // namespace
} // namespace haul::program
