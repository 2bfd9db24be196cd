#ifndef HAUL_UTF8_HPP
#define HAUL_UTF8_HPP

#include <algorithm>
#include <string_view>

namespace haul {

/// How many characters (code points) a UTF-8 text has.
inline std::size_t utf8_length(std::string_view text) {
    return std::count_if(text.begin(), text.end(),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

} // namespace haul

#endif
