#include "pacer.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <unistd.h>

namespace haul::bench {

namespace {

using clock = std::chrono::steady_clock;

double current_rate(const settings& settings) {
    double rate = settings.rate;
    if (!settings.rate_file.empty())
        std::ifstream{settings.rate_file} >> rate;
    return rate;
}

/// The harness says "ENQUEUE n" a line.
class token_pacer : public pacer {
public:
    token_pacer(const settings& settings, meters& meters, const stop_event& stop)
        : settings_{settings}, stop_{stop} {
        meters.target_rate = settings.rate;
    }

    long next() override {
        while (owed_ == 0) {
            std::string line;
            if (!read_line(line))
                return 0;
            std::sscanf(line.c_str(), "ENQUEUE %ld", &owed_);
            owed_ = std::max(owed_, 0L);
        }
        const long batch = std::min(owed_, settings_.batch_max);
        owed_ -= batch;
        return batch;
    }

private:
    // Not by std::cin, which would wait without hearing of the end.
    bool read_line(std::string& line) {
        std::size_t end;
        while ((end = input_.find('\n')) == std::string::npos) {
            char buffer[4096];
            if (!stop_.wait_for_input(STDIN_FILENO))
                return false;
            const ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
            if (got <= 0)
                return false;
            input_.append(buffer, static_cast<std::size_t>(got));
        }
        line = input_.substr(0, end);
        input_.erase(0, end + 1);
        return true;
    }

    const settings& settings_;
    const stop_event& stop_;
    std::string input_;
    long owed_ = 0; ///< jobs of a token that is larger than a batch
};

/// So many jobs a second. What is due is counted by the time that has really passed, so a slow call is made
/// up for.
class rate_pacer : public pacer {
public:
    rate_pacer(const settings& settings, meters& meters, const stop_event& stop)
        : settings_{settings}, meters_{meters}, stop_{stop} {}

    long next() override {
        while (!stop_.requested()) {
            const clock::time_point now = clock::now();
            const double rate = current_rate(settings_);
            meters_.target_rate = rate;
            due_ += rate * std::chrono::duration<double>{now - counted_}.count();
            counted_ = now;
            if (due_ >= 1 && now >= next_call_) {
                const long batch = std::min(static_cast<long>(due_), settings_.batch_max);
                due_ -= static_cast<double>(batch);
                // A full batch leaves more to do at once.
                next_call_ = due_ >= 1 ? now : now + settings_.batch_period;
                return batch;
            }
            stop_.wait_for(settings_.batch_period);
        }
        return 0;
    }

private:
    const settings& settings_;
    meters& meters_;
    const stop_event& stop_;
    clock::time_point counted_ = clock::now();
    clock::time_point next_call_ = counted_;
    double due_ = 0;
};

/// As many jobs as are missing from those that should wait; the observer counts them.
class depth_pacer : public pacer {
public:
    depth_pacer(const settings& settings, meters& meters, const stop_event& stop)
        : settings_{settings}, meters_{meters}, stop_{stop} {}

    long next() override {
        do {
            const long missing = settings_.target_depth - meters_.ready;
            if (missing > 0) {
                // Until the observer has looked again.
                meters_.ready += std::min(missing, settings_.batch_max);
                return std::min(missing, settings_.batch_max);
            }
        } while (!stop_.wait_for(settings_.batch_period));
        return 0;
    }

private:
    const settings& settings_;
    meters& meters_;
    const stop_event& stop_;
};

} // namespace

std::unique_ptr<pacer> make_pacer(const settings& settings, meters& meters, const stop_event& stop) {
    switch (settings.paced_by) {
    case pacing::tokens:
        return std::make_unique<token_pacer>(settings, meters, stop);
    case pacing::rate:
        return std::make_unique<rate_pacer>(settings, meters, stop);
    case pacing::depth:
        break;
    }
    return std::make_unique<depth_pacer>(settings, meters, stop);
}

} // namespace haul::bench
