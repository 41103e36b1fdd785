#include "gitops/git_repository.h"

#include <git2.h>

#include <memory>

#include "base/strings.h"

namespace caravel::gitops {
namespace {

constexpr size_t kFilesMax = 5000;
constexpr size_t kFileBytesMax = 16u << 20;
constexpr size_t kTotalBytesMax = 64u << 20;

template <auto F>
struct Free {
  template <class T>
  void operator()(T* p) const {
    F(p);
  }
};
using Repo = std::unique_ptr<git_repository, Free<git_repository_free>>;
using Remote = std::unique_ptr<git_remote, Free<git_remote_free>>;
using Object = std::unique_ptr<git_object, Free<git_object_free>>;
using Tree = std::unique_ptr<git_tree, Free<git_tree_free>>;
using Commit = std::unique_ptr<git_commit, Free<git_commit_free>>;

struct Library {
  Library() { git_libgit2_init(); }
  ~Library() { git_libgit2_shutdown(); }
};
void use_library() { static Library library; }

Error git_error(const std::string& what, Code code = Code::kUnavailable) {
  const ::git_error* e = git_error_last();
  return make_error(code, what + ": " + (e && e->message ? e->message : "unknown git error"));
}

int give_credentials(git_cred** out, const char*, const char*, unsigned int allowed, void* payload) {
  auto* c = static_cast<GitCredentials*>(payload);
  if (!(allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT) || c->username.empty()) return GIT_EAUTH;
  return git_credential_userpass_plaintext_new(out, c->username.c_str(), c->password.c_str());
}

struct Walk {
  std::map<std::string, std::string>* files;
  git_repository* repo;
  bool recurse;
  size_t total = 0;
  std::string problem;
};

int visit(const char* root, const git_tree_entry* entry, void* payload) {
  auto* w = static_cast<Walk*>(payload);
  std::string path = std::string(root) + git_tree_entry_name(entry);
  if (git_tree_entry_type(entry) == GIT_OBJECT_TREE) return w->recurse ? 0 : 1;  // 1: do not enter
  if (git_tree_entry_type(entry) != GIT_OBJECT_BLOB) return 0;
  git_blob* blob = nullptr;
  if (git_blob_lookup(&blob, w->repo, git_tree_entry_id(entry)) != 0) return -1;
  size_t size = static_cast<size_t>(git_blob_rawsize(blob));
  w->total += size;
  if (size > kFileBytesMax || w->total > kTotalBytesMax || w->files->size() >= kFilesMax) {
    w->problem = "too many or too large files at " + path;
    git_blob_free(blob);
    return -1;
  }
  (*w->files)[path] = std::string(static_cast<const char*>(git_blob_rawcontent(blob)), size);
  git_blob_free(blob);
  return 0;
}

}  // namespace

GitRepository::GitRepository(std::string url, std::string directory, GitCredentials credentials)
    : url_(std::move(url)), directory_(std::move(directory)), credentials_(std::move(credentials)) {}

Result<CommitInfo> GitRepository::fetch(const std::string& revision) {
  use_library();
  git_repository* raw = nullptr;
  if (git_repository_open_bare(&raw, directory_.c_str()) != 0) {
    git_repository_init_options init = GIT_REPOSITORY_INIT_OPTIONS_INIT;
    init.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH;
    if (git_repository_init_ext(&raw, directory_.c_str(), &init) != 0) return git_error("making " + directory_);
  }
  Repo repo(raw);
  git_remote* raw_remote = nullptr;
  if (git_remote_create_anonymous(&raw_remote, repo.get(), url_.c_str()) != 0) return git_error("repository " + url_, Code::kInvalid);
  Remote remote(raw_remote);
  git_fetch_options options = GIT_FETCH_OPTIONS_INIT;
  options.prune = GIT_FETCH_PRUNE;
  options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_ALL;
  options.callbacks.credentials = give_credentials;
  options.callbacks.payload = &credentials_;
  const char* specs[] = {"+refs/heads/*:refs/remotes/origin/*", "+HEAD:refs/remotes/origin/HEAD"};
  git_strarray refspecs{const_cast<char**>(specs), 2};
  if (git_remote_fetch(remote.get(), &refspecs, &options, nullptr) != 0) return git_error("fetching " + url_);

  git_object* raw_object = nullptr;
  std::string wanted = revision.empty() ? "HEAD" : revision;
  for (auto& name : {"refs/remotes/origin/" + wanted, "refs/tags/" + wanted, wanted})
    if (git_revparse_single(&raw_object, repo.get(), name.c_str()) == 0) break;
  if (!raw_object) return make_error(Code::kNotFound, "unable to resolve '" + wanted + "' to a commit SHA in " + url_);
  Object object(raw_object);
  git_object* peeled = nullptr;
  if (git_object_peel(&peeled, object.get(), GIT_OBJECT_COMMIT) != 0) return git_error("'" + wanted + "' is no commit", Code::kInvalid);
  Commit commit(reinterpret_cast<git_commit*>(peeled));
  CommitInfo info;
  char sha[GIT_OID_HEXSZ + 1];
  info.sha = git_oid_tostr(sha, sizeof sha, git_commit_id(commit.get()));
  const git_signature* who = git_commit_author(commit.get());
  info.author = std::string(who->name) + " <" + who->email + ">";
  info.message = std::string(trim(git_commit_message(commit.get())));
  info.seconds = git_commit_time(commit.get());
  return info;
}

Result<std::map<std::string, std::string>> GitRepository::files(const std::string& sha, const std::string& path, bool recurse) {
  use_library();
  git_repository* raw = nullptr;
  if (git_repository_open_bare(&raw, directory_.c_str()) != 0) return git_error("opening " + directory_);
  Repo repo(raw);
  git_oid id;
  git_commit* raw_commit = nullptr;
  if (git_oid_fromstr(&id, sha.c_str()) != 0 || git_commit_lookup(&raw_commit, repo.get(), &id) != 0) return git_error("commit " + sha, Code::kNotFound);
  Commit commit(raw_commit);
  git_tree* raw_tree = nullptr;
  if (git_commit_tree(&raw_tree, commit.get()) != 0) return git_error("commit " + sha);
  Tree tree(raw_tree);
  std::string clean = path;
  while (clean.starts_with("./")) clean.erase(0, 2);
  while (clean.ends_with("/")) clean.pop_back();
  if (clean.starts_with("/") || clean == ".." || clean.starts_with("../") || clean.find("/../") != std::string::npos) return invalid("the path \"" + path + "\" leaves the repository");
  if (!clean.empty() && clean != ".") {
    git_tree_entry* entry = nullptr;
    if (git_tree_entry_bypath(&entry, tree.get(), clean.c_str()) != 0) return make_error(Code::kNotFound, path + ": app path does not exist");
    git_tree* sub = nullptr;
    int rc = git_tree_entry_type(entry) == GIT_OBJECT_TREE ? git_tree_lookup(&sub, repo.get(), git_tree_entry_id(entry)) : -1;
    git_tree_entry_free(entry);
    if (rc != 0) return invalid(path + ": app path is not a directory");
    tree.reset(sub);
  }
  std::map<std::string, std::string> out;
  Walk walk{&out, repo.get(), recurse, 0, ""};
  if (git_tree_walk(tree.get(), GIT_TREEWALK_PRE, visit, &walk) != 0) {
    if (!walk.problem.empty()) return make_error(Code::kTooLarge, walk.problem);
    return git_error("reading " + path);
  }
  return out;
}

}  // namespace caravel::gitops
