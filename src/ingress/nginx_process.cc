#include "ingress/nginx_process.h"

#include <csignal>

namespace caravel::ingress {

Task<Status> NginxProcess::test(const std::string& path) {
  net::ProcessOptions options;
  options.argv = {program_, "-t", "-q", "-c", path, "-e", "stderr"};
  auto out = co_await net::run_process(*loop_, std::move(options), "", 30s);
  if (!out.ok()) co_return std::move(out).error();
  if (out->exit.code != 0) co_return invalid("nginx refuses the configuration: " + out->err);
  co_return ok();
}

Task<Status> NginxProcess::apply(NginxFiles files) {
  bool same = files.config == current_.config && files.files == current_.files;
  if (same && running()) co_return ok();
  CO_TRY_VOID(net::make_directories(paths_.directory + "/ssl", 0700));
  for (auto& [name, content] : files.files) CO_TRY_VOID(net::write_file_atomic(paths_.directory + "/" + name, content, 0600));
  std::string path = paths_.directory + "/nginx.conf", candidate = path + ".new";
  CO_TRY_VOID(net::write_file_atomic(candidate, files.config));
  CO_TRY_VOID(co_await test(candidate));
  CO_TRY_VOID(net::write_file_atomic(path, files.config));
  if (process_ && process_->running()) {
    CO_TRY_VOID(process_->signal(SIGHUP));
  } else {
    // A master that was killed leaves workers, which hold its ports; they are of its process group.
    if (process_) ::kill(-process_->pid(), SIGKILL);
    net::ProcessOptions options;
    options.argv = {program_, "-c", path, "-e", "stderr", "-g", "daemon off;"};
    CO_TRY(process_, net::spawn(*loop_, std::move(options)));
  }
  current_ = std::move(files);
  co_return ok();
}

Task<void> NginxProcess::stop(Duration grace) {
  if (!process_ || !process_->running()) co_return;
  auto asked = process_->signal(SIGQUIT);
  (void)asked;
  Time deadline = loop_->now() + grace;
  while (process_->running() && loop_->now() < deadline) co_await sleep(*loop_, 100ms);
  if (process_->running()) co_await process_->stop(1s);
}

}  // namespace caravel::ingress
