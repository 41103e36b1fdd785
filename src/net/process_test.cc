#include "net/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace caravel::net {
namespace {

ProcessOptions shell(std::string script) {
  ProcessOptions o;
  o.argv = {"sh", "-c", script};
  return o;
}

TEST(Process, collects_output_input_and_exit_codes) {
  EventLoop loop;
  std::string big(3'000'000, 'x');
  auto r = run_on(loop, run_process(loop, shell("cat; echo err >&2; exit 3"), big));
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->exit.code, 3);
  EXPECT_EQ(r->out, big);
  EXPECT_EQ(r->err, "err\n");
  auto killed = run_on(loop, run_process(loop, shell("kill -9 $$")));
  EXPECT_EQ(killed->exit.signal, SIGKILL);
  EXPECT_EQ(killed->exit.code, 137);
}

TEST(Process, errors_name_the_program_and_the_step) {
  EventLoop loop;
  ProcessOptions o;
  o.argv = {"no-such-program-here"};
  auto p = spawn(loop, o);
  ASSERT_FALSE(p.ok());
  EXPECT_NE(p.error().message.find("no-such-program-here"), std::string::npos);
  o = shell("true");
  o.directory = "/no/such/dir";
  p = spawn(loop, o);
  ASSERT_FALSE(p.ok());
  EXPECT_EQ(p.error().message, "starting sh: changing to the working directory /no/such/dir: No such file or directory");
  EXPECT_EQ(p.error().code, Code::kNotFound);
}

TEST(Process, a_timeout_stops_it_and_a_grandchild_does_not_hold_it_up) {
  EventLoop loop;
  auto r = run_on(loop, run_process(loop, shell("exec sleep 100"), "", 200ms));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, Code::kTimeout);
  Time start = loop.now();
  r = run_on(loop, run_process(loop, shell("sleep 5 & echo done")));
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->out, "done\n");
  EXPECT_LT(loop.now() - start, Duration(3s));
}

TEST(Process, the_child_gets_exactly_the_named_descriptors_and_environment) {
  EventLoop loop;
  ProcessOptions o = shell("ls /proc/self/fd | tr '\\n' ' '; echo; cat <&7; echo \"$A\"; pwd");
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);  // not close-on-exec on purpose
  ASSERT_EQ(write(fds[1], "seven\n", 6), 6);
  close(fds[1]);
  o.fds = {{fds[0], 7}};
  o.environment = {{"A", "b c"}, {"PATH", "/usr/bin:/bin"}};
  o.directory = "/tmp";
  auto r = run_on(loop, run_process(loop, o));
  close(fds[0]);
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->out, "0 1 2 3 7 \nseven\nb c\n/tmp\n");  // 3 is ls's own
}

Task<std::string> terminal_session(EventLoop& loop) {
  ProcessOptions o = shell("stty size; read x; echo got $x; test -t 0 && echo tty");
  o.terminal = true;
  auto p = spawn(loop, o);
  if (!p.ok()) co_return p.error().message;
  Status s = (*p)->resize_terminal(100, 40);
  EXPECT_TRUE(s.ok());
  Status w = co_await (*p)->stdin_stream()->write("hello\n");
  EXPECT_TRUE(w.ok());
  std::string out;
  char b[256];
  for (;;) {
    auto n = co_await (*p)->stdout_stream()->read(b);
    if (!n.ok() || *n == 0) break;
    out.append(b, *n);
  }
  ExitStatus e = co_await (*p)->wait();
  out += std::to_string(e.code);
  co_return out;
}

TEST(Process, a_terminal_is_a_terminal) {
  EventLoop loop;
  std::string out = run_on(loop, terminal_session(loop));
  EXPECT_NE(out.find("got hello"), std::string::npos) << out;
  EXPECT_NE(out.find("tty"), std::string::npos) << out;
}

TEST(Process, destroying_kills_and_reaps) {
  EventLoop loop;
  auto p = spawn(loop, shell("exec sleep 1000"));
  ASSERT_TRUE(p.ok());
  pid_t pid = (*p)->pid();
  EXPECT_EQ(kill(pid, 0), 0);
  p->reset();
  EXPECT_NE(kill(pid, 0), 0);
}

Task<ExitStatus> stop_it(EventLoop& loop) {
  auto p = spawn(loop, shell("trap '' TERM; while :; do sleep 0.05; done"));
  co_await sleep(loop, 50ms);
  ExitStatus e = co_await (*p)->stop(100ms);
  co_return e;
}

TEST(Process, stop_escalates) {
  EventLoop loop;
  EXPECT_EQ(run_on(loop, stop_it(loop)).signal, SIGKILL);
}

TEST(Files, round_trip) {
  std::string dir = "/tmp/caravel-net-test-" + std::to_string(getpid());
  ASSERT_TRUE(make_directories(dir + "/a/b").ok());
  ASSERT_TRUE(write_file_atomic(dir + "/a/f", "one", 0600).ok());
  ASSERT_TRUE(write_file_atomic(dir + "/a/f", "two", 0600).ok());
  EXPECT_EQ(*read_file(dir + "/a/f"), "two");
  EXPECT_EQ(*list_directory(dir + "/a"), (std::vector<std::string>{"b", "f"}));
  EXPECT_FALSE(make_directories(dir + "/a/f/x").ok());
  EXPECT_TRUE(remove_tree(dir).ok());
  EXPECT_FALSE(path_exists(dir));
  EXPECT_EQ(read_file(dir).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace caravel::net
