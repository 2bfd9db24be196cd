// Runs a statement at irregular intervals, each time with the next number as its parameter, and prints for
// each a line "NUMBER SENT RETURNED": nanoseconds of the monotonic clock before the statement was sent and
// after its commit returned.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <libpq-fe.h>
#include <memory>
#include <random>
#include <string>
#include <thread>

namespace {

using connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using result = std::unique_ptr<PGresult, decltype(&PQclear)>;

std::int64_t now() {
    return std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count();
}

[[noreturn]] void fail(const char* message) {
    std::fprintf(stderr, "paced_insert: %s\n", message);
    std::exit(1);
}

void check(PGconn* server, const result& answer) {
    const auto status = PQresultStatus(answer.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail(PQerrorMessage(server));
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 5)
        fail("usage: paced_insert STATEMENT COUNT SHORTEST LONGEST (pauses in microseconds); libpq's "
             "variables connect");
    const connection server{PQconnectdb(""), PQfinish};
    if (PQstatus(server.get()) != CONNECTION_OK)
        fail(PQerrorMessage(server.get()));
    check(server.get(), {PQprepare(server.get(), "paced", argv[1], 0, nullptr), PQclear});

    std::mt19937 random{std::random_device{}()};
    std::uniform_int_distribution<int> pause{std::atoi(argv[3]), std::atoi(argv[4])};
    const int count = std::atoi(argv[2]);
    for (int number = 1; number <= count; ++number) {
        std::this_thread::sleep_for(std::chrono::microseconds{pause(random)});
        const auto text = std::to_string(number);
        const char* const values[] = {text.c_str()};
        const auto sent = now();
        const result answer{PQexecPrepared(server.get(), "paced", 1, values, nullptr, nullptr, 0), PQclear};
        const auto returned = now();
        check(server.get(), answer);
        std::printf("%d %lld %lld\n", number, static_cast<long long>(sent), static_cast<long long>(returned));
    }
}
