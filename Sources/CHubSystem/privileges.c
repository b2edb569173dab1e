#define _GNU_SOURCE
#include "CHubSystem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { entry_limit = 1 << 20 };

int CHub_find_user(const char *name, uid_t *user, gid_t *group) {
    for (size_t size = 1024; size <= entry_limit; size *= 4) {
        char *space = malloc(size);
        if (space == NULL) return ENOMEM;
        struct passwd entry, *found = NULL;
        int failure = getpwnam_r(name, &entry, space, size, &found);
        if (found != NULL) {
            *user = found->pw_uid;
            *group = found->pw_gid;
        }
        free(space);
        if (failure != ERANGE) return failure != 0 ? failure : found != NULL ? 0 : ENOENT;
    }
    return ERANGE;
}

int CHub_find_group(const char *name, gid_t *group) {
    for (size_t size = 1024; size <= entry_limit; size *= 4) {
        char *space = malloc(size);
        if (space == NULL) return ENOMEM;
        struct group entry, *found = NULL;
        int failure = getgrnam_r(name, &entry, space, size, &found);
        if (found != NULL) *group = found->gr_gid;
        free(space);
        if (failure != ERANGE) return failure != 0 ? failure : found != NULL ? 0 : ENOENT;
    }
    return ERANGE;
}

static int has_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) != 0) return 1;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (data[i].effective != 0 || data[i].permitted != 0) return 1;
    }
    return 0;
}

int CHub_become(uid_t user, gid_t group) {
    if (user == 0 || group == 0) {
        errno = EINVAL;
        return -1;
    }
    if (setgroups(1, &group) != 0 || setresgid(group, group, group) != 0 || setresuid(user, user, user) != 0) return -1;
    uid_t users[3];
    gid_t groups[3], others[2];
    int isGone = getresuid(&users[0], &users[1], &users[2]) == 0 && users[0] == user && users[1] == user && users[2] == user &&
                 getresgid(&groups[0], &groups[1], &groups[2]) == 0 && groups[0] == group && groups[1] == group &&
                 groups[2] == group && getgroups(2, others) == 1 && others[0] == group && !has_capabilities() &&
                 setresuid((uid_t)-1, 0, (uid_t)-1) != 0 && setresgid((gid_t)-1, 0, (gid_t)-1) != 0;
    if (isGone) return 0;
    errno = EPERM;
    return -1;
}

int CHub_forbid_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

int CHub_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

int CHub_listen(const char *address, int *port, int backlog) {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } place = {.four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)}};
    socklen_t length = sizeof place.four;
    if (inet_pton(AF_INET, address, &place.four.sin_addr) != 1) {
        place.six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)*port)};
        length = sizeof place.six;
        if (inet_pton(AF_INET6, address, &place.six.sin6_addr) != 1) {
            errno = EAFNOSUPPORT;
            return -1;
        }
    }
    int descriptor = socket(place.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -1;
    int one = 1;
    if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 || bind(descriptor, &place.any, length) != 0 ||
        listen(descriptor, backlog) != 0 || getsockname(descriptor, &place.any, &length) != 0) {
        int failure = errno;
        close(descriptor);
        errno = failure;
        return -1;
    }
    *port = ntohs(place.any.sa_family == AF_INET ? place.four.sin_port : place.six.sin6_port);
    return descriptor;
}
