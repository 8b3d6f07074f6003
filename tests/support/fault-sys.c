/* SPDX-License-Identifier: MIT */
/* Stands in for lib/sys.c: no object of that file is linked with this one. */
#include "fault-sys.h"

#include <errno.h>
#include <string.h>

#include "harness.h"
#include "real-sys.h"

#define WATCHES 4096
#define PARTS 1024

struct fault {
    unsigned int skip;
    unsigned int times;
    int error;
};

/* What a descriptor was registered with, for another announcement of the same. */
struct watch {
    int epoll_fd;
    uint32_t events;
    void *data;
};

static struct fault faults[FAULT_CALLS];
static size_t limits[FAULT_CALLS];
static unsigned int counts[FAULT_CALLS];
static struct watch watches[WATCHES];
static uint64_t clock_offset;
static uint64_t frozen; /* what the kernel's clock was when ours was stopped, or 0 */
static int timer_fd;
static bool swallows_files;
static bool had_more;
static uint64_t timer_deadline;

void fault_sys_reset(void)
{
    memset(faults, 0, sizeof faults);
    memset(limits, 0, sizeof limits);
    fault_sys_clear_counts();
    clock_offset = 0;
    frozen = 0;
    timer_deadline = 0;
    swallows_files = false;
    had_more = false;
}

void fault_sys_fail(enum fault_call call, unsigned int skip, unsigned int times, int error)
{
    require(error < 0);
    faults[call] = (struct fault){.skip = skip, .times = times, .error = error};
}

void fault_sys_limit(enum fault_call call, size_t length)
{
    limits[call] = length;
}

unsigned int fault_sys_count(enum fault_call call)
{
    return counts[call];
}

void fault_sys_clear_counts(void)
{
    memset(counts, 0, sizeof counts);
}

/* Counts a call; its error if it must fail, otherwise 0. */
static int meet(enum fault_call call)
{
    struct fault *fault = &faults[call];

    counts[call]++;
    if (fault->times == 0)
        return 0;
    if (fault->skip > 0) {
        fault->skip--;
        return 0;
    }
    fault->times--;
    return fault->error;
}

/* The kernel would send an edge later; since it has no reason to, the registration is renewed. */
static void announce_again(int fd)
{
    struct watch *watch;

    require(fd >= 0 && fd < WATCHES);
    watch = &watches[fd];
    if (watch->events != 0)
        real_sys_epoll_modify(watch->epoll_fd, fd, watch->events, watch->data);
}

static void note_watch(int fd, int epoll_fd, uint32_t events, void *data)
{
    require(fd >= 0 && fd < WATCHES);
    watches[fd] = (struct watch){.epoll_fd = epoll_fd, .events = events, .data = data};
}

int afn__sys_epoll_create(void)
{
    int error = meet(FAULT_EPOLL_CREATE);

    return error < 0 ? error : real_sys_epoll_create();
}

int afn__sys_epoll_add(int epoll_fd, int fd, uint32_t events, void *data)
{
    int result = meet(FAULT_EPOLL_ADD);

    if (result == 0)
        result = real_sys_epoll_add(epoll_fd, fd, events, data);
    if (result == 0)
        note_watch(fd, epoll_fd, events, data);
    return result;
}

int afn__sys_epoll_modify(int epoll_fd, int fd, uint32_t events, void *data)
{
    int result = meet(FAULT_EPOLL_MODIFY);

    if (result == 0)
        result = real_sys_epoll_modify(epoll_fd, fd, events, data);
    if (result == 0)
        note_watch(fd, epoll_fd, events, data);
    return result;
}

int afn__sys_epoll_remove(int epoll_fd, int fd)
{
    note_watch(fd, epoll_fd, 0, NULL);
    return real_sys_epoll_remove(epoll_fd, fd);
}

int afn__sys_epoll_wait(int epoll_fd, struct epoll_event *events, int capacity, int timeout)
{
    int error = meet(FAULT_EPOLL_WAIT);

    return error < 0 ? error : real_sys_epoll_wait(epoll_fd, events, capacity, timeout);
}

int afn__sys_eventfd(void)
{
    int error = meet(FAULT_EVENTFD);

    return error < 0 ? error : real_sys_eventfd();
}

int afn__sys_eventfd_raise(int fd)
{
    return real_sys_eventfd_raise(fd);
}

int afn__sys_timerfd(void)
{
    int error = meet(FAULT_TIMERFD);

    return error < 0 ? error : real_sys_timerfd();
}

/* A deadline of the moved clock as one of the kernel's; 0, which unsets the timer, stays 0. */
static int set_timer(void)
{
    uint64_t deadline = timer_deadline;

    if (deadline > 0)
        deadline = deadline > clock_offset ? deadline - clock_offset : 1;
    return real_sys_timerfd_set(timer_fd, deadline);
}

int afn__sys_timerfd_set(int fd, uint64_t deadline)
{
    int error = meet(FAULT_TIMERFD_SET);

    if (error < 0)
        return error;
    timer_fd = fd;
    timer_deadline = deadline;
    return set_timer();
}

uint64_t afn__sys_now(void)
{
    return (frozen > 0 ? frozen : real_sys_now()) + clock_offset;
}

void fault_sys_freeze_clock(void)
{
    frozen = real_sys_now();
}

void fault_sys_advance_clock(uint64_t microseconds)
{
    clock_offset += microseconds;
    if (timer_deadline > 0)
        require_equal(set_timer(), 0);
}

int afn__sys_close(int fd)
{
    int result;

    counts[FAULT_CLOSE]++;
    if (fd >= 0 && fd < WATCHES)
        watches[fd].events = 0;
    result = real_sys_close(fd);
    /* A number that is closed twice may be somebody else's the second time. */
    require(result != -EBADF);
    return result;
}

int afn__sys_set_nonblocking(int fd)
{
    int error = meet(FAULT_SET_NONBLOCKING);

    return error < 0 ? error : real_sys_set_nonblocking(fd);
}

int afn__sys_get_kind(int fd, enum afn__fd_kind *ret_kind)
{
    int error = meet(FAULT_GET_KIND);

    return error < 0 ? error : real_sys_get_kind(fd, ret_kind);
}

int afn__sys_get_file_kind(int fd, enum afn__fd_kind *ret_kind)
{
    int error = meet(FAULT_GET_FILE_KIND);

    return error < 0 ? error : real_sys_get_file_kind(fd, ret_kind);
}

int afn__sys_get_access(int fd)
{
    int error = meet(FAULT_GET_ACCESS);

    return error < 0 ? error : real_sys_get_access(fd);
}

ssize_t afn__sys_recv(int fd, enum afn__fd_kind kind, void *buffer, size_t length,
                      bool *ret_drained)
{
    int error = meet(FAULT_RECV);
    size_t limit = limits[FAULT_RECV];
    ssize_t result;

    if (error < 0) {
        if (error == -EAGAIN)
            announce_again(fd);
        *ret_drained = true;
        return error;
    }
    if (limit == 0 || limit >= length)
        return real_sys_recv(fd, kind, buffer, length, ret_drained);
    /* A full read of the limited buffer proves nothing; a short one does, as ever. */
    result = real_sys_recv(fd, kind, buffer, limit, ret_drained);
    return result;
}

static ssize_t transfer(int fd, const struct iovec *parts, size_t count,
                        ssize_t (*call)(int fd, const struct iovec *parts, size_t count))
{
    int error = meet(FAULT_SEND);
    size_t room = limits[FAULT_SEND];
    struct iovec short_parts[PARTS];
    size_t used = 0;
    ssize_t result;

    if (error < 0) {
        if (error == -EAGAIN)
            announce_again(fd);
        return error;
    }
    if (room == 0)
        return call(fd, parts, count);
    for (; used < count && used < PARTS && room > 0; used++) {
        short_parts[used] = parts[used];
        if (short_parts[used].iov_len > room)
            short_parts[used].iov_len = room;
        room -= short_parts[used].iov_len;
    }
    result = call(fd, short_parts, used);
    announce_again(fd);
    return result;
}

static ssize_t send_parts(int fd, const struct iovec *parts, size_t count)
{
    return real_sys_send(fd, parts, count, had_more);
}

ssize_t afn__sys_send(int fd, const struct iovec *parts, size_t count, bool has_more)
{
    had_more = has_more;
    return transfer(fd, parts, count, send_parts);
}

ssize_t afn__sys_write(int fd, const struct iovec *parts, size_t count)
{
    return transfer(fd, parts, count, real_sys_write);
}

static unsigned int limit_batch(enum fault_call call, unsigned int count)
{
    size_t limit = limits[call];

    return limit > 0 && limit < count ? (unsigned int)limit : count;
}

int afn__sys_recv_messages(int fd, struct afn__message *messages, unsigned int count)
{
    int error = meet(FAULT_RECV);
    unsigned int limit = limit_batch(FAULT_RECV, count);

    if (error == -EAGAIN || limit < count)
        announce_again(fd);
    return error < 0 ? error : real_sys_recv_messages(fd, messages, limit);
}

int afn__sys_send_messages(int fd, const struct afn__message *messages, unsigned int count)
{
    int error = meet(FAULT_SEND);

    if (error == -EAGAIN)
        announce_again(fd);
    return error < 0 ? error
                     : real_sys_send_messages(fd, messages, limit_batch(FAULT_SEND, count));
}

int afn__sys_send_to(int fd, const void *data, size_t length, const struct sockaddr *address,
                     socklen_t address_length)
{
    int error = meet(FAULT_SEND);

    if (error == -EAGAIN)
        announce_again(fd);
    return error < 0 ? error : real_sys_send_to(fd, data, length, address, address_length);
}

void fault_sys_swallow_files(bool swallows)
{
    swallows_files = swallows;
}

bool fault_sys_had_more(void)
{
    return had_more;
}

static size_t limit_length(enum fault_call call, size_t length)
{
    return limits[call] == 0 || limits[call] > length ? length : limits[call];
}

ssize_t afn__sys_sendfile(int fd, int file, uint64_t offset, size_t length)
{
    int error = meet(FAULT_SENDFILE);

    if (error == -EAGAIN)
        announce_again(fd);
    if (error < 0)
        return error;
    if (swallows_files)
        return (ssize_t)length;
    return real_sys_sendfile(fd, file, offset, limit_length(FAULT_SENDFILE, length));
}

ssize_t afn__sys_pread(int file, void *buffer, size_t length, uint64_t offset)
{
    int error = meet(FAULT_PREAD);

    return error < 0 ? error
                     : real_sys_pread(file, buffer, limit_length(FAULT_PREAD, length), offset);
}

uint64_t afn__sys_get_size(int file)
{
    return real_sys_get_size(file);
}

int afn__sys_shutdown_write(int fd)
{
    int error = meet(FAULT_SHUTDOWN);

    return error < 0 ? error : real_sys_shutdown_write(fd);
}

int afn__sys_accept(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_length)
{
    int error = meet(FAULT_ACCEPT);

    if (error == -EAGAIN)
        announce_again(fd);
    return error < 0 ? error : real_sys_accept(fd, ret_address, ret_length);
}

int afn__sys_socket(int family)
{
    int error = meet(FAULT_SOCKET);

    return error < 0 ? error : real_sys_socket(family);
}

int afn__sys_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    int error = meet(FAULT_BIND);

    return error < 0 ? error : real_sys_bind(fd, address, length);
}

int afn__sys_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int error = meet(FAULT_CONNECT);

    return error < 0 ? error : real_sys_connect(fd, address, length);
}

int afn__sys_get_error(int fd)
{
    int error = meet(FAULT_GET_ERROR);

    return error < 0 ? error : real_sys_get_error(fd);
}
