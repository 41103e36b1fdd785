#include "apiserver/encryption_kms.h"

#include <openssl/rand.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/wire.h"

namespace caravel::apiserver {

namespace {

namespace wire = kube::wire;

constexpr size_t kSeedBytes = 32, kInfoBytes = 32;
constexpr size_t kKeyIdMax = 1'024, kCiphertextMax = 1'024, kAnnotationsMax = 32 * 1'024;
constexpr int kGcmKey = 0, kHkdfSeed = 1;  // EncryptedDEKSourceType

struct EncryptedObject {
  std::string data;
  KmsSealed source;
  int type = kGcmKey;
};

std::string encode(const EncryptedObject& o) {
  std::string out;
  wire::put_bytes(out, 1, o.data);
  wire::put_bytes(out, 2, o.source.key_id);
  wire::put_bytes(out, 3, o.source.ciphertext);
  for (auto& [k, v] : o.source.annotations) {
    std::string entry;
    wire::put_bytes(entry, 1, k);
    wire::put_bytes(entry, 2, v);
    wire::put_bytes(out, 4, entry);
  }
  if (o.type) wire::put_int(out, 5, o.type);
  return out;
}

bool decode(std::string_view bytes, EncryptedObject& o) {
  wire::Reader r(bytes);
  for (wire::Item i; r.next(i);) {
    if (i.number == 1) o.data = i.bytes;
    if (i.number == 2) o.source.key_id = i.bytes;
    if (i.number == 3) o.source.ciphertext = i.bytes;
    if (i.number == 5) o.type = static_cast<int>(i.value);
    if (i.number != 4) continue;
    std::string k, v;
    wire::Reader entry(i.bytes);
    for (wire::Item e; entry.next(e);) {
      if (e.number == 1) k = e.bytes;
      if (e.number == 2) v = e.bytes;
    }
    if (entry.failed()) return false;
    o.source.annotations[k] = v;
  }
  return !r.failed() && !o.data.empty() && !o.source.ciphertext.empty() && !o.source.key_id.empty() && (o.type == kGcmKey || o.type == kHkdfSeed);
}

std::string digest_of(const KmsSealed& s) {
  std::string all;
  for (auto& part : {s.ciphertext, s.key_id}) all += std::to_string(part.size()) + ":" + part;
  for (auto& [k, v] : s.annotations) all += std::to_string(k.size()) + ":" + k + std::to_string(v.size()) + ":" + v;
  return sha256(all);
}

std::string kms_random_bytes(size_t n) {
  std::string out(n, '\0');
  return RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(n)) == 1 ? out : "";
}

// HKDF-Expand with SHA-256 to one block.
std::string derived_key(const std::string& seed, std::string_view info) { return hmac_sha256(seed, std::string(info) + '\x01'); }

Error broken() { return make_error(Code::kInternal, "failed to decode the stored data: it is no EncryptedObject"); }

Status check_sealed(const KmsSealed& s, const std::string& key_id) {
  if (s.key_id.empty() || s.key_id.size() > kKeyIdMax) return unavailable("the KMS plug-in encrypted with a key_id that is empty or too long");
  if (s.key_id != key_id) return unavailable("the KMS plug-in encrypted with the key " + json::quote(s.key_id) + ", its status named " + json::quote(key_id));
  if (s.ciphertext.empty() || s.ciphertext.size() > kCiphertextMax) return unavailable("the KMS plug-in's ciphertext has " + std::to_string(s.ciphertext.size()) + " bytes, which should be between 1 and " + std::to_string(kCiphertextMax));
  size_t size = 0;
  for (auto& [k, v] : s.annotations) {
    if (k.find('.') == k.npos) return unavailable("the KMS plug-in's annotation " + json::quote(k) + " should be a domain with at least two segments separated by dots");
    size += k.size() + v.size();
  }
  if (size > kAnnotationsMax) return unavailable("the KMS plug-in's annotations are larger than " + std::to_string(kAnnotationsMax) + " bytes");
  return ok();
}

}  // namespace

KmsTransformer::KmsTransformer(Executor& ex, std::string name, std::unique_ptr<KmsService> service) : ex_(&ex), name_(std::move(name)), service_(std::move(service)), refreshed_(ex) {
  scope_.spawn(keep_status());
}

Result<std::string> KmsTransformer::seal(std::string_view plain, std::string_view key) const {
  if (!seed_ || ex_->now() >= seed_->until) return unavailable("the KMS plug-in " + json::quote(name_) + " has not been heard of lately");
  const std::string info = kms_random_bytes(kInfoBytes);
  if (info.empty()) return make_error(Code::kInternal, "no random bytes for a key could be had");
  TRY(std::string data, make_aes_gcm("", derived_key(seed_->secret, info))->seal(plain, key));
  EncryptedObject o;
  o.data = info + data;
  o.source = seed_->sealed;
  o.type = kHkdfSeed;
  return encode(o);
}

Result<std::string> KmsTransformer::open(std::string_view sealed, std::string_view key) const {
  EncryptedObject o;
  if (!decode(sealed, o)) return broken();
  auto it = known_.find(digest_of(o.source));
  if (it == known_.end()) return unavailable("the key of the value has not been decrypted");
  if (o.type == kGcmKey) return make_aes_gcm("", it->second)->open(o.data, key);
  if (o.data.size() < kInfoBytes) return make_error(Code::kInternal, "the stored data was shorter than the required size");
  std::string_view data = o.data;
  return make_aes_gcm("", derived_key(it->second, data.substr(0, kInfoBytes)))->open(data.substr(kInfoBytes), key);
}

bool KmsTransformer::opens_now(std::string_view sealed) const {
  EncryptedObject o;
  return !decode(sealed, o) || known_.count(digest_of(o.source)) > 0;  // what is no EncryptedObject fails at once
}

void KmsTransformer::remember(const std::string& digest, std::string secret) {
  if (known_.size() >= kSeedsMax) {
    known_.clear();
    if (seed_) known_[digest_of(seed_->sealed)] = seed_->secret;
  }
  known_[digest] = std::move(secret);
}

std::string KmsTransformer::new_call_id() { return hex_encode(kms_random_bytes(16)); }

Task<Status> KmsTransformer::prepare_open(std::string sealed) {
  EncryptedObject o;
  if (!decode(sealed, o)) co_return broken();
  std::string digest = digest_of(o.source);
  if (known_.count(digest)) co_return ok();
  auto secret = co_await service_->decrypt(std::move(o.source), new_call_id());
  if (!secret.ok()) co_return wrap(std::move(secret).error(), "failed to decrypt DEK");
  const size_t n = secret->size();
  if (o.type == kHkdfSeed ? n < kSeedBytes : n != 16 && n != 24 && n != 32) co_return make_error(Code::kInternal, "the KMS plug-in decrypted a key of " + std::to_string(n) + " bytes");
  remember(digest, std::move(*secret));
  co_return ok();
}

Task<Status> KmsTransformer::prepare_seal() {
  if (seed_ && ex_->now() < seed_->until) co_return ok();
  if (refreshing_) {
    co_await refreshed_.wait();
    co_return last_;
  }
  Status s = co_await refresh();
  co_return s;
}

bool KmsTransformer::outdated(std::string_view sealed) const {
  EncryptedObject o;
  return seed_ && decode(sealed, o) && (o.source.key_id != seed_->sealed.key_id || o.type != kHkdfSeed);
}

std::optional<Status> KmsTransformer::remote_health() const {
  if (!last_.ok()) return last_;
  if (!seed_) return unavailable("the KMS plug-in " + json::quote(name_) + " has not answered yet");
  return ok();
}

Task<Status> KmsTransformer::new_seed(std::string key_id) {
  Seed fresh;
  fresh.secret = kms_random_bytes(kSeedBytes);
  if (fresh.secret.empty()) co_return make_error(Code::kInternal, "no random bytes for a seed could be had");
  auto sealed = co_await service_->encrypt(fresh.secret, new_call_id());
  if (!sealed.ok()) co_return wrap(std::move(sealed).error(), "failed to encrypt DEK");
  CO_TRY_VOID(check_sealed(*sealed, key_id));
  fresh.sealed = std::move(*sealed);
  remember(digest_of(fresh.sealed), fresh.secret);
  seed_ = std::move(fresh);
  co_return ok();
}

namespace {

Status check_status(const KmsStatus& s) {
  if (s.version != "v2" && s.version != "v2beta1") return unavailable("the KMS plug-in speaks version " + json::quote(s.version) + ", not v2");
  if (s.healthz != "ok") return unavailable("the KMS plug-in is not well: it says " + json::quote(s.healthz));
  if (s.key_id.empty() || s.key_id.size() > kKeyIdMax) return unavailable("the KMS plug-in's status has a key_id that is empty or too long");
  return ok();
}

// Marks a refresh, and wakes who waits for it, however it ends.
struct Refreshing {
  Refreshing(bool* flag, Event* event) : running(flag), done(event) {
    *running = true;
    done->reset();
  }
  ~Refreshing() {
    *running = false;
    done->set();
  }
  bool* running;
  Event* done;
};

}  // namespace

Task<Status> KmsTransformer::refresh() {
  Refreshing mark(&refreshing_, &refreshed_);
  last_ = ok();
  auto status = co_await service_->status();
  if (!status.ok()) last_ = std::move(status).error();
  else last_ = check_status(*status);
  if (!last_.ok()) {
    last_ = wrap(last_.error(), "KMS provider " + json::quote(name_));
    co_return last_;
  }
  if (!seed_ || seed_->sealed.key_id != status->key_id) {
    last_ = co_await new_seed(status->key_id);
    if (!last_.ok()) {
      last_ = wrap(last_.error(), "KMS provider " + json::quote(name_));
      co_return last_;
    }
  }
  seed_->until = ex_->now() + kKmsStatusValid;
  co_return ok();
}

Task<void> KmsTransformer::keep_status() {
  const Log log("encryption");
  while (true) {
    Status s = ok();
    if (!refreshing_) s = co_await refresh();
    if (!s.ok()) log.warn("the key management plug-in does not answer as it should", {{"provider", name_}, {"error", s.error().message}});
    Duration pause = s.ok() ? kKmsStatusEvery : kKmsStatusAgain;
    co_await sleep(*ex_, pause);
  }
}

}  // namespace caravel::apiserver
