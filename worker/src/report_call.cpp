#include "report_call.hpp"

#include "protocol.hpp"
#include "text.hpp"

#include <type_traits>

namespace haul::core {

namespace {

using ids = std::vector<std::int64_t>;

struct tokens {
    explicit tokens(report_range reports) : worker{reports.first->what->worker_id()} {
        for (const auto& one : reports) {
            ids.add_int64(one.what->id());
            claims.add_int32(one.what->claim());
        }
    }
    parameters start() {
        parameters values;
        values.add_int64(worker).add_array(type::int8_array, ids).add_array(type::int4_array, claims);
        return values;
    }
    std::int64_t worker;
    array_builder ids{type::int8};
    array_builder claims{type::int4};
};

// Rows of (id, whether it was owned).
ids not_owned(const result& rows) {
    ids lost;
    for (int row = 0; row < rows.rows(); ++row) {
        if (!rows.boolean(row, 1))
            lost.push_back(read_int64(rows(row, 0)));
    }
    return lost;
}

ids complete(session& db, report_range reports) {
    static constexpr statement plain{"haul_complete", "SELECT haul.complete($1, $2, $3)"};
    static constexpr statement with_results{"haul_complete_results", "SELECT haul.complete($1, $2, $3, $4)"};
    tokens jobs{reports};
    array_builder results{type::jsonb};
    bool any = false;
    for (const auto& one : reports)
        any = any || !std::get<completed>(one.how).result.empty();
    if (!any)
        return read_int64_array(db.query(plain, jobs.start())(0, 0));
    for (const auto& one : reports) {
        const auto& text = std::get<completed>(one.how).result;
        if (text.empty())
            results.add_null();
        else
            results.add_jsonb(text);
    }
    return read_int64_array(db.query(with_results, jobs.start().add_array(type::jsonb_array, results))(0, 0));
}

ids fail(session& db, report_range reports) {
    static constexpr statement call{
        "haul_fail",
        "SELECT j.id, haul.fail($1, j.id, j.claim, j.error, NULL, j.retry_in, j.retry_queue, j.final)"
        " IS NOT NULL FROM unnest($2, $3, $4, $5, $6, $7)"
        " AS j(id, claim, error, retry_in, retry_queue, final)"};
    tokens jobs{reports};
    array_builder errors{type::text}, delays{type::interval}, queues{type::text}, finals{type::boolean};
    for (const auto& one : reports) {
        if (const auto* final = std::get_if<fail_for_good>(&one.how)) {
            errors.add_text(to_utf8(final->error));
            delays.add_null();
            queues.add_null();
            finals.add_boolean(true);
            continue;
        }
        const auto& again = std::get<retry>(one.how);
        errors.add_text(to_utf8(again.error));
        again.delay ? delays.add_interval(*again.delay) : delays.add_null();
        again.queue ? queues.add_text(to_utf8(*again.queue)) : queues.add_null();
        finals.add_boolean(false);
    }
    return not_owned(db.query(call, jobs.start()
                                        .add_array(type::text_array, errors)
                                        .add_array(type::interval_array, delays)
                                        .add_array(type::text_array, queues)
                                        .add_array(type::boolean_array, finals)));
}

template <typename T>
ids end_with_reason(session& db, const statement& call, report_range reports) {
    tokens jobs{reports};
    array_builder reasons{type::text};
    for (const auto& one : reports)
        reasons.add_text(to_utf8(std::get<T>(one.how).reason));
    return not_owned(db.query(call, jobs.start().add_array(type::text_array, reasons)));
}

ids put_off(session& db, report_range reports) {
    static constexpr statement call{"haul_snooze", "SELECT j.id, haul.snooze($1, j.id, j.claim, j.delay)"
                                                   " FROM unnest($2, $3, $4) AS j(id, claim, delay)"};
    tokens jobs{reports};
    array_builder delays{type::interval};
    for (const auto& one : reports)
        delays.add_interval(std::get<snooze>(one.how).delay);
    return not_owned(db.query(call, jobs.start().add_array(type::interval_array, delays)));
}

ids give_back(session& db, report_range reports) {
    claims jobs;
    for (const auto& one : reports)
        jobs.add(*one.what);
    return protocol::release(db, reports.first->what->worker_id(), jobs, true);
}

} // namespace

bool belong_together(const report& one, const report& other) noexcept {
    return one.how.index() == other.how.index() && one.what->worker_id() == other.what->worker_id();
}

bool report_order(const report& one, const report& other) noexcept {
    if (one.how.index() != other.how.index())
        return one.how.index() < other.how.index();
    return one.what->worker_id() < other.what->worker_id();
}

const char* call_name(const report& what) noexcept {
    constexpr const char* names[] = {"complete",  "fail",   "fail",    "discard",
                                     "cancelled", "snooze", "release", ""};
    return names[what.how.index()];
}

std::vector<std::int64_t> send(session& db, report_range reports) {
    static constexpr statement discard_call{"haul_discard",
                                            "SELECT j.id, haul.discard($1, j.id, j.claim, j.reason)"
                                            " FROM unnest($2, $3, $4) AS j(id, claim, reason)"};
    static constexpr statement cancel_call{"haul_cancelled",
                                           "SELECT j.id, haul.cancelled($1, j.id, j.claim, j.reason)"
                                           " FROM unnest($2, $3, $4) AS j(id, claim, reason)"};
    return std::visit(
        [&](const auto& how) -> ids {
            using way = std::decay_t<decltype(how)>;
            if constexpr (std::is_same_v<way, completed>)
                return complete(db, reports);
            else if constexpr (std::is_same_v<way, retry> || std::is_same_v<way, fail_for_good>)
                return fail(db, reports);
            else if constexpr (std::is_same_v<way, discard>)
                return end_with_reason<discard>(db, discard_call, reports);
            else if constexpr (std::is_same_v<way, cancel>)
                return end_with_reason<cancel>(db, cancel_call, reports);
            else if constexpr (std::is_same_v<way, snooze>)
                return put_off(db, reports);
            else if constexpr (std::is_same_v<way, interrupted>)
                return give_back(db, reports);
            else
                return {};
        },
        reports.first->how);
}

} // namespace haul::core
