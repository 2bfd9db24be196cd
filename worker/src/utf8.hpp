#ifndef HAUL_UTF8_HPP
#define HAUL_UTF8_HPP

#include <optional>
#include <string>
#include <string_view>

namespace haul {

/// How many characters (code points) a UTF-8 text has.
std::size_t utf8_length(std::string_view text);

/// Takes the first character off a text that is not empty; where there is none, one byte, and returns
/// nothing.
std::optional<char32_t> take_character(std::string_view& text);

/// Whether a terminal and a reader take the character for what it is: no control character (of C0 or C1), and
/// none that is invisible or changes the direction of what follows.
bool is_printable(char32_t character);

/// The text with a question mark for each character that is not printable, and each byte that is no UTF-8.
std::string printable(std::string_view text);

/// How many columns of a terminal a printable text takes: none for a combining character, two for a wide one.
std::size_t display_width(std::string_view text);

} // namespace haul

#endif
