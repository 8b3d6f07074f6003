/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4, recvmmsg, sendmmsg */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* files of any size, where long has 32 bits */
#endif

#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int result_of(int value)
{
    return value < 0 ? -errno : value;
}

int afn__sys_epoll_create(void)
{
    return result_of(epoll_create1(EPOLL_CLOEXEC));
}

static int epoll_change(int epoll_fd, int operation, int fd, uint32_t events, void *data)
{
    struct epoll_event event = {.events = events, .data.ptr = data};

    return result_of(epoll_ctl(epoll_fd, operation, fd, &event));
}

int afn__sys_epoll_add(int epoll_fd, int fd, uint32_t events, void *data)
{
    return epoll_change(epoll_fd, EPOLL_CTL_ADD, fd, events, data);
}

int afn__sys_epoll_modify(int epoll_fd, int fd, uint32_t events, void *data)
{
    return epoll_change(epoll_fd, EPOLL_CTL_MOD, fd, events, data);
}

int afn__sys_epoll_remove(int epoll_fd, int fd)
{
    return epoll_change(epoll_fd, EPOLL_CTL_DEL, fd, 0, NULL);
}

int afn__sys_epoll_wait(int epoll_fd, struct epoll_event *events, int capacity, int timeout)
{
    int count;

    /* A wait without a limit that a signal ends is not taken up again: the caller looks whether the
     * signal handler asked it to stop. */
    count = result_of(epoll_wait(epoll_fd, events, capacity, timeout));
    return count == -EINTR ? 0 : count;
}

int afn__sys_eventfd(void)
{
    return result_of(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int afn__sys_eventfd_raise(int fd)
{
    return result_of(eventfd_write(fd, 1));
}

int afn__sys_timerfd(void)
{
    return result_of(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

int afn__sys_timerfd_set(int fd, uint64_t deadline)
{
    struct itimerspec when = {
        .it_value.tv_sec = (time_t)(deadline / 1000000),
        .it_value.tv_nsec = (long)(deadline % 1000000) * 1000,
    };

    return result_of(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL));
}

uint64_t afn__sys_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int afn__sys_close(int fd)
{
    /* On Linux the descriptor is gone whatever close says, EINTR included. */
    return result_of(close(fd));
}

int afn__sys_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    return flags & O_NONBLOCK ? 0 : result_of(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int afn__sys_get_kind(int fd, enum afn__fd_kind *ret_kind)
{
    int domain;
    socklen_t length = sizeof(domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0)
        return -errno;
    *ret_kind = domain == AF_INET || domain == AF_INET6 ? AFN__FD_TCP
                : domain == AF_UNIX                     ? AFN__FD_UNIX
                                                        : AFN__FD_OTHER;
    return 0;
}

int afn__sys_get_file_kind(int fd, enum afn__fd_kind *ret_kind)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
        return -EPERM; /* which epoll says of regular files */
    *ret_kind = S_ISFIFO(status.st_mode) ? AFN__FD_PIPE : AFN__FD_DEVICE;
    return 0;
}

int afn__sys_get_access(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -errno : flags & O_ACCMODE;
}

/*
 * A Unix socket cuts a read short where descriptors or credentials were passed, although more
 * bytes wait; it says so with MSG_CTRUNC, since there is no room for them.
 */
static ssize_t receive_unix(int fd, void *buffer, size_t length, bool *ret_whole)
{
    struct iovec part = {.iov_base = buffer, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t count = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);

    *ret_whole = !(message.msg_flags & MSG_CTRUNC);
    return count;
}

ssize_t afn__sys_recv(int fd, enum afn__fd_kind kind, void *buffer, size_t length,
                      bool *ret_drained)
{
    bool short_is_proof = kind == AFN__FD_TCP;
    ssize_t count;

    do
        count = kind == AFN__FD_UNIX       ? receive_unix(fd, buffer, length, &short_is_proof)
                : afn__fd_is_socket(kind) ? recv(fd, buffer, length, 0)
                                          : read(fd, buffer, length);
    while (count < 0 && errno == EINTR);
    if (count < 0) {
        *ret_drained = true;
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    *ret_drained = short_is_proof && (size_t)count < length;
    return count;
}

ssize_t afn__sys_send(int fd, const struct iovec *parts, size_t count, bool has_more)
{
    int flags = has_more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
    struct msghdr message = {
        .msg_iov = (struct iovec *)parts,
        .msg_iovlen = count < IOV_MAX ? count : IOV_MAX,
    };
    ssize_t sent;

    do
        sent = count == 1 ? send(fd, parts->iov_base, parts->iov_len, flags)
                          : sendmsg(fd, &message, flags);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    return sent;
}

/* What the kernel wants to know of a batch. */
struct headers {
    struct mmsghdr messages[AFN__MESSAGES];
    struct iovec parts[AFN__MESSAGES];
};

static unsigned int fill_headers(struct headers *headers, const struct afn__message *messages,
                                 unsigned int count)
{
    if (count > AFN__MESSAGES)
        count = AFN__MESSAGES;
    for (unsigned int i = 0; i < count; i++) {
        headers->parts[i] = (struct iovec){messages[i].data, messages[i].length};
        headers->messages[i].msg_hdr = (struct msghdr){
            .msg_name = messages[i].address,
            .msg_namelen = messages[i].address_length,
            .msg_iov = &headers->parts[i],
            .msg_iovlen = 1,
        };
    }
    return count;
}

int afn__sys_recv_messages(int fd, struct afn__message *messages, unsigned int count)
{
    struct headers headers;
    int received;

    count = fill_headers(&headers, messages, count);
    do
        received = recvmmsg(fd, headers.messages, count, MSG_CMSG_CLOEXEC, NULL);
    while (received < 0 && errno == EINTR);
    if (received < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    for (int i = 0; i < received; i++) {
        messages[i].length = headers.messages[i].msg_len;
        messages[i].address_length = headers.messages[i].msg_hdr.msg_namelen;
        messages[i].is_truncated = headers.messages[i].msg_hdr.msg_flags & MSG_TRUNC;
    }
    return received;
}

int afn__sys_send_messages(int fd, const struct afn__message *messages, unsigned int count)
{
    struct headers headers;
    int sent;

    count = fill_headers(&headers, messages, count);
    do
        sent = sendmmsg(fd, headers.messages, count, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    return sent;
}

int afn__sys_send_to(int fd, const void *data, size_t length, const struct sockaddr *address,
                     socklen_t address_length)
{
    ssize_t sent;

    do
        sent = sendto(fd, data, length, MSG_NOSIGNAL, address, address_length);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    return 0;
}

/*
 * A write to a pipe that nobody reads raises SIGPIPE in the calling thread, and there is no flag
 * against it.  Where the program does not ignore the signal, it is blocked meanwhile, and taken out
 * of the thread's queue if the write put it there.
 */
void afn__sys_hold_sigpipe(struct afn__sigpipe_hold *hold)
{
    struct sigaction action;
    sigset_t set;

    hold->is_held = hold->was_pending = false;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        return;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    hold->is_held = pthread_sigmask(SIG_BLOCK, &set, &hold->mask) == 0;
    /* It can be pending only where it was blocked before: then it is somebody else's. */
    if (hold->is_held && sigismember(&hold->mask, SIGPIPE) == 1)
        hold->was_pending = sigpending(&set) == 0 && sigismember(&set, SIGPIPE) == 1;
}

void afn__sys_release_sigpipe(const struct afn__sigpipe_hold *hold, bool is_failed)
{
    const struct timespec now = {0};
    int error = errno;
    sigset_t set;

    if (!hold->is_held)
        return;
    if (is_failed && !hold->was_pending) {
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
            continue;
    }
    pthread_sigmask(SIG_SETMASK, &hold->mask, NULL);
    errno = error;
}

ssize_t afn__sys_write(int fd, const struct iovec *parts, size_t count)
{
    struct afn__sigpipe_hold hold;
    size_t length = 0;
    ssize_t written;
    int error;

    if (count > IOV_MAX)
        count = IOV_MAX;
    for (size_t i = 0; i < count; i++)
        length += parts[i].iov_len;
    afn__sys_hold_sigpipe(&hold);
    do
        written = writev(fd, parts, (int)count);
    while (written < 0 && errno == EINTR);
    error = written < 0 ? errno : 0;
    /* The reader may have gone in the middle of it: then there are a signal and a short count. */
    afn__sys_release_sigpipe(&hold, error == EPIPE || (written >= 0 && (size_t)written < length));
    if (error)
        return error == EWOULDBLOCK ? -EAGAIN : -error;
    return written;
}

int afn__sys_enable_tls(int fd)
{
    static const char name[] = "tls";

    return result_of(setsockopt(fd, IPPROTO_TCP, TCP_ULP, name, sizeof(name)));
}

/* The signal may have come after some bytes were sent. */
ssize_t afn__sys_sendfile(int fd, int file, uint64_t offset, size_t length)
{
    off_t position = (off_t)offset;
    struct afn__sigpipe_hold hold;
    ssize_t sent;

    afn__sys_hold_sigpipe(&hold);
    do
        sent = sendfile(fd, file, &position, length);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        sent = errno == EWOULDBLOCK ? -EAGAIN : -errno;
    afn__sys_release_sigpipe(&hold, sent != (ssize_t)length);
    return sent;
}

ssize_t afn__sys_pread(int file, void *buffer, size_t length, uint64_t offset)
{
    ssize_t count;

    do
        count = pread(file, buffer, length, (off_t)offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

uint64_t afn__sys_get_size(int file)
{
    struct stat status;

    return fstat(file, &status) < 0 || status.st_size < 0 ? 0 : (uint64_t)status.st_size;
}

int afn__sys_shutdown_write(int fd)
{
    return result_of(shutdown(fd, SHUT_WR));
}

int afn__sys_accept(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_length)
{
    int accepted;

    do {
        *ret_length = sizeof(*ret_address);
        accepted =
            accept4(fd, (struct sockaddr *)ret_address, ret_length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (accepted < 0 && errno == EINTR);
    return result_of(accepted);
}

int afn__sys_socket(int family)
{
    return result_of(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int afn__sys_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return result_of(bind(fd, address, length));
}

int afn__sys_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int result = result_of(connect(fd, address, length));

    /* An interrupted connect goes on by itself. */
    return result == -EINTR ? -EINPROGRESS : result;
}

int afn__sys_get_error(int fd)
{
    int error = 0;
    socklen_t length = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return -errno;
    return -error;
}
