#include "cli/flow_steps.h"

#include "base/strings.h"
#include "net/process.h"

namespace caravel::cli {

FlowResult done(std::string name, const Stopwatch& w, std::string detail) { return {std::move(name), true, false, w.seconds(), std::move(detail)}; }
FlowResult skipped(std::string name, std::string why) { return {std::move(name), false, true, 0, std::move(why)}; }

FlowResult failed(std::string name, const Stopwatch& w, std::string why) { return {std::move(name), false, false, w.seconds(), std::move(why)}; }

Task<Result<std::string>> run(net::EventLoop& loop, std::vector<std::string> argv, std::string directory) {
  net::ProcessOptions o;
  std::string text = join(argv, " ");
  o.argv = std::move(argv);
  o.directory = std::move(directory);
  auto r = co_await net::run_process(loop, std::move(o), "", 60s);
  if (!r.ok()) co_return std::move(r).error();
  if (r->exit.code != 0) co_return internal("`" + text + "` failed (" + std::to_string(r->exit.code) + "): " + std::string(trim(r->err)));
  co_return r->out;
}

Task<Result<std::string>> fetch(FlowContext& c, std::vector<std::string> extra) {
  std::vector<std::string> argv = words("curl", "-sS", "--fail", "-m", "5");
  argv.insert(argv.end(), extra.begin(), extra.end());
  co_return co_await run(c.loop, std::move(argv));
}

std::string port_of(const std::string& address) { return address.substr(address.rfind(':') + 1); }

}  // namespace caravel::cli
