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

/// The user id and the first group of the user `name`; 0, ENOENT when there is no such user, or another errno.
int CHub_find_user(const char *name, uid_t *user, gid_t *group);

/// The id of the group `name`; 0, ENOENT when there is no such group, or another errno.
int CHub_find_group(const char *name, gid_t *group);

/// Makes this process, all its threads, that user with that one group and without capabilities, for good. 0, or -1 and errno;
/// EPERM also when a way back was left open.
int CHub_become(uid_t user, gid_t group);

/// No program that is executed from now on gets privileges, in this thread and those that it starts; 0, or -1 and errno.
int CHub_forbid_new_privileges(void);

/// No core dump and no debugger of the same user; 0, or -1 and errno.
int CHub_forbid_dumps(void);

/// A listening TCP socket on an IPv4 or IPv6 address, close-on-exec and non-blocking, or -1 and errno. `port` is the port that was asked
/// for, and then the one that it has.
int CHub_listen(const char *address, int *port, int backlog);

/// A datagram socket that is connected to the UNIX socket `path` of a service manager ('@' begins an abstract name), close-on-exec, whose
/// sends wait two seconds at most; or -1 and errno.
int CHub_notify_open(const char *path);

/// Sends `text` as one datagram; 0, or -1 and errno.
int CHub_notify_send(int descriptor, const char *text, size_t length);

/// Waits until the service manager has taken all that was sent before (sd_notify's BARRIER=1, a pipe that it closes), at most
/// `milliseconds`; 0, or -1 and errno.
int CHub_notify_barrier(int descriptor, int milliseconds);

/// Makes a descriptor that was inherited for writing close-on-exec; 0, or -1 and errno: EBADF when it is not open for writing.
int CHub_adopt_output(int descriptor);

#endif
