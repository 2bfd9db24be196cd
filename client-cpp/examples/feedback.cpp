// Enqueues jobs and learns how they ended. The first argument is the connection string; without it the
// environment variables of libpq (PGHOST, PGDATABASE, …) say where the database is. A worker that runs jobs
// of the kind "greet" must be at work; without one the example gives up after ten seconds.

#include <haul/feedback.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

void print(const haul::reply& told) {
    std::cout << "job " << told.job_id
              << (told.succeeded() ? " returned " + told.result_text : ": " + told.error) << std::endl;
}

} // namespace

int main(int argc, char** argv) {
    const std::string dsn = argc > 1 ? argv[1] : "";
    try {
        haul::mailbox_options options;
        options.others = {print, print}; // of jobs that an earlier run of this program gave up
        haul::mailbox mail{dsn, "feedback example", options};

        auto ann = mail.enqueue("greet", json{{"name", "Ann"}});
        auto bob = mail.enqueue("greet", json{{"name", "Bob"}}, {}, {print, print});

        // In a transaction of one's own: expected before it commits.
        haul::connection db{dsn};
        pqxx::work tx{*db};
        haul::job_options reply;
        reply.reply_to = mail.name();
        auto eve = mail.expect(haul::enqueue(tx, "greet", json{{"name", "Eve"}}, reply));
        tx.commit();

        for (auto* end : {&ann.end, &bob.end, &eve}) {
            if (end->wait_for(10s) != std::future_status::ready) {
                std::cerr << "feedback: no worker runs jobs of the kind \"greet\"\n";
                return 1;
            }
        }
        print(ann.end.get());
        print(eve.get());

        // Or without a mailbox, on any connection.
        haul::job_options once;
        once.keep = 1min; // or else it may be gone before we look
        pqxx::work another{*db};
        const auto id = haul::enqueue(another, "greet", json{{"name", "Zoe"}}, once);
        another.commit();
        std::cout << "job " << id << " is " << haul::wait_for(*db, id, 10s).state << '\n';
        return 0;
    } catch (const haul::error& e) {
        std::cerr << "feedback: " << e.what() << '\n';
        if (!e.hint().empty())
            std::cerr << "hint: " << e.hint() << '\n';
        return 1;
    }
}
