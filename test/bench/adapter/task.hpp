#ifndef HAUL_BENCH_TASK_HPP
#define HAUL_BENCH_TASK_HPP

#include "stop_event.hpp"

#include <atomic>
#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <thread>
#include <unistd.h>

namespace haul::bench {

/// A thread of the program. When what it runs throws, it says so and ends the program as SIGTERM does.
class task {
public:
    template <typename Function>
    task(stop_event& stop, const std::string& name, Function function)
        : stop_{stop}, thread_{[this, name, function = std::move(function)]() mutable {
              try {
                  function();
              } catch (const std::exception& error) {
                  std::cerr << "haul_bench: " << name << ": " << error.what() << std::endl;
                  failed_ = true;
                  kill(getpid(), SIGTERM);
              }
          }} {}
    /// Tells all tasks to end, and waits for this one.
    ~task() {
        stop_.request();
        thread_.join();
    }
    task(const task&) = delete;
    task& operator=(const task&) = delete;

    bool failed() const noexcept { return failed_; }

private:
    stop_event& stop_;
    std::atomic<bool> failed_{false};
    std::thread thread_; // last: it uses the others
};

} // namespace haul::bench

#endif
