/*
 * server_clock.c: a library for a server, loaded before all others, whose clock it sets.
 *
 * The file that the variable HAUL_TEST_CLOCK names holds an int64, in the order of the machine: by how many
 * seconds the clock is ahead. It may change at any time, and all processes see it at once. How fast time
 * passes, and monotonic clocks, are what they are.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t ahead(void) {
    static volatile const int64_t* shared;

    if (shared == NULL) {
        const char* name = getenv("HAUL_TEST_CLOCK");
        int file = name != NULL ? open(name, O_RDONLY | O_CLOEXEC) : -1;
        void* memory = mmap(NULL, sizeof(*shared), PROT_READ, MAP_SHARED, file, 0);

        if (memory == MAP_FAILED)
            abort();
        close(file);
        shared = memory;
    }
    return *shared;
}

int clock_gettime(clockid_t clock, struct timespec* time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);

    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += ahead();
    return result;
}

int gettimeofday(struct timeval* restrict time, void* restrict zone) {
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t* copy) {
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (copy != NULL)
        *copy = now.tv_sec;
    return now.tv_sec;
}
