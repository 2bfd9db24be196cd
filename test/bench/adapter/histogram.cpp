#include "histogram.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace haul::bench {

namespace {

// A duration in µs is a power of two and a fraction of 10 bits: buckets are at most a thousandth wide.
constexpr int fraction_bits = 10;
constexpr std::uint64_t fractions = 1U << fraction_bits;
constexpr int longest_bits = 32;
constexpr std::size_t bucket_count = (longest_bits - fraction_bits + 1) * fractions;

std::size_t bucket_of(std::uint64_t microseconds) {
    microseconds = std::min(microseconds, (std::uint64_t{1} << longest_bits) - 1);
    int shift = 0;
    while (microseconds >> shift >= 2 * fractions)
        ++shift;
    return shift * fractions + (microseconds >> shift);
}

double milliseconds_of(std::size_t bucket) {
    const std::size_t shift = bucket < 2 * fractions ? 0 : bucket / fractions - 1;
    return std::ldexp(static_cast<double>(bucket - shift * fractions), static_cast<int>(shift)) / 1000;
}

double value_at(const std::vector<std::uint64_t>& buckets, std::uint64_t total, double share) {
    const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total)));
    std::uint64_t seen = 0;
    std::size_t bucket = 0;
    while (bucket + 1 < buckets.size() && (seen += buckets[bucket]) < wanted)
        ++bucket;
    return milliseconds_of(bucket);
}

} // namespace

std::int64_t histogram::this_second() {
    return std::chrono::duration_cast<std::chrono::seconds>(clock::now().time_since_epoch()).count();
}

void histogram::record(std::chrono::nanoseconds duration, std::uint32_t times) {
    const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
    const std::size_t bucket = bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(microseconds, 0)));

    const std::lock_guard lock{mutex_};
    const std::int64_t second = this_second();
    slot& current = slots_[static_cast<std::size_t>(second) % slots_.size()];
    if (current.second != second) {
        current.second = second;
        current.buckets.assign(bucket_count, 0);
    }
    current.buckets[bucket] += times;
}

percentiles histogram::recent() const {
    std::vector<std::uint64_t> sums(bucket_count);
    {
        const std::lock_guard lock{mutex_};
        for (const slot& past : slots_)
            if (past.second > this_second() - static_cast<std::int64_t>(slots_.size()))
                std::transform(past.buckets.begin(), past.buckets.end(), sums.begin(), sums.begin(),
                               std::plus<>{});
    }
    const auto total = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
    if (total == 0)
        return {};
    return {value_at(sums, total, 0.50), value_at(sums, total, 0.95), value_at(sums, total, 0.99)};
}

} // namespace haul::bench
