/* SPDX-License-Identifier: MIT */
/* Needs -I of lib/.  A function that is missing in this list is one that the linker finds twice. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sys.c needs it before the first header */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* and this */
#endif

#include "real-sys.h"

#define afn__sys_accept real_sys_accept
#define afn__sys_bind real_sys_bind
#define afn__sys_close real_sys_close
#define afn__sys_connect real_sys_connect
#define afn__sys_epoll_add real_sys_epoll_add
#define afn__sys_epoll_create real_sys_epoll_create
#define afn__sys_epoll_modify real_sys_epoll_modify
#define afn__sys_epoll_remove real_sys_epoll_remove
#define afn__sys_epoll_wait real_sys_epoll_wait
#define afn__sys_eventfd real_sys_eventfd
#define afn__sys_eventfd_raise real_sys_eventfd_raise
#define afn__sys_get_access real_sys_get_access
#define afn__sys_get_file_kind real_sys_get_file_kind
#define afn__sys_get_error real_sys_get_error
#define afn__sys_get_kind real_sys_get_kind
#define afn__sys_get_size real_sys_get_size
#define afn__sys_now real_sys_now
#define afn__sys_pread real_sys_pread
#define afn__sys_recv real_sys_recv
#define afn__sys_recv_messages real_sys_recv_messages
#define afn__sys_send real_sys_send
#define afn__sys_send_messages real_sys_send_messages
#define afn__sys_send_to real_sys_send_to
#define afn__sys_sendfile real_sys_sendfile
#define afn__sys_set_nonblocking real_sys_set_nonblocking
#define afn__sys_shutdown_write real_sys_shutdown_write
#define afn__sys_socket real_sys_socket
#define afn__sys_timerfd real_sys_timerfd
#define afn__sys_timerfd_set real_sys_timerfd_set
#define afn__sys_write real_sys_write

#include "sys.c"
