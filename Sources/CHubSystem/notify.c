// The protocol of sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names.
#define _GNU_SOURCE
#include "CHubSystem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int CHub_notify_open(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || length < 2) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    // A path needs no zero byte at its end here, an abstract name has none.
    if (length > sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = 0;
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    struct timeval patience = {.tv_sec = 2};
    (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(descriptor, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) != 0) {
        int failure = errno;
        close(descriptor);
        errno = failure;
        return -1;
    }
    return descriptor;
}

int CHub_notify_send(int descriptor, const char *text, size_t length) {
    return send(descriptor, text, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

static int send_with_descriptor(int descriptor, const char *text, int passed) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {{0}};
    struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
    return sendmsg(descriptor, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int CHub_notify_barrier(int descriptor, int milliseconds) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    int result = send_with_descriptor(descriptor, "BARRIER=1", ends[1]);
    int failure = errno;
    close(ends[1]);
    if (result == 0) {
        struct pollfd end = {.fd = ends[0], .events = 0};
        int ready = poll(&end, 1, milliseconds);
        if (ready <= 0) {
            result = -1;
            failure = ready == 0 ? ETIMEDOUT : errno;
        }
    }
    close(ends[0]);
    errno = failure;
    return result;
}

int CHub_adopt_output(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -1;
    if ((flags & O_ACCMODE) == O_RDONLY) {
        errno = EBADF;
        return -1;
    }
    return fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}
