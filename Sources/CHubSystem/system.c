#define _GNU_SOURCE
#include "CHubSystem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int CHub_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    int failure = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (failure != 0) {
        errno = failure;
        return -1;
    }
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int CHub_read_signal(int descriptor) {
    struct signalfd_siginfo info;
    ssize_t count = read(descriptor, &info, sizeof info);
    return count == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

void CHub_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

void CHub_set_pipe_size(int descriptor, int size) { (void)fcntl(descriptor, F_SETPIPE_SZ, size); }

int CHub_errno(void) { return errno; }

int CHub_open(const char *path, int flags, unsigned int mode) { return open(path, flags | O_CLOEXEC, (mode_t)mode); }

int CHub_file_type(int descriptor) {
    struct stat status;
    if (fstat(descriptor, &status) != 0) return -1;
    return (int)(status.st_mode & S_IFMT);
}

int CHub_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -1;
    return fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

int64_t CHub_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t CHub_wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
