/* SPDX-License-Identifier: MIT */
#ifndef AIOFASTNET_AIOFASTNET_H
#define AIOFASTNET_AIOFASTNET_H

#include <aiofastnet/carrier.h>
#include <aiofastnet/connect.h>
#include <aiofastnet/datagram.h>
#include <aiofastnet/error.h>
#include <aiofastnet/listener.h>
#include <aiofastnet/reactor.h>
#include <aiofastnet/stream.h>
#include <aiofastnet/tls.h>
#include <aiofastnet/version.h>

#endif
