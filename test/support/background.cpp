#include "support/background.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

namespace haul::test {

namespace {

void signal(pid_t process, int number) {
    if (::kill(process, number) != 0)
        throw std::system_error(errno, std::generic_category(), "kill");
}

// The letter in /proc/<pid>/stat, after the name in parentheses.
char state_of(pid_t process) {
    std::ifstream stream("/proc/" + std::to_string(process) + "/stat");
    std::string text;
    std::getline(stream, text);
    const std::size_t end = text.rfind(") ");
    return end == std::string::npos ? '\0' : text.at(end + 2);
}

template <typename Wanted>
std::string lines_of(const std::string& text, Wanted&& wanted) {
    std::istringstream stream(text);
    std::string found;
    for (std::string line; std::getline(stream, line);)
        if (wanted(line))
            found += line + '\n';
    return found;
}

} // namespace

background background_of(session& database) {
    const row found = database
                          .exec("SELECT preloaded, coalesce(launcher_pid, 0), coalesce(worker_pid, 0),"
                                " coalesce(floors_open, false), coalesce(waiting_workers, 0), wakeups"
                                " FROM haul.background")
                          .at(0);
    return {found[0] == "t", std::stoi(*found[1]), std::stoi(*found[2]),
            found[3] == "t", std::stoi(*found[4]), std::stoll(*found[5])};
}

void await_served(session& database, std::chrono::milliseconds limit) {
    wait_until([&] { return background_of(database).served; }, "the database is served", limit);
}

void await_unserved(session& database) {
    wait_until([&] { return !background_of(database).served; }, "the database is not served");
}

std::int64_t workers_in(session& anywhere, const std::string& database) {
    return anywhere.number(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_haul worker' AND datname = $1",
        {database});
}

frozen::frozen(pid_t process) : process_(process) {
    if (process <= 0) // which would be a group of processes, the test's own
        throw std::logic_error("there is no such process");
    signal(process, SIGSTOP);
    wait_until([&] { return state_of(process) == 'T'; }, "the process has come to a stop");
}

frozen::~frozen() {
    ::kill(process_, SIGCONT);
}

int log_watch::count(const std::string& part) const {
    const std::string lines =
        lines_of(text(), [&](const std::string& line) { return line.find(part) != std::string::npos; });
    return static_cast<int>(std::count(lines.begin(), lines.end(), '\n'));
}

std::string log_watch::complaints() const {
    return lines_of(text(), [](const std::string& line) {
        // a client closed its connection while the server was sending it something, a notification say
        if (line.find("FATAL:  connection to client lost") != std::string::npos)
            return false;
        for (const char* const sign : {"WARNING:  ", "ERROR:  ", "FATAL:  ", "PANIC:  "})
            if (line.find(sign) != std::string::npos)
                return true;
        return line.find(" exited with exit code ") != std::string::npos &&
               line.find(" exited with exit code 0") == std::string::npos;
    });
}

} // namespace haul::test
