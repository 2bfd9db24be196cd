#include "info.hpp"

#include "haul/connection.hpp"
#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"
#include "text_table.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <unistd.h>

namespace haul::program {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using align = text_table::align;

constexpr milliseconds late_heartbeat = 30s;
constexpr milliseconds late_job = 60s;

// Ages and times to come are computed by the server: its clock counts.
constexpr const char* workers_query = R"(
    SELECT name, coalesce(hostname, ''), coalesce(pid::text, ''), busy, max_threads,
           (extract(epoch FROM heartbeat_age) * 1000)::bigint, status
    FROM haul.worker_status ORDER BY hostname, name, id)";

constexpr const char* queues_query = R"(
    SELECT queue, ready, scheduled, running, waiting, capped,
           (extract(epoch FROM oldest_due_age) * 1000)::bigint,
           (extract(epoch FROM next_due_at - now()) * 1000)::bigint
    FROM haul.queue_status ORDER BY queue)";

std::string counters_query() {
    std::string columns;
    for (const auto& name : counter_names())
        columns += ", " + name;
    return "SELECT queue" + columns +
           " FROM haul.counters WHERE day = (now() AT TIME ZONE 'UTC')::date ORDER BY queue";
}

template <typename Field>
milliseconds to_ms(const Field& field) {
    return milliseconds{field.template as<long long>()};
}

template <typename Field>
std::optional<milliseconds> to_optional_ms(const Field& field) {
    return field.is_null() ? std::nullopt : std::optional{to_ms(field)};
}

database_info read_all(pqxx::transaction_base& tx) {
    database_info info;
    for (const auto& row : tx.exec(workers_query)) {
        info.workers.push_back({row[0].as<std::string>(), row[1].as<std::string>(), row[2].as<std::string>(),
                                row[3].as<int>(), row[4].as<int>(), to_ms(row[5]), row[6].as<std::string>()});
    }
    for (const auto& row : tx.exec(queues_query)) {
        info.queues.push_back({row[0].as<std::string>(), row[1].as<long long>(), row[2].as<long long>(),
                               row[3].as<long long>(), row[4].as<long long>(), row[5].as<bool>(),
                               to_optional_ms(row[6]), to_optional_ms(row[7])});
    }
    for (const auto& row : tx.exec(counters_query())) {
        counter_info counter{row[0].as<std::string>(), {}};
        for (std::size_t i = 1; i <= counter_names().size(); ++i)
            counter.counts.push_back(row[static_cast<int>(i)].as<long long>());
        info.counters.push_back(std::move(counter));
    }
    return info;
}

std::string busy_text(int busy, int most) {
    return std::to_string(busy) + '/' + std::to_string(most);
}

bool is_late(const worker_info& worker) {
    return worker.heartbeat_age > late_heartbeat;
}
bool is_late(const queue_info& queue) {
    return queue.oldest_due_age && *queue.oldest_due_age > late_job;
}

text_table host_table(const database_info& info) {
    struct host {
        int workers = 0;
        int busy = 0;
        int threads = 0;
        int late = 0;
    };
    std::map<std::string, host> hosts;
    for (const auto& worker : info.workers) {
        host& at = hosts[worker.hostname];
        at.workers += 1;
        at.busy += worker.busy;
        at.threads += worker.max_threads;
        at.late += is_late(worker) ? 1 : 0;
    }
    text_table table{{{"host"}, {"workers", align::right}, {"busy", align::right}, {"late", align::right}}};
    for (const auto& [name, host] : hosts) {
        table.add({name.empty() ? "-" : name,
                   std::to_string(host.workers),
                   busy_text(host.busy, host.threads),
                   {std::to_string(host.late), host.late > 0}});
    }
    return table;
}

text_table worker_table(const database_info& info) {
    text_table table{{{"worker"},
                      {"host"},
                      {"pid", align::right},
                      {"busy", align::right},
                      {"heartbeat", align::right},
                      {"status"}}};
    for (const auto& worker : info.workers) {
        table.add({worker.name,
                   worker.hostname.empty() ? "-" : worker.hostname,
                   worker.pid.empty() ? "-" : worker.pid,
                   busy_text(worker.busy, worker.max_threads),
                   {age_text(worker.heartbeat_age) + " ago", is_late(worker)},
                   worker.status});
    }
    return table;
}

text_table queue_table(const database_info& info) {
    text_table table{{{"queue"},
                      {"ready", align::right},
                      {"scheduled", align::right},
                      {"running", align::right},
                      {"waiting", align::right},
                      {"oldest due", align::right},
                      {"next due", align::right}}};
    for (const auto& queue : info.queues) {
        const std::string more = queue.capped ? "+" : "";
        const auto count = [&](long long n) { return std::to_string(n) + more; };
        table.add({queue.name,
                   count(queue.ready),
                   count(queue.scheduled),
                   count(queue.running),
                   count(queue.waiting),
                   {queue.oldest_due_age ? age_text(*queue.oldest_due_age) + " ago" : "-", is_late(queue)},
                   queue.next_due_in ? "in " + age_text(std::max(*queue.next_due_in, 0ms)) : "-"});
    }
    return table;
}

text_table late_table(const database_info& info) {
    text_table table{{{"queue"}, {"ready", align::right}, {"due since", align::right}}};
    for (const auto& queue : info.queues) {
        if (is_late(queue))
            table.add({queue.name,
                       std::to_string(queue.ready) + (queue.capped ? "+" : ""),
                       {age_text(*queue.oldest_due_age), true}});
    }
    return table;
}

text_table counter_table(const database_info& info) {
    std::vector<text_table::column> columns = {{"queue"}};
    for (const auto& name : counter_names())
        columns.push_back({name, align::right});
    text_table table{std::move(columns)};
    for (const auto& counter : info.counters) {
        std::vector<text_table::cell> row = {counter.queue};
        for (const auto count : counter.counts)
            row.emplace_back(std::to_string(count));
        table.add(std::move(row));
    }
    return table;
}

std::string section(const std::string& title, const text_table& table, bool colours,
                    const std::string& if_empty) {
    return title + '\n' + (table.empty() ? if_empty + '\n' : table.render(colours)) + '\n';
}

bool wants_colours() {
    const char* no_color = std::getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && (!no_color || !*no_color);
}

} // namespace

const std::vector<std::string>& counter_names() {
    static const std::vector<std::string> names = {"dispatches", "retries",  "completions",
                                                   "failures",   "expiries", "discards",
                                                   "cancels",    "releases", "drops"};
    return names;
}

database_info read_info(const std::string& dsn) {
    connection db{dsn, "haul info"};
    return translated(db, [&] {
        pqxx::read_transaction tx{*db};
        return read_all(tx);
    });
}

std::string info_text(const database_info& info, bool colours) {
    std::string text = section("Hosts", host_table(info), colours, "no workers") +
                       section("Workers", worker_table(info), colours, "no workers") +
                       section("Queues", queue_table(info), colours, "no jobs") +
                       section("Late jobs", late_table(info), colours, "none due for more than 60 s") +
                       section("Counters of today (UTC)", counter_table(info), colours, "nothing has run");
    text.pop_back(); // the empty line after the last section
    return text;
}

std::string age_text(std::chrono::milliseconds age) {
    const double seconds = std::chrono::duration<double>(age).count();
    char text[40];
    if (seconds < 10)
        std::snprintf(text, sizeof text, "%.1f s", seconds);
    else if (seconds < 120)
        std::snprintf(text, sizeof text, "%.0f s", seconds);
    else if (seconds < 120 * 60)
        std::snprintf(text, sizeof text, "%.0f min", seconds / 60);
    else if (seconds < 48 * 3600)
        std::snprintf(text, sizeof text, "%.0f h", seconds / 3600);
    else
        std::snprintf(text, sizeof text, "%.0f d", seconds / 86400);
    return text;
}

int print_info(const std::string& dsn) {
    std::cout << info_text(read_info(dsn), wants_colours()) << std::flush;
    return std::cout ? 0 : 1;
}

} // namespace haul::program
