/* SPDX-License-Identifier: MIT */
/* The protocol of the echo servers, which differ in their event loops alone. */
#ifndef ECHO_H
#define ECHO_H

#include "server.h"

/* Opens a server as the arguments of the program say, PORT CERTIFICATE.pem KEY.pem. */
bool echo_open(struct server *server, int argc, char **argv);

#endif
