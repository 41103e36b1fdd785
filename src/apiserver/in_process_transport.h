// A kube::Transport into an API server in the same process: no sockets, works in virtual time.
#pragma once

#include <memory>

#include "apiserver/request.h"
#include "kube/client.h"

namespace caravel::apiserver {

class ApiServer;

// The server outlives the transport.
std::unique_ptr<kube::Transport> make_in_process_transport(ApiServer& server, User user);

}  // namespace caravel::apiserver
