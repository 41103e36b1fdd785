// A stream after an upgrade: the bytes that were already read come first.
#include "net/http_internal.h"

namespace caravel::net {
namespace {

class EarlyStream final : public Stream {
 public:
  EarlyStream(StreamPtr s, std::string early, std::string protocol) : s_(std::move(s)), early_(std::move(early)), protocol_(std::move(protocol)) {}
  Task<Result<size_t>> read(std::span<char> buffer) override {
    if (!early_.empty()) {
      size_t n = std::min(early_.size(), buffer.size());
      early_.copy(buffer.data(), n);
      early_.erase(0, n);
      co_return n;
    }
    co_return co_await s_->read(buffer);
  }
  Task<Status> write(std::string_view data) override { return s_->write(data); }
  Task<Status> shutdown_write() override { return s_->shutdown_write(); }
  void close() override { s_->close(); }
  std::string peer() const override { return s_->peer(); }
  std::string local() const override { return s_->local(); }
  std::string alpn() const override { return protocol_.empty() ? s_->alpn() : protocol_; }
  std::string peer_certificate() const override { return s_->peer_certificate(); }

 private:
  StreamPtr s_;
  std::string early_, protocol_;
};

}  // namespace

StreamPtr with_early_bytes(StreamPtr stream, std::string early, std::string protocol) {
  return std::make_unique<EarlyStream>(std::move(stream), std::move(early), std::move(protocol));
}

}  // namespace caravel::net
