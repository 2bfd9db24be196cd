#include "support/waiting_worker.hpp"

namespace haul::test {

waiting_worker::waiting_worker(const std::string& dsn, const std::string& wake,
                               const std::string& more_options)
    : connection_(dsn),
      id_(connection_.text(
          "SELECT haul.register_worker('waiting', $1)",
          {"{\"wake\": \"" + wake + "\"" + (more_options.empty() ? "" : ", ") + more_options + "}"})) {
    // as the program does: where the server tells it of its work, it hears of nobody else's
    if (wake != "worker" || connection_.text("SELECT preloaded FROM haul.background") == "f")
        connection_.exec("LISTEN haul");
    connection_.exec("LISTEN haul_worker_" + id_);
}

int waiting_worker::work(int max_jobs) {
    connection_.notifications();
    called_ = false;
    const row taken = connection_
                          .exec("SELECT count(*), array_agg(id), array_agg(claim) FROM haul.checkout($1, $2)",
                                {id_, std::to_string(max_jobs)})
                          .at(0);
    if (taken[1])
        connection_.exec("SELECT haul.complete($1, $2, $3, strict => true)", {id_, taken[1], taken[2]});
    return std::stoi(*taken[0]);
}

int waiting_worker::work_until_idle() {
    int done = 0;
    while (const int jobs = work(100))
        done += jobs;
    return done;
}

bool waiting_worker::called() {
    called_ |= !connection_.notifications().empty();
    return called_;
}

void waiting_worker::await_call(std::chrono::milliseconds limit) {
    wait_until([this] { return called(); }, "worker " + id_ + " is called", limit);
}

} // namespace haul::test
