#include "replacement.hpp"

#include "text.hpp"

#include <type_traits>

namespace haul::core {

namespace {

// Also the place for the note in an ending that has no text.
std::string* text_of(ending& how) {
    return std::visit(
        [](auto& one) -> std::string* {
            using way = std::decay_t<decltype(one)>;
            if constexpr (std::is_same_v<way, retry> || std::is_same_v<way, fail_for_good>)
                return &one.error;
            else if constexpr (std::is_same_v<way, discard> || std::is_same_v<way, cancel>)
                return &one.reason;
            else
                return nullptr;
        },
        how);
}

} // namespace

std::vector<ending> replacements(const ending& how, const std::string& refusal) {
    const std::string note = "the server refused the text of this outcome: " + to_ascii(refusal);
    std::vector<ending> list;

    ending in_ascii = how, noted = how;
    if (const auto* done = std::get_if<completed>(&how)) {
        if (!done->result.empty()) {
            list.emplace_back(completed::with_text(json_to_ascii(done->result)));
            list.emplace_back(completed{nlohmann::json(note)});
        }
    } else if (const auto* text = text_of(in_ascii)) {
        *text_of(in_ascii) = to_ascii(*text);
        *text_of(noted) = note;
        list.push_back(std::move(in_ascii));
        list.push_back(std::move(noted));
    }
    list.emplace_back(retry{"the server refused the outcome: " + to_ascii(refusal)});
    list.emplace_back(interrupted{});
    return list;
}

} // namespace haul::core
