/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1 /* memmem() */
#include "http-request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What the fields said beyond the request. */
struct fields {
    unsigned int hosts;
    bool has_body, has_condition;
};

/* Bare line ends, NUL and the like have been used to make two parsers see different requests. */
static bool is_text(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 127)
            return false;
    return true;
}

/* Cuts the next line off; NULL if it is not one of text. */
static char *take_line(char **rest, const char *end)
{
    char *line = *rest;
    char *next = memmem(line, (size_t)(end - line), "\r\n", 2);

    if (!next || !is_text(line, (size_t)(next - line)))
        return NULL;
    *next = '\0';
    *rest = next + 2;
    return line;
}

/* ---- the first line ---- */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX in place. */
static bool decode(char *path)
{
    char *out = path;

    for (const char *in = path; *in; in++) {
        int byte = (unsigned char)*in;

        if (byte == '%') {
            int high = digit_of(in[1]), low = high < 0 ? -1 : digit_of(in[2]);

            byte = high * 16 + low;
            if (low < 0 || byte == 0)
                return false;
            in += 2;
        }
        *out++ = (char)byte;
    }
    *out = '\0';
    return true;
}

/* The path of a target, which may be a whole URL; NULL if it has none. */
static char *path_of(char *target)
{
    char *scheme;

    target[strcspn(target, "?#")] = '\0';
    scheme = strstr(target, "://");
    if (*target != '/' && scheme)
        target = strchr(scheme + 3, '/');
    return target && *target == '/' && decode(target) ? target : NULL;
}

static int parse_first_line(struct http_request *request, char *line)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;

    if (!version)
        return 400;
    *target++ = *version++ = '\0';
    if (strncmp(version, "HTTP/1.", 7) != 0 || version[7] < '0' || version[7] > '9' || version[8])
        return 505;
    request->keeps_alive = version[7] != '0';
    request->is_head = strcmp(line, "HEAD") == 0;
    if (!request->is_head && strcmp(line, "GET") != 0)
        return 405;
    request->path = path_of(target);
    return request->path ? 0 : 400;
}

/* ---- the fields ---- */

/* Is it one of the words between the commas? */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    while (*list) {
        size_t size;

        list += strspn(list, ", \t");
        size = strcspn(list, ", \t");
        if (size == length && strncasecmp(list, word, length) == 0)
            return true;
        list += size;
    }
    return false;
}

static void take_field(struct http_request *request, struct fields *fields, const char *name,
                       const char *value)
{
    if (strcasecmp(name, "Host") == 0)
        fields->hosts++;
    else if (strcasecmp(name, "Connection") == 0)
        request->keeps_alive &= !has_word(value, "close");
    else if (strcasecmp(name, "Range") == 0)
        request->range = value;
    else if (strcasecmp(name, "If-Range") == 0)
        fields->has_condition = true;
    else if (strcasecmp(name, "Transfer-Encoding") == 0)
        fields->has_body = true;
    else if (strcasecmp(name, "Content-Length") == 0)
        fields->has_body |= strcmp(value, "0") != 0;
}

/* Cuts a line into a name and a value; false if it has no colon where one belongs. */
static bool split_field(char *line, char **ret_value)
{
    char *value = line + strcspn(line, ": \t"), *end;

    if (*value != ':' || value == line)
        return false;
    *value++ = '\0';
    value += strspn(value, " \t");
    for (end = value + strlen(value); end > value && strchr(" \t", end[-1]); end--)
        end[-1] = '\0';
    *ret_value = value;
    return true;
}

int http_request_parse(struct http_request *request, char *head, size_t length)
{
    const char *end = head + length;
    struct fields fields = {.hosts = 0};
    char *line = take_line(&head, end), *value;
    bool needs_host;
    int status;

    *request = (struct http_request){.keeps_alive = false};
    status = line ? parse_first_line(request, line) : 400;
    if (status)
        return status;
    needs_host = request->keeps_alive; /* HTTP/1.0 had no such field */
    while ((line = take_line(&head, end)) && *line) {
        if (!split_field(line, &value))
            return 400;
        take_field(request, &fields, line, value);
    }
    if (!line || fields.hosts > 1 || (needs_host && !fields.hosts))
        return 400;
    if (fields.has_body)
        return 413;
    /* An If-Range compares with what we never said, and HEAD has no parts. */
    if (fields.has_condition || request->is_head)
        request->range = NULL;
    return 0;
}

/* ---- ranges ---- */

/* Returns what follows the digits, or NULL if there are none, or more than 64 bits hold. */
static const char *take_number(const char *text, uint64_t *ret_number)
{
    size_t count = strspn(text, "0123456789");

    if (count == 0 || count > 18)
        return NULL;
    *ret_number = strtoull(text, NULL, 10);
    return text + count;
}

/* FIRST-LAST, FIRST- or -COUNT; false if it is none of them. */
static bool take_range(const char *text, uint64_t size, uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t number;

    *ret_end = size;
    if (*text == '-') {
        text = take_number(text + 1, &number);
        *ret_first = text && number < size ? size - number : 0;
        return text && !*text;
    }
    text = take_number(text, ret_first);
    if (!text || *text++ != '-')
        return false;
    if (!*text)
        return true;
    text = take_number(text, &number);
    if (!text || *text || number < *ret_first)
        return false;
    if (number < size)
        *ret_end = number + 1;
    return true;
}

enum http_range http_request_range(const struct http_request *request, uint64_t size,
                                   uint64_t *ret_offset, uint64_t *ret_length)
{
    uint64_t first, end;

    if (!request->range || strncasecmp(request->range, "bytes=", 6) != 0 ||
        !take_range(request->range + 6, size, &first, &end))
        return HTTP_RANGE_NONE;
    if (first >= size)
        return HTTP_RANGE_OUTSIDE;
    *ret_offset = first;
    *ret_length = end - first;
    return HTTP_RANGE_PART;
}
