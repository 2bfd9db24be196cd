#ifndef HAUL_BINARY_HPP
#define HAUL_BINARY_HPP

#include "haul/timestamp.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace haul::core {

/// PostgreSQL's binary format of values.

using oid = unsigned int;

namespace type {
inline constexpr oid boolean = 16, int8 = 20, int4 = 23, text = 25, jsonb = 3802, interval = 1186;
inline constexpr oid boolean_array = 1000, int8_array = 1016, int4_array = 1007, text_array = 1009,
                     jsonb_array = 3807, interval_array = 1187;
} // namespace type

std::int16_t read_int16(std::string_view value) noexcept;
std::int32_t read_int32(std::string_view value) noexcept;
std::int64_t read_int64(std::string_view value) noexcept;
/// Without the version byte in front.
std::string_view read_jsonb(std::string_view value) noexcept;
/// A month counts as 30 days.
std::chrono::microseconds read_interval(std::string_view value) noexcept;
timestamp read_timestamp(std::string_view value) noexcept;
/// Of a one-dimensional array without NULLs.
std::vector<std::int64_t> read_int64_array(std::string_view value);

void write_int32(std::string& to, std::int32_t value);
void write_int64(std::string& to, std::int64_t value);
void write_interval(std::string& to, std::chrono::microseconds value);

/// Builds a one-dimensional array. clear() keeps its memory for the next one.
class array_builder {
public:
    explicit array_builder(oid element_type);

    void clear();
    void add_int32(std::int32_t value);
    void add_int64(std::int64_t value);
    void add_boolean(bool value);
    void add_text(std::string_view value);
    void add_jsonb(std::string_view value);
    void add_interval(std::chrono::microseconds value);
    void add_null();

    std::size_t size() const noexcept { return size_; }
    /// The array; valid until the next change.
    std::string_view bytes();

private:
    void add_length(std::size_t length);

    oid element_type_;
    std::size_t size_ = 0;
    bool has_null_ = false;
    std::string bytes_;
};

} // namespace haul::core

#endif
