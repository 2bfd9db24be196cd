// Enqueues jobs in each of the ways that the client library offers. The first argument is the connection
// string; without it the environment variables of libpq (PGHOST, PGDATABASE, …) say where the database is.

#include <haul/client.hpp>
#include <haul/enqueue_buffer.hpp>
#include <haul/error.hpp>
#include <haul/unique_key.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

void enqueue_in_own_transaction(pqxx::connection& db) {
    pqxx::work tx{db};
    tx.exec("CREATE TEMPORARY TABLE users AS SELECT 1 AS id, 'ann@example.org' AS email");
    haul::enqueue(tx, "welcome_mail", json{{"user", 1}});
    tx.commit(); // the user and the job appear together, or neither does
}

void enqueue_on_client(haul::client& client) {
    haul::job_options options;
    options.queue = "mail";
    options.priority = 100;
    options.wait = 10min;
    options.backoff = "exponential(5,2)";
    std::cout << "reminder is job " << client.enqueue("reminder_mail", json{{"user", 1}}, options) << '\n';

    haul::job_options once;
    once.unique_key = haul::unique_key("reindex", json{{"table", "users"}});
    once.on_duplicate = haul::duplicate_action::return_existing;
    const auto first = client.enqueue("reindex", json{{"table", "users"}}, once);
    const auto second = client.enqueue("reindex", json{{"table", "users"}}, once);
    std::cout << "reindex is job " << first << (second == first ? ", once\n" : ", and ran meanwhile\n");
}

void enqueue_in_bulk(haul::client& client) {
    haul::enqueue_buffer buffer{client};
    for (int page = 1; page <= 1000; ++page)
        buffer.enqueue("render", json{{"page", page}});
    buffer.flush(); // all thousand by one COPY; an exception before this line enqueues none
}

} // namespace

int main(int argc, char** argv) {
    const std::string dsn = argc > 1 ? argv[1] : "";
    try {
        haul::connection db{dsn};
        enqueue_in_own_transaction(*db);
        haul::client client{dsn};
        enqueue_on_client(client);
        enqueue_in_bulk(client);
        return 0;
    } catch (const haul::error& e) {
        std::cerr << "enqueue: " << e.what() << '\n';
        if (!e.hint().empty())
            std::cerr << "hint: " << e.hint() << '\n';
        return 1;
    }
}
