// Enqueues jobs that wait for each other. The first argument is the connection string; without it the
// environment variables of libpq (PGHOST, PGDATABASE, …) say where the database is.

#include <haul/client.hpp>
#include <haul/workflow.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

using nlohmann::json;

namespace {

// Two extracts side by side, then the load, which gets what they returned (haul::job_context::results); the
// clean-up runs whatever became of the load.
haul::workflow nightly() {
    haul::workflow flow{"nightly"};
    flow.add("sales", {"extract", json{{"table", "sales"}}});
    flow.add("stock", {"extract", json{{"table", "stock"}}});
    flow.add("load", {"load"}, "sales", "stock");
    flow.add("clean up", {"clean_up"}, haul::after{"load", haul::if_failed::run});
    return flow;
}

} // namespace

int main(int argc, char** argv) {
    const std::string dsn = argc > 1 ? argv[1] : "";
    try {
        haul::connection db{dsn};
        pqxx::work tx{*db};
        std::cout << "nightly is workflow " << haul::enqueue(tx, nightly()).id << '\n';

        haul::job_options tomorrow;
        tomorrow.wait = std::chrono::hours{24}; // by the server's clock
        std::cout << "the chain is";
        for (const auto id : haul::chain(tx, {{"render"}, {"publish"}, {"announce", {}, tomorrow}}))
            std::cout << " job " << id;
        std::cout << '\n';
        tx.commit(); // all of them appear, or none does
        return 0;
    } catch (const haul::error& e) {
        std::cerr << "workflow: " << e.what() << '\n';
        if (!e.hint().empty())
            std::cerr << "hint: " << e.hint() << '\n';
        return 1;
    }
}
