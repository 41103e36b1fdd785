#include "server/access_flags.h"

#include "apiserver/authentication/token_file.h"
#include "base/log.h"
#include "net/process.h"

namespace caravel::server {

namespace {

Result<bool> read_bool(const Flags& flags, const char* name) {
  std::string v = flags.get(name);
  if (v == "true" || v == "false") return v == "true";
  return invalid("--" + std::string(name) + " is true or false, not " + v);
}

// The text of the file that a flag names.
Result<std::string> read_named(const Flags& flags, const char* name) {
  auto text = net::read_file(flags.get(name));
  if (!text.ok()) return wrap(std::move(text).error(), "--" + std::string(name));
  return text;
}

}  // namespace

std::vector<Flag> access_flags() {
  return {
      {"anonymous-auth", "true|false", "whether requests without credentials are those of system:anonymous", "true"},
      {"token-auth-file", "FILE", "bearer tokens: lines of token,user,uid,\"group1,group2\""},
  };
}

Result<AccessSettings> AccessSettings::read(const Flags& flags) {
  AccessSettings s;
  TRY(s.anonymous_, read_bool(flags, "anonymous-auth"));
  if (flags.given("token-auth-file")) {
    TRY(std::string text, read_named(flags, "token-auth-file"));
    std::vector<std::string> warnings;
    auto tokens = apiserver::parse_token_file(text, warnings);
    if (!tokens.ok()) return wrap(std::move(tokens).error(), "--token-auth-file " + flags.get("token-auth-file"));
    Log log("server");
    for (auto& w : warnings) log.warn("token file", {{"file", flags.get("token-auth-file")}, {"warning", w}});
    for (auto& t : *tokens) s.tokens_.push_back({std::move(t.token), std::move(t.user)});
  }
  return s;
}

Status AccessSettings::apply(net::EventLoop&, apiserver::ApiServer& api) const {
  apiserver::Authenticator& a = api.authenticator();
  if (!anonymous_) a.limit_anonymous(false, {});
  for (auto& t : tokens_) a.add_static_token(t.token, t.user);
  return ok();
}

}  // namespace caravel::server
