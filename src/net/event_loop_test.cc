#include "net/event_loop.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

namespace caravel::net {
namespace {

Task<int> sum_later(EventLoop& loop) {
  co_await sleep(loop, 20ms);
  std::function<int()> work = [] { return 20; };
  int a = co_await run_blocking<int>(loop, work);
  co_await yield(loop);
  co_return a + 1;
}

TEST(EventLoop, runs_timers_workers_and_can_be_run_again) {
  EventLoop loop;
  Time start = loop.now();
  EXPECT_EQ(run_on(loop, sum_later(loop)), 21);
  EXPECT_GE(loop.now() - start, Duration(20ms));
  EXPECT_LT(loop.now() - start, Duration(2s));
  EXPECT_EQ(run_on(loop, sum_later(loop)), 21);
}

Task<int> immediate() { co_return 7; }
TEST(EventLoop, a_task_that_never_suspends_leaves_no_stop_behind) {
  EventLoop loop;
  EXPECT_EQ(run_on(loop, immediate()), 7);
  EXPECT_EQ(run_on(loop, sum_later(loop)), 21);
}

TEST(EventLoop, posts_from_other_threads_and_stop_before_run) {
  EventLoop loop;
  std::atomic<int> hits = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j)
        loop.post([&] {
          if (++hits == 4000) loop.stop();
        });
    });
  loop.run();
  for (auto& t : threads) t.join();
  EXPECT_EQ(hits, 4000);
  loop.stop();
  loop.run();  // returns at once
}

TEST(EventLoop, cancelled_timers_do_not_run_and_order_is_by_time) {
  EventLoop loop;
  std::string order;
  loop.run_after(30ms, [&] { order += "c"; loop.stop(); });
  loop.run_after(10ms, [&] { order += "a"; });
  auto id = loop.run_after(15ms, [&] { order += "x"; });
  loop.run_after(20ms, [&] { order += "b"; });
  loop.cancel(id);
  for (int i = 0; i < 10'000; ++i) loop.cancel(loop.run_after(1h, [] {}));
  loop.run();
  EXPECT_EQ(order, "abc");
}

Task<bool> wait_readable(EventLoop& loop, int fd) {
  Status s = co_await loop.readable(fd);
  co_return s.ok();
}
Task<void> note(EventLoop& loop, int fd, std::vector<bool>* out) {
  bool good = co_await wait_readable(loop, fd);
  out->push_back(good);
  loop.stop();
}

TEST(EventLoop, readable_is_level_triggered_and_forget_wakes_with_an_error) {
  EventLoop loop;
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  ASSERT_EQ(write(fds[1], "xy", 2), 2);
  EXPECT_TRUE(run_on(loop, wait_readable(loop, fds[0])));
  char c;
  ASSERT_EQ(read(fds[0], &c, 1), 1);
  EXPECT_TRUE(run_on(loop, wait_readable(loop, fds[0])));  // still one byte there
  ASSERT_EQ(read(fds[0], &c, 1), 1);
  std::vector<bool> out;
  TaskScope scope;
  scope.spawn(note(loop, fds[0], &out));
  loop.run_after(10ms, [&] { loop.forget(fds[0]); });
  loop.run();
  EXPECT_EQ(out, std::vector<bool>{false});
  {
    TaskScope dropped;  // a destroyed waiter leaves nothing behind
    dropped.spawn(note(loop, fds[0], &out));
  }
  ASSERT_EQ(write(fds[1], "z", 1), 1);
  loop.run_after(10ms, [&] { loop.stop(); });
  loop.run();
  EXPECT_EQ(out.size(), 1u);
  loop.forget(fds[0]);
  close(fds[0]);
  close(fds[1]);
}

TEST(EventLoop, signals_arrive_on_the_loop) {
  EventLoop loop;
  int hits = 0;
  loop.handle_signal(SIGUSR1, [&] {
    ++hits;
    loop.stop();
  });
  loop.post([] { raise(SIGUSR1); });
  loop.run();
  EXPECT_EQ(hits, 1);
}

}  // namespace
}  // namespace caravel::net
