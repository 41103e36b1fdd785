#include "proxy/nft.h"

#include <nftables/libnftables.h>

#include <memory>

#include "base/strings.h"

namespace caravel::proxy {

Status run_nft(const std::string& commands, bool dry_run) {
  struct Free {
    void operator()(nft_ctx* p) const { nft_ctx_free(p); }
  };
  std::unique_ptr<nft_ctx, Free> ctx(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!ctx) return internal("nftables: cannot make a context");
  nft_ctx_buffer_error(ctx.get());
  nft_ctx_buffer_output(ctx.get());
  nft_ctx_set_dry_run(ctx.get(), dry_run);
  if (nft_run_cmd_from_buffer(ctx.get(), commands.c_str()) == 0) return ok();
  const char* text = nft_ctx_get_error_buffer(ctx.get());
  std::string message(trim(text ? text : ""));
  Code code = message.find("Operation not permitted") != message.npos ? Code::kForbidden : Code::kInternal;
  return make_error(code, "nftables refused the rules: " + message.substr(0, 2000));
}

}  // namespace caravel::proxy
