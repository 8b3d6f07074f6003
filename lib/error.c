/* SPDX-License-Identifier: MIT */
#include <aiofastnet/error.h>

#include <string.h>

#define MAX_ERRNO 4095

const char *afn_strerror(int error)
{
    switch (error) {
    case AFN_ERR_TLS:
        return "TLS protocol error";
    case AFN_ERR_TRUNCATED:
        return "connection closed by the peer without close_notify";
    case AFN_ERR_HANDSHAKE_TIMEOUT:
        return "TLS handshake took too long";
    case AFN_ERR_SHUTDOWN_TIMEOUT:
        return "close could not flush in time";
    case AFN_ERR_ENGINE:
        return "the engine of the stream failed";
    case AFN_ERR_ABORTED:
        return "aborted";
    default:
        return strerror(error < 0 && error > -MAX_ERRNO ? -error : error);
    }
}
