// A plugin for the worker: counts a file as `LC_ALL=C wc` does, and stores the counts in the transaction that
// completes the job.

#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <haul/plugin.hpp>
#include <haul/pqxx_compat.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace {

struct counts {
    std::int64_t lines = 0;
    std::int64_t words = 0;
    std::int64_t bytes = 0;
};

/// What adds up a text that comes in pieces.
class word_counter {
public:
    void add(std::string_view piece) {
        total_.bytes += static_cast<std::int64_t>(piece.size());
        for (const char c : piece)
            add(c);
    }

    const counts& total() const noexcept { return total_; }

private:
    void add(char c) {
        if (c == '\n')
            ++total_.lines;
        if (is_space(c)) {
            in_word_ = false;
        } else if (is_printable(c) && !in_word_) { // what is neither is a part of a word, but makes none
            in_word_ = true;
            ++total_.words;
        }
    }

    // The classes of the C locale, whatever the locale of the worker is.
    static bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }
    static bool is_printable(char c) noexcept { return c >= ' ' && c <= '~'; }

    counts total_;
    bool in_word_ = false;
};

[[noreturn]] void fail(const std::string& path) {
    throw std::system_error{errno ? errno : EIO, std::generic_category(), path};
}

counts count_file(const std::string& path) {
    errno = 0;
    std::ifstream file{path, std::ios::binary};
    if (!file)
        fail(path);
    word_counter counter;
    std::array<char, 65536> piece;
    while (file.read(piece.data(), piece.size()) || file.gcount() > 0)
        counter.add({piece.data(), static_cast<std::size_t>(file.gcount())});
    if (!file.eof())
        fail(path);
    return counter.total();
}

void count_words(const haul::job_context& job) {
    if (job.args().value("fail_first", false) && !job.retrying())
        throw std::runtime_error{"the first attempt fails on purpose"};

    const auto path = job.args().at("path").get<std::string>();
    const counts total = count_file(path);
    haul::compat::exec(job.transaction(),
                       "INSERT INTO demo.counted (job_id, path, lines, words, bytes) VALUES ($1, $2, $3, $4, $5)",
                       job.id(), path, total.lines, total.words, total.bytes);
}

} // namespace

HAUL_PLUGIN(count_words)
