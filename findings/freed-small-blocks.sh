#!/usr/bin/env bash
# Who pays for small blocks of memory that were freed long before?
#
# Versions:  glibc 2.36 (Debian 12); a C compiler of whatever kind is here
# Guess:     nobody: `free` of a small block is some tens of nanoseconds, and that was all; of a large
#            one at most a system call.
# Seen:      whoever frees the next block of 64 KiB or more. Small ones (up to 128 bytes) are put
#            aside, and then all of them are joined to what is free beside them, in one go: with
#            500,000 of them 10 ms in one `free`, without a system call. With M_MXFAST at 0 it
#            takes microseconds, for each small one has paid for itself.
# For users: a server that lets go of much that is small stands still some time later, for a reason
#            that no trace of system calls shows. callsign's registrar sets M_MXFAST to 0.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
cat > free.c <<'P'
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void *small[500000];

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) mallopt(M_MXFAST, 0);
    for (int i = 0; i < 500000; i++) small[i] = malloc(100);
    void *large = malloc(100 * 1024), *end = malloc(2000);
    for (int i = 0; i < 500000; i++) free(small[i]);
    struct timespec before, after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    free(large);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    printf("%ld\n", (after.tv_sec - before.tv_sec) * 1000000 +
                        (after.tv_nsec - before.tv_nsec) / 1000);
    free(end);
    return 0;
}
P
cc -O1 -fno-builtin -o free free.c
getconf GNU_LIBC_VERSION
usual=$(./free) changed=$(./free 0)
echo "one large block is freed: $usual µs, and with M_MXFAST at 0 $changed µs"
test "$usual" -gt 2000 && test "$usual" -gt $((20 * (changed + 1)))
