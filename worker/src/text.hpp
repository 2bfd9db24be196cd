#ifndef HAUL_WORKER_TEXT_HPP
#define HAUL_WORKER_TEXT_HPP

#include "haul/timestamp.hpp"

#include <chrono>
#include <string>
#include <string_view>

namespace haul::core {

/// Whether the bytes are UTF-8 without a NUL.
bool is_utf8(std::string_view bytes) noexcept;
/// What the server takes as text: bytes that are not UTF-8, and NULs, become U+FFFD.
std::string to_utf8(std::string_view bytes);

/// What every encoding of a server has: characters beyond ASCII become question marks.
std::string to_ascii(std::string_view text);
/// The same for a JSON text, whose escaped characters (\uXXXX) become question marks, too.
std::string json_to_ascii(std::string_view json);

/// For a log line key=value: in double quotes, with quotes and what is not printable escaped, when it has to
/// be.
std::string log_value(std::string_view value);

/// "1.5 s"
std::string in_seconds(std::chrono::microseconds duration);

/// "2026-01-31T12:00:00.000000Z"
std::string in_utc(timestamp time);

/// The text, or its beginning and its end with a note between that says how much is missing: about so many
/// bytes.
std::string shortened(std::string text, std::size_t most);

/// The end of the text, at most so many bytes, from the start of a line if there is one.
std::string_view tail(std::string_view text, std::size_t most);

} // namespace haul::core

#endif
