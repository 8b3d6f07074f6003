# SPDX-License-Identifier: MIT
"""Kernel TLS, as far as an SSLContext asks for it."""

try:
    import ssl
except ImportError:  # a Python without OpenSSL
    ssl = None

# Its name in the module ssl is new in Python 3.12; the number is OpenSSL's.
_OP_ENABLE_KTLS = getattr(ssl, "OP_ENABLE_KTLS", 1 << 3)


def set_ktls(context, send=True, receive=False):
    """Let the kernel do the TLS of the connections that are made with this SSLContext from now on.

    With `send` it gets the keys for sending, as with the option ssl.OP_ENABLE_KTLS, and files are
    sent without being read by the process; with `receive` those for receiving too, which is
    younger in kernels and in OpenSSL.  Where the kernel or OpenSSL cannot do it, connections are
    ordinary ones: get_extra_info("ktls_send_enabled") and "ktls_recv_enabled" tell.
    """
    if ssl is None:
        raise RuntimeError("Python ssl module is not available")
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"an ssl.SSLContext is expected, got {context!r}")
    if receive and not send:
        raise ValueError("the kernel cannot receive without sending")
    if send:
        context.options |= _OP_ENABLE_KTLS
    else:
        context.options &= ~_OP_ENABLE_KTLS
    context._aiofastnet_ktls_receive = bool(receive)
