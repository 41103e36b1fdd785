#include "store/backup.h"

#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>

#include "base/hash.h"
#include "net/process.h"

namespace caravel::store {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "caravel-backup 1\n";
constexpr size_t kBlock = 1 << 20;
constexpr size_t kBlockMax = 64 << 20;  // a single record may be larger than kBlock
constexpr size_t kHash = 32;

void put_u32(std::string& out, size_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(v >> shift & 0xff));
}
size_t get_u32(const char* p) {
  size_t v = 0;
  for (int i = 0; i < 4; ++i) v = v << 8 | static_cast<unsigned char>(p[i]);
  return v;
}
std::string why() { return std::strerror(errno); }

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

class Writer {
 public:
  explicit Writer(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  Status begin() { return raw(kMagic); }
  Status add(char kind, std::string_view name, std::string_view content) {
    block_.push_back(kind);
    put_u32(block_, name.size());
    put_u32(block_, content.size());
    block_.append(name).append(content);
    return block_.size() >= kBlock ? flush() : ok();
  }
  Status end() {
    if (!block_.empty()) TRY_VOID(flush());
    TRY_VOID(flush());  // the empty one
    if (::fsync(fd_) != 0) return internal("writing " + path_ + ": " + why());
    return ok();
  }
  uint64_t bytes() const { return bytes_; }

 private:
  Status flush() {
    std::string head;
    put_u32(head, block_.size());
    hash_ = sha256(hash_ + block_);
    TRY_VOID(raw(head));
    TRY_VOID(raw(hash_));
    TRY_VOID(raw(block_));
    block_.clear();
    return ok();
  }
  Status raw(std::string_view s) {
    bytes_ += s.size();
    while (!s.empty()) {
      ssize_t n = ::write(fd_, s.data(), s.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return internal("writing " + path_ + ": " + why());
      s.remove_prefix(static_cast<size_t>(n));
    }
    return ok();
  }
  int fd_;
  std::string path_, block_, hash_;
  uint64_t bytes_ = 0;
};

using OnRecord = std::function<Status(char kind, std::string_view name, std::string_view content)>;

Result<bool> read_exactly(int fd, std::string& out, size_t n, const std::string& path) {
  out.resize(n);
  for (size_t at = 0; at < n;) {
    ssize_t got = ::read(fd, out.data() + at, n - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return internal("reading " + path + ": " + why());
    if (got == 0) return false;
    at += static_cast<size_t>(got);
  }
  return true;
}

Status read_records(const std::string& path, const OnRecord& on) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return not_found("cannot open the backup " + path + ": " + why());
  auto cut = [&] { return invalid("the backup " + path + " is incomplete: it ends in the middle; take another one"); };
  auto damaged = [&] { return invalid("the backup " + path + " is damaged: its checksum does not match; take another one"); };
  std::string part, hash, block;
  TRY(bool there, read_exactly(fd.get(), part, kMagic.size(), path));
  if (!there || part != kMagic) return invalid(path + " is not a backup that this version of caravel made");
  while (true) {
    TRY(bool head, read_exactly(fd.get(), part, 4 + kHash, path));
    if (!head) return cut();
    size_t size = get_u32(part.data());
    if (size > kBlockMax) return damaged();
    TRY(bool body, read_exactly(fd.get(), block, size, path));
    if (!body) return cut();
    std::string expect = sha256(hash + block);
    if (std::string_view(part).substr(4) != expect) return damaged();
    hash = expect;
    if (size == 0) return ok();
    for (size_t at = 0; at < block.size();) {
      if (block.size() - at < 9) return damaged();
      size_t name = get_u32(block.data() + at + 1), content = get_u32(block.data() + at + 5);
      if (name > block.size() || content > block.size() || block.size() - at - 9 < name + content) return damaged();
      std::string_view b = block;
      TRY_VOID(on(block[at], b.substr(at + 9, name), b.substr(at + 9 + name, content)));
      at += 9 + name + content;
    }
  }
}

int64_t revision_of(std::string_view row, std::string_view value) {
  if (row != std::string_view("\x01revision") || value.size() != 8) return 0;
  uint64_t v = 0;
  for (char c : value) v = v << 8 | static_cast<unsigned char>(c);
  return static_cast<int64_t>(v);
}

// A view of the database that needs no lock: what had been written when it was opened.
Result<std::unique_ptr<rocksdb::DB>> open_view(const std::string& directory, const std::string& scratch) {
  rocksdb::Options o;
  o.max_open_files = -1;  // files that the server drops meanwhile stay open
  o.info_log_level = rocksdb::ERROR_LEVEL;
  rocksdb::DB* raw = nullptr;
  rocksdb::Status s;
  // The server may replace a file between our looking and our opening.
  for (int i = 0; i < 5; ++i) {
    s = rocksdb::DB::OpenAsSecondary(o, directory, scratch, &raw);
    if (s.ok()) return std::unique_ptr<rocksdb::DB>(raw);
  }
  return internal("opening the store in " + directory + ": " + s.ToString());
}

Status copy_rows(const std::string& directory, const std::string& scratch, Writer& w, BackupSummary& sum) {
  TRY(auto db, open_view(directory, scratch));
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(read));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    TRY_VOID(w.add('K', it->key().ToStringView(), it->value().ToStringView()));
    if (int64_t r = revision_of(it->key().ToStringView(), it->value().ToStringView())) sum.revision = r;
    ++sum.rows;
  }
  if (!it->status().ok()) return internal("reading the store in " + directory + ": " + it->status().ToString());
  return ok();
}

Status copy_files(const std::string& data_dir, Writer& w, BackupSummary& sum) {
  std::error_code e;
  for (auto& entry : fs::recursive_directory_iterator(data_dir + "/pki", e)) {
    if (!entry.is_regular_file()) continue;
    TRY(std::string content, net::read_file(entry.path()));
    TRY_VOID(w.add('F', fs::relative(entry.path(), data_dir).string(), content));
    ++sum.files;
  }
  return ok();
}

bool is_plain(std::string_view name) { return name.substr(0, 4) == "pki/" && name.find("..") == name.npos; }

}  // namespace

Result<BackupSummary> write_backup(const std::string& data_dir, const std::string& file) {
  std::string store = data_dir + "/store";
  if (!net::path_exists(store + "/CURRENT")) return not_found("there is no store in " + data_dir + "; with --store etcd take the backup with etcdctl snapshot save");
  Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0) {
    if (errno == EEXIST) return make_error(Code::kAlreadyExists, file + " exists already; choose another name or remove it");
    return internal("cannot create " + file + ": " + why());
  }
  std::string scratch = file + ".scratch";
  BackupSummary sum;
  Writer w(fd.get(), file);
  Status s = w.begin();
  if (s.ok()) s = copy_files(data_dir, w, sum);
  if (s.ok()) s = copy_rows(store, scratch, w, sum);
  if (s.ok()) s = w.end();
  std::error_code ignored;
  fs::remove_all(scratch, ignored);
  if (!s.ok()) {
    ::unlink(file.c_str());
    return std::move(s).error();
  }
  sum.bytes = w.bytes();
  return sum;
}

Result<BackupSummary> verify_backup(const std::string& file) {
  BackupSummary sum;
  TRY_VOID(read_records(file, [&](char kind, std::string_view name, std::string_view content) -> Status {
    if (kind == 'K') ++sum.rows;
    if (kind == 'F') ++sum.files;
    if (kind == 'K')
      if (int64_t r = revision_of(name, content)) sum.revision = r;
    if (kind != 'K' && kind != 'F') return invalid("the backup " + file + " holds records that this version of caravel does not know");
    if (kind == 'F' && !is_plain(name)) return invalid("the backup " + file + " wants to write outside of the data directory: \"" + std::string(name) + "\"");
    sum.bytes += name.size() + content.size();
    return ok();
  }));
  return sum;
}

Result<BackupSummary> restore_backup(const std::string& file, const std::string& data_dir) {
  std::string store = data_dir + "/store", partial = data_dir + "/store.partial";
  for (auto& there : {store, data_dir + "/pki"})
    if (net::path_exists(there)) return make_error(Code::kAlreadyExists, there + " exists already; restore into an empty data directory");
  TRY(BackupSummary sum, verify_backup(file));
  TRY_VOID(net::make_directories(data_dir, 0700));
  TRY_VOID(net::remove_tree(partial));
  rocksdb::Options o;
  o.create_if_missing = true;
  o.error_if_exists = true;
  o.compression = rocksdb::kNoCompression;
  o.info_log_level = rocksdb::WARN_LEVEL;
  rocksdb::DB* raw = nullptr;
  rocksdb::Status opened = rocksdb::DB::Open(o, partial, &raw);
  if (!opened.ok()) return internal("creating " + partial + ": " + opened.ToString());
  std::unique_ptr<rocksdb::DB> db(raw);
  auto fill = [&]() -> Status {
    rocksdb::WriteBatch batch;
    rocksdb::WriteOptions write;
    write.disableWAL = true;  // flushed below, before the store gets its name
    auto put = [&]() -> Status {
      rocksdb::Status s = db->Write(write, &batch);
      batch.Clear();
      return s.ok() ? ok() : Status(internal("writing " + partial + ": " + s.ToString()));
    };
    TRY_VOID(read_records(file, [&](char kind, std::string_view name, std::string_view content) -> Status {
      if (kind == 'F') {
        std::string path = data_dir + "/" + std::string(name);
        TRY_VOID(net::make_directories(fs::path(path).parent_path().string(), 0700));
        return net::write_file_atomic(path, content, 0600);
      }
      batch.Put(rocksdb::Slice(name.data(), name.size()), rocksdb::Slice(content.data(), content.size()));
      return batch.GetDataSize() > kBlock ? put() : ok();
    }));
    TRY_VOID(put());
    rocksdb::Status s = db->Flush(rocksdb::FlushOptions());
    if (s.ok()) s = db->CompactRange(rocksdb::CompactRangeOptions(), nullptr, nullptr);
    if (!s.ok()) return internal("writing " + partial + ": " + s.ToString());
    return ok();
  };
  Status s = fill();
  db.reset();
  std::error_code e;
  if (s.ok()) {
    fs::rename(partial, store, e);
    if (e) s = internal("renaming " + partial + " to " + store + ": " + e.message());
  }
  if (!s.ok()) {
    fs::remove_all(partial, e);
    fs::remove_all(data_dir + "/pki", e);
    return std::move(s).error();
  }
  return sum;
}

}  // namespace caravel::store
