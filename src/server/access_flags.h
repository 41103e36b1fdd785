// The flags of `caravel server` that say who may come in and what he may do: files are read and checked before
// anything is served, then handed to the API server.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/api_server.h"
#include "base/flags.h"
#include "net/event_loop.h"

namespace caravel::server {

std::vector<Flag> access_flags();

class AccessSettings {
 public:
  // Reads the files that the flags name. Errors name the flag, the file and what is wrong in it.
  static Result<AccessSettings> read(const Flags& flags);
  // Puts it to work. The loop outlives the API server.
  Status apply(net::EventLoop& loop, apiserver::ApiServer& api) const;

 private:
  struct Token {
    std::string token;
    apiserver::User user;
  };
  std::vector<Token> tokens_;
  bool anonymous_ = true;
};

}  // namespace caravel::server
