#include "binary.hpp"

#include "haul/error.hpp"

#include <cstring>
#include <endian.h>
#include <limits>

namespace haul::core {

namespace {

constexpr std::size_t array_header = 20; // dimensions, has-NULLs flag, element type, length, lower bound

// Seconds from 1970-01-01 to 2000-01-01, the server's epoch.
constexpr std::int64_t epoch_offset = 946'684'800;

} // namespace

std::int16_t read_int16(std::string_view value) noexcept {
    std::uint16_t raw;
    std::memcpy(&raw, value.data(), sizeof raw);
    return static_cast<std::int16_t>(be16toh(raw));
}

std::int32_t read_int32(std::string_view value) noexcept {
    std::uint32_t raw;
    std::memcpy(&raw, value.data(), sizeof raw);
    return static_cast<std::int32_t>(be32toh(raw));
}

std::int64_t read_int64(std::string_view value) noexcept {
    std::uint64_t raw;
    std::memcpy(&raw, value.data(), sizeof raw);
    return static_cast<std::int64_t>(be64toh(raw));
}

std::string_view read_jsonb(std::string_view value) noexcept {
    return value.empty() ? value : value.substr(1);
}

std::chrono::microseconds read_interval(std::string_view value) noexcept {
    using days = std::chrono::duration<std::int64_t, std::ratio<86400>>;
    return std::chrono::microseconds{read_int64(value)} + days{read_int32(value.substr(8))} +
           days{30 * std::int64_t{read_int32(value.substr(12))}};
}

// What does not fit, infinity among it, becomes the last time that does.
timestamp read_timestamp(std::string_view value) noexcept {
    std::int64_t since_epoch;
    if (__builtin_add_overflow(read_int64(value), epoch_offset * 1'000'000, &since_epoch))
        since_epoch = std::numeric_limits<std::int64_t>::max();
    return timestamp{std::chrono::microseconds{since_epoch}};
}

std::vector<std::int64_t> read_int64_array(std::string_view value) {
    std::vector<std::int64_t> items;
    if (value.size() < array_header) // no dimensions: empty
        return items;
    const auto count = static_cast<std::size_t>(read_int32(value.substr(12)));
    constexpr std::size_t element = sizeof(std::int32_t) + sizeof(std::int64_t);
    if (value.size() != array_header + count * element)
        throw error{"the server sent an array that is not one of bigint without NULLs"};
    items.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        items.push_back(read_int64(value.substr(array_header + i * element + sizeof(std::int32_t))));
    return items;
}

void write_int32(std::string& to, std::int32_t value) {
    const std::uint32_t raw = htobe32(static_cast<std::uint32_t>(value));
    to.append(reinterpret_cast<const char*>(&raw), sizeof raw);
}

void write_int64(std::string& to, std::int64_t value) {
    const std::uint64_t raw = htobe64(static_cast<std::uint64_t>(value));
    to.append(reinterpret_cast<const char*>(&raw), sizeof raw);
}

void write_interval(std::string& to, std::chrono::microseconds value) {
    write_int64(to, value.count());
    write_int32(to, 0); // days
    write_int32(to, 0); // months
}

array_builder::array_builder(oid element_type) : element_type_{element_type} {
    clear();
}

void array_builder::clear() {
    size_ = 0;
    has_null_ = false;
    bytes_.assign(array_header, '\0');
}

void array_builder::add_length(std::size_t length) {
    ++size_;
    write_int32(bytes_, static_cast<std::int32_t>(length));
}

void array_builder::add_int32(std::int32_t value) {
    add_length(sizeof value);
    write_int32(bytes_, value);
}

void array_builder::add_int64(std::int64_t value) {
    add_length(sizeof value);
    write_int64(bytes_, value);
}

void array_builder::add_boolean(bool value) {
    add_length(1);
    bytes_ += value ? '\1' : '\0';
}

void array_builder::add_text(std::string_view value) {
    add_length(value.size());
    bytes_ += value;
}

void array_builder::add_jsonb(std::string_view value) {
    add_length(value.size() + 1);
    bytes_ += '\1';
    bytes_ += value;
}

void array_builder::add_interval(std::chrono::microseconds value) {
    add_length(16);
    write_interval(bytes_, value);
}

void array_builder::add_null() {
    ++size_;
    has_null_ = true;
    write_int32(bytes_, -1);
}

std::string_view array_builder::bytes() {
    std::string header;
    write_int32(header, size_ > 0 ? 1 : 0);
    write_int32(header, has_null_ ? 1 : 0);
    write_int32(header, static_cast<std::int32_t>(element_type_));
    if (size_ == 0) {
        bytes_ = header;
        bytes_.resize(array_header);
        return std::string_view{bytes_}.substr(0, header.size());
    }
    write_int32(header, static_cast<std::int32_t>(size_));
    write_int32(header, 1); // lower bound
    bytes_.replace(0, array_header, header);
    return bytes_;
}

} // namespace haul::core
