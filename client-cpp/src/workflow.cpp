#include "haul/workflow.hpp"

#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"
#include "job_json.hpp"

#include <algorithm>

namespace haul {

namespace {

/// The jobs of the array $1 with run_at in place of wait: only the server's clock counts.
const std::string with_times =
    "(SELECT jsonb_agg(CASE WHEN j ? 'wait' THEN j - 'wait' || jsonb_build_object('run_at',"
    " now() + (j ->> 'wait')::interval) ELSE j END ORDER BY n)"
    " FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS t(j, n))";

std::string policy_text(if_failed policy) {
    switch (policy) {
    case if_failed::cancel:
        return "cancel";
    case if_failed::wait:
        return "wait";
    case if_failed::run:
        return "run";
    }
    throw bad_job{"unknown policy if_failed", "22023"};
}

std::string after_json(const std::vector<after>& edges) {
    std::string array;
    for (const auto& edge : edges)
        array += (array.empty() ? "{" : ",{") + ("\"name\":" + json_string(edge.name)) + ",\"if_failed\":\"" +
                 policy_text(edge.if_failed) + "\"}";
    return '[' + array + ']';
}

bool waits(const new_job& job) {
    return job.options.wait.has_value();
}

} // namespace

workflow& workflow::add(std::string name, new_job job, std::vector<after> comes_after) {
    members_.push_back({std::move(name), std::move(job), std::move(comes_after)});
    return *this;
}

workflow& workflow::into_namespace(const std::string& name_space) {
    for (auto& member : members_)
        member.job.options = in_namespace(name_space, std::move(member.job.options));
    return *this;
}

std::string workflow::jobs() const {
    std::string array;
    for (const auto& member : members_) {
        array += (array.empty() ? "{" : ",{") + ("\"name\":" + json_string(member.name)) + ',' +
                 job_json(member.job);
        if (!member.comes_after.empty())
            array += ",\"after\":" + after_json(member.comes_after);
        array += '}';
    }
    return '[' + array + ']';
}

enqueued_workflow enqueue(pqxx::transaction_base& tx, const workflow& flow) {
    const auto jobs = flow.jobs();
    const bool any_waits = std::any_of(flow.members_.begin(), flow.members_.end(),
                                       [](const auto& member) { return waits(member.job); });
    const auto name = flow.name().empty() ? std::nullopt : std::optional{flow.name()};
    return translated(tx.conn(), [&] {
        // What haul.workflow() calls; it returns the ids of the jobs, too.
        const auto rows = compat::exec(
            tx,
            "SELECT w.workflow_id, j.id FROM haul._workflow(" + (any_waits ? with_times : "$1::jsonb") +
                ", $2::text) AS w, unnest(w.job_ids) WITH ORDINALITY AS j(id, n) ORDER BY j.n",
            jobs, name);
        enqueued_workflow made;
        for (const auto& member : flow.members_) {
            const auto row = rows[static_cast<pqxx::result::size_type>(made.jobs.size())];
            made.id = row[0].as<std::int64_t>();
            made.jobs.emplace(member.name, row[1].as<std::int64_t>());
        }
        return made;
    });
}

std::vector<std::int64_t> chain(pqxx::transaction_base& tx, const std::vector<new_job>& jobs,
                                const std::string& name, if_failed policy) {
    std::string array;
    for (const auto& job : jobs)
        array += (array.empty() ? "{" : ",{") + job_json(job) + '}';
    const bool any_waits = std::any_of(jobs.begin(), jobs.end(), waits);
    return translated(tx.conn(), [&] {
        const auto rows = compat::exec(
            tx, "SELECT haul.chain(" + (any_waits ? with_times : "$1::jsonb") + ", $2::text, $3::text)",
            '[' + array + ']', name.empty() ? std::nullopt : std::optional{name}, policy_text(policy));
        std::vector<std::int64_t> ids;
        for (const auto& row : rows)
            ids.push_back(row[0].as<std::int64_t>());
        return ids;
    });
}

} // namespace haul
