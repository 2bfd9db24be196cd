#include "haul/enqueue.hpp"

#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"
#include "job_row.hpp"

#include <algorithm>
#include <string_view>

namespace haul {

namespace {

using compat::param;

/// INSERT INTO haul.jobs (kind, …) VALUES ($1::text, …) RETURNING id, or the same as a call of
/// haul.enqueue().
struct statement {
    std::string sql;
    std::vector<param> params;
};

statement enqueue_statement(const new_job& job) {
    const bool by_function = job.options.on_duplicate == duplicate_action::return_existing;
    statement result;
    std::string names;
    std::string values;

    const auto add = [&](const std::string& name, const std::string& before, param value,
                         const std::string& type) {
        result.params.push_back(std::move(value));
        const std::string expression = before + '$' + std::to_string(result.params.size()) + "::" + type;
        const char* separator = values.empty() ? "" : ", ";
        names += separator + name;
        values += separator + (by_function ? name + " => " : "") + expression;
    };
    for (const auto& column : job_columns()) {
        if (auto value = column.value(job))
            add(column.name, "", std::move(value), column.type);
    }
    if (job.options.wait)
        add("run_at", "now() + ", interval_text(*job.options.wait), "interval");

    result.sql = by_function ? "SELECT haul.enqueue(" + values + ")"
                             : "INSERT INTO haul.jobs (" + names + ") VALUES (" + values + ") RETURNING id";
    return result;
}

/// The columns that at least one of the jobs sets.
std::vector<const job_column*> used_columns(const std::vector<new_job>& jobs) {
    const auto& all = job_columns();
    std::vector<bool> is_used(all.size());
    for (const auto& job : jobs) {
        for (std::size_t i = 0; i < all.size(); ++i) {
            const bool is_wait = job.options.wait && std::string_view{all[i].name} == "run_at";
            if (!is_used[i] && (is_wait || all[i].value(job)))
                is_used[i] = true;
        }
    }
    std::vector<const job_column*> used;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (is_used[i])
            used.push_back(&all[i]);
    }
    return used;
}

/// now() of the transaction, in microseconds since 1970: only the server's clock counts.
std::chrono::microseconds server_now(pqxx::transaction_base& tx) {
    const auto rows = compat::exec(tx, "SELECT (extract(epoch FROM now()) * 1000000)::bigint");
    return std::chrono::microseconds{rows[0][0].as<std::int64_t>()};
}

void copy_jobs(pqxx::transaction_base& tx, const std::vector<new_job>& jobs) {
    const bool any_waits = std::any_of(jobs.begin(), jobs.end(),
                                       [](const new_job& job) { return job.options.wait.has_value(); });
    const auto now = any_waits ? server_now(tx) : std::chrono::microseconds{0};

    const auto columns = used_columns(jobs);
    std::vector<std::string> names;
    for (const auto* column : columns)
        names.emplace_back(column->name);

    compat::copy_writer writer{tx, "haul.jobs", names};
    std::vector<param> row(columns.size());
    for (const auto& job : jobs) {
        for (std::size_t i = 0; i < columns.size(); ++i) {
            row[i] = columns[i]->value(job);
            if (!row[i] && job.options.wait && names[i] == "run_at")
                row[i] = timestamp_text(now + *job.options.wait);
            if (!row[i])
                row[i] = columns[i]->default_text;
        }
        writer.write(row);
    }
    writer.complete();
}

} // namespace

std::int64_t enqueue(pqxx::transaction_base& tx, const std::string& kind, const job_args& args,
                     const job_options& options) {
    const new_job job{kind, args, options};
    check(job);
    return translated(tx.conn(), [&] {
        const auto [sql, params] = enqueue_statement(job);
        const auto rows = compat::exec_list(tx, sql, params);
        if (rows[0][0].is_null())
            throw duplicate_job{"a live job of another role has the unique key", "23505", "", ""};
        return rows[0][0].as<std::int64_t>();
    });
}

void enqueue_many(pqxx::transaction_base& tx, const std::vector<new_job>& jobs) {
    for (const auto& job : jobs)
        check_for_copy(job);
    if (!jobs.empty())
        translated(tx.conn(), [&] { copy_jobs(tx, jobs); });
}

} // namespace haul
