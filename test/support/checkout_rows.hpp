#ifndef HAUL_TEST_CHECKOUT_ROWS_HPP
#define HAUL_TEST_CHECKOUT_ROWS_HPP

#include "batch.hpp"
#include "protocol.hpp"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

namespace haul::test {

/// A job as haul.checkout() could hand it out, without a server.
struct checkout_row {
    std::int64_t id = 1;
    std::int32_t claim = 1;
    std::string kind = "noop";
    std::string args = "{}";
    std::int32_t attempt = 1;
    std::optional<std::chrono::microseconds> timeout = std::nullopt;
    std::string on_timeout = "retry";
    bool confirm_start = false;
};

/// A batch of such jobs, held by worker 1.
inline std::unique_ptr<core::batch> make_batch(const std::vector<checkout_row>& rows) {
    namespace column = core::protocol::column;
    constexpr int columns = column::confirm_start + 1;
    PGresult* raw = PQmakeEmptyPGresult(nullptr, PGRES_TUPLES_OK);
    PGresAttDesc descriptions[columns];
    std::memset(descriptions, 0, sizeof descriptions);
    char name[] = "column";
    for (auto& description : descriptions)
        description.name = name;
    PQsetResultAttrs(raw, columns, descriptions);
    int row = 0;
    for (const auto& job : rows) {
        const auto set = [&](int column, std::string value) {
            PQsetvalue(raw, row, column, value.data(), static_cast<int>(value.size()));
        };
        const auto int4 = [](std::int32_t value) {
            std::string bytes;
            core::write_int32(bytes, value);
            return bytes;
        };
        const auto int8 = [](std::int64_t value) {
            std::string bytes;
            core::write_int64(bytes, value);
            return bytes;
        };
        for (int column = 0; column < columns; ++column)
            PQsetvalue(raw, row, column, nullptr, -1);
        set(column::id, int8(job.id));
        set(column::claim, int4(job.claim));
        set(column::queue, "default");
        set(column::kind, job.kind);
        set(column::args, '\1' + job.args);
        set(column::priority, std::string{"\x3f\xff", 2});
        set(column::attempt, int4(job.attempt));
        set(column::max_attempts, int4(21));
        set(column::run_at, int8(0));
        set(column::enqueued_at, int8(0));
        if (job.timeout) {
            std::string bytes;
            core::write_interval(bytes, *job.timeout);
            set(column::timeout, bytes);
        }
        set(column::on_timeout, job.on_timeout);
        set(column::confirm_start, std::string(1, job.confirm_start ? '\1' : '\0'));
        ++row;
    }
    return std::make_unique<core::batch>(core::result{raw}, 1);
}

} // namespace haul::test

#endif
