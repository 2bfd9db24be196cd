#include "support/checker.hpp"

#include "support/session.hpp"

namespace haul::test {

namespace {

// Each query returns one line of text for every violation. `known` is every job there is, live and finished,
// and every run of a periodic one; `claimed` each job that was ever checked out, once; `total` is the sum of
// the counters over all days and queues.

const char* const common = R"sql(
CREATE TEMPORARY VIEW known AS
    SELECT id, state, attempt, max_attempts, claim FROM haul.jobs
    UNION ALL
    SELECT id, state, attempt, max_attempts, claim FROM haul.finished_jobs;
CREATE TEMPORARY VIEW claimed AS
    SELECT id, max(claim) AS claim FROM known GROUP BY id HAVING max(claim) > 0;
CREATE TEMPORARY VIEW total AS
    SELECT coalesce(sum(dispatches), 0) AS dispatches, coalesce(sum(retries), 0) AS retries,
           coalesce(sum(completions), 0) AS completions, coalesce(sum(failures), 0) AS failures,
           coalesce(sum(expiries), 0) AS expiries, coalesce(sum(discards), 0) AS discards,
           coalesce(sum(cancels), 0) AS cancels, coalesce(sum(releases), 0) AS releases,
           coalesce(sum(drops), 0) AS drops
        FROM haul.counters;
)sql";

const char* const always[] = {
    // states
    R"sql(
SELECT format('job %s is live with state %s', id, state) FROM haul.jobs
    WHERE state NOT IN ('ready', 'running', 'waiting'))sql",
    R"sql(
SELECT format('job %s is finished with state %s', id, state) FROM haul.finished_jobs
    WHERE state NOT IN ('completed', 'failed', 'discarded', 'cancelled'))sql",
    R"sql(
SELECT format('job %s ended %s times', id, count(*)) FROM haul.finished_jobs
    GROUP BY id, CASE WHEN every IS NOT NULL THEN claim END HAVING count(*) > 1)sql", // a periodic one: each
                                                                                      // run once
    R"sql(
SELECT format('job %s is both %s and finished', id, state) FROM haul.jobs
    WHERE id IN (SELECT id FROM haul.finished_jobs WHERE every IS NULL))sql",
    // attempts and claims
    R"sql(
SELECT format('job %s (%s) has attempt %s of %s', id, state, attempt, max_attempts) FROM known
    WHERE attempt < 0 OR attempt > max_attempts)sql",
    R"sql(
SELECT format('job %s is %s although its %s attempts are used up', id, state, max_attempts) FROM haul.jobs
    WHERE state IN ('ready', 'waiting') AND attempt = max_attempts)sql",
    R"sql(
SELECT format('job %s (%s) has attempt %s but was checked out %s times', id, state, attempt, claim) FROM known
    WHERE claim < attempt)sql",
    // who holds what
    R"sql(
SELECT format('job %s is running without a worker', id) FROM haul.jobs
    WHERE state = 'running' AND worker_id IS NULL)sql",
    R"sql(
SELECT format('job %s is running but no lease of worker %s names it', j.id, j.worker_id) FROM haul.jobs AS j
    WHERE j.state = 'running' AND NOT EXISTS (
        SELECT FROM haul.leases AS l
            WHERE l.id = j.lease_id AND l.worker_id = j.worker_id AND j.id = ANY (l.jobs)))sql",
    R"sql(
SELECT format('job %s is %s but held by worker %s, lease %s', id, state, worker_id, lease_id) FROM haul.jobs
    WHERE state <> 'running' AND (worker_id IS NOT NULL OR lease_id IS NOT NULL))sql",
    R"sql(
SELECT format('lease %s names %s jobs, %s of them settled, but %s run', id, named, settled, running)
    FROM (SELECT l.id, cardinality(l.jobs) AS named, l.done AS settled, coalesce(r.running, 0) AS running
              FROM haul.leases AS l
              LEFT JOIN (SELECT lease_id, count(*) AS running FROM haul.jobs WHERE state = 'running'
                         GROUP BY lease_id) AS r
                  ON r.lease_id = l.id) AS lease
    WHERE named - settled <> running)sql",
    // counters
    R"sql(
SELECT format('%s dispatches + %s retries, but %s completions + %s failures + %s expiries + %s discards + %s cancels + '
              '%s releases + %s running', dispatches, retries, completions, failures, expiries, discards, cancels,
              releases, running)
    FROM total, (SELECT count(*) AS running FROM haul.jobs WHERE state = 'running') AS now
    WHERE dispatches + retries <> completions + failures + expiries + discards + cancels + releases + running)sql",
    R"sql(
SELECT format('the counters of queue %s on %s are negative: %s', queue, day, c) FROM haul.counters AS c
    WHERE least(dispatches, retries, completions, failures, expiries, discards, cancels, releases, drops) < 0)sql",
};

const char* const at_rest[] = {
    R"sql(
SELECT format('job %s is running on worker %s, which does not exist', id, worker_id) FROM haul.jobs AS j
    WHERE state = 'running' AND worker_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM haul.workers AS w WHERE w.id = j.worker_id))sql",
    R"sql(
SELECT format('lease %s belongs to worker %s, which does not exist', id, worker_id) FROM haul.leases AS l
    WHERE NOT EXISTS (SELECT FROM haul.workers AS w WHERE w.id = l.worker_id))sql",
};

const char* const with_history[] = {
    R"sql(
SELECT format('%s completions are counted, but %s jobs completed', completions, seen)
    FROM total, (SELECT count(*) AS seen FROM haul.finished_jobs WHERE state = 'completed') AS f
    WHERE completions <> seen)sql",
    R"sql(
SELECT format('%s expiries are counted, but %s jobs failed', expiries, seen)
    FROM total, (SELECT count(*) AS seen FROM haul.finished_jobs WHERE state = 'failed') AS f
    WHERE expiries <> seen)sql",
    R"sql(
SELECT format('%s discards + %s cancels + %s drops are counted, but %s jobs ended so', discards, cancels, drops, seen)
    FROM total, (SELECT count(*) AS seen FROM haul.finished_jobs WHERE state IN ('discarded', 'cancelled')) AS f
    WHERE discards + cancels + drops <> seen)sql",
    R"sql(
SELECT format('%s dispatches are counted, but %s jobs were checked out', dispatches, seen)
    FROM total, (SELECT count(*) AS seen FROM claimed) AS k
    WHERE dispatches <> seen)sql",
    R"sql(
SELECT format('%s dispatches + %s retries are counted, but jobs were checked out %s times', dispatches, retries, seen)
    FROM total, (SELECT coalesce(sum(claim), 0) AS seen FROM claimed) AS k, haul._claim_base AS base
    WHERE CASE base.last_value WHEN 1 THEN dispatches + retries <> seen
        ELSE dispatches + retries > seen END)sql", // a crash leaves a gap
};

const char* const with_expected[] = {R"sql(
SELECT format('%s jobs were enqueued, but %s are live and %s ended', enqueued, live, ended)
    FROM (SELECT completions + expiries + discards + cancels + drops AS ended FROM total) AS e,
         (SELECT count(*) AS live FROM haul.jobs) AS l, (SELECT count(*) AS enqueued FROM expected) AS x
    WHERE enqueued <> live + ended)sql"};

const char* const with_expected_and_history[] = {
    R"sql(
SELECT format('job %s is lost: neither live nor finished', id) FROM expected AS e
    WHERE NOT EXISTS (SELECT FROM known AS k WHERE k.id = e.id))sql",
    R"sql(
SELECT format('job %s (%s) was never enqueued', id, state) FROM known AS k
    WHERE NOT EXISTS (SELECT FROM expected AS e WHERE e.id = k.id))sql",
};

const char* const with_effects[] = {
    R"sql(
SELECT format('job %s took effect %s times', job_id, count(*)) FROM effects GROUP BY job_id HAVING count(*) > 1)sql",
    R"sql(
SELECT format('job %s is %s but took effect', id, state) FROM known
    WHERE state <> 'completed' AND id IN (SELECT job_id FROM effects))sql",
    R"sql(
SELECT format('job %s completed without taking effect', id) FROM haul.finished_jobs AS f
    WHERE state = 'completed' AND NOT EXISTS (SELECT FROM effects AS e WHERE e.job_id = f.id))sql",
};

// Makes a view `name` of one column of a table that the caller named; ::regclass checks and quotes the name.
void make_view(session& database, const std::string& name, const std::string& column,
               const std::string& table) {
    const std::string quoted = database.text("SELECT $1::regclass::text", {table});
    database.exec("CREATE TEMPORARY VIEW " + name + " AS SELECT " + column + " FROM " + quoted);
}

template <typename Queries>
void collect(session& database, const Queries& queries, std::vector<std::string>& violations) {
    for (const char* query : queries)
        for (const row& found : database.exec(query))
            violations.push_back(found.at(0).value());
}

} // namespace

std::vector<std::string> check(const std::string& dsn, const checker_options& options) {
    session database(dsn);
    database.exec(common);
    if (!options.expected.empty())
        make_view(database, "expected", "id", options.expected);
    if (!options.effects.empty())
        make_view(database, "effects", "job_id", options.effects);

    std::vector<std::string> violations;
    database.exec("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    collect(database, always, violations);
    if (options.at_rest)
        collect(database, at_rest, violations);
    if (options.history)
        collect(database, with_history, violations);
    if (!options.expected.empty())
        collect(database, with_expected, violations);
    if (!options.expected.empty() && options.history)
        collect(database, with_expected_and_history, violations);
    if (!options.effects.empty())
        collect(database, with_effects, violations);
    database.exec("COMMIT");
    return violations;
}

} // namespace haul::test
