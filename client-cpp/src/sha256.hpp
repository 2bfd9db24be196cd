#ifndef HAUL_SHA256_HPP
#define HAUL_SHA256_HPP

#include <string>
#include <string_view>

namespace haul {

/// SHA-256 (FIPS 180-4) of the text, as 64 hexadecimal digits.
std::string sha256_hex(std::string_view text);

} // namespace haul

#endif
