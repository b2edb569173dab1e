// Linux calls that Swift does not import. No feature macro here: it would clash with other modules' view of libc.
#ifndef CHUB_SYSTEM_H
#define CHUB_SYSTEM_H

#include <stdint.h>
#include <sys/types.h>

/// Blocks `count` signals in the calling thread and returns a close-on-exec, non-blocking descriptor that reads them, or -1 and errno.
int CHub_signalfd(const int *signals, int count);

/// Reads one pending signal number from a descriptor of `CHub_signalfd`; 0 when none is pending.
int CHub_read_signal(int descriptor);

/// Sets SIGPIPE to be ignored, so that a write to a closed pipe fails with EPIPE.
void CHub_ignore_sigpipe(void);

/// The errno of the last failed call in this thread.
int CHub_errno(void);

/// `open` with O_CLOEXEC and a mode (the variadic `open` is not imported).
int CHub_open(const char *path, int flags, unsigned int mode);

/// The type bits of `fstat` (S_IFMT), or -1 and errno.
int CHub_file_type(int descriptor);

/// Adds O_NONBLOCK to the open file description; 0, or -1 and errno.
int CHub_set_nonblocking(int descriptor);

/// Asks for a pipe that holds `size` bytes; where that is not allowed, it stays as long as it is.
void CHub_set_pipe_size(int descriptor, int size);

/// Nanoseconds of CLOCK_MONOTONIC.
int64_t CHub_monotonic_ns(void);

/// Microseconds since 1970.
int64_t CHub_wall_us(void);

#endif
