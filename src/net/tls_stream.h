// The client side of the TLS handshake, for stream.cc. Private.
#pragma once

#include <memory>
#include <string>

#include "net/stream.h"

namespace caravel::net {

Task<Result<StreamPtr>> tls_connect(EventLoop& loop, StreamPtr plain, std::shared_ptr<TlsClientContext> tls, std::string server_name, std::string alpn,
                                    Duration timeout);

}  // namespace caravel::net
