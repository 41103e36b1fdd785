// The scheduler's extenders over HTTP and HTTPS. Threading: the event loop's.
#pragma once

#include <memory>

#include "net/event_loop.h"
#include "scheduler/extender.h"

namespace caravel::server {

std::unique_ptr<scheduler::ExtenderTransport> make_extender_transport(net::EventLoop& loop);

}  // namespace caravel::server
