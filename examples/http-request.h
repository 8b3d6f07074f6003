/* SPDX-License-Identifier: MIT */
/* The head of an HTTP request, as far as a server of files needs it; no I/O. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_request {
    bool is_head;       /* HEAD, otherwise GET */
    bool keeps_alive;   /* the client may send another one */
    char *path;         /* decoded, without the query; begins with a slash; in the head, may be changed */
    const char *range;  /* the field of this name, or NULL */
};

/*
 * Parses a head of that many bytes, which ends with its empty line, in place.
 *
 * Returns: 0, or the status to refuse it with; the connection then ends with the answer.
 */
int http_request_parse(struct http_request *request, char *head, size_t length);

enum http_range { HTTP_RANGE_NONE, HTTP_RANGE_PART, HTTP_RANGE_OUTSIDE };

/*
 * Which part of a file of that size is wanted.  Several ranges at once, and what is no range at all,
 * count as none.
 */
enum http_range http_request_range(const struct http_request *request, uint64_t size,
                                   uint64_t *ret_offset, uint64_t *ret_length);

#endif
