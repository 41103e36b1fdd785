// The first process of every pod: holds the pod's namespaces open and reaps orphans.
#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_child(int signo) {
  (void)signo;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}
static void on_stop(int signo) {
  (void)signo;
  _exit(0);
}

int main(void) {
  struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
  struct sigaction stop = {.sa_handler = on_stop};
  if (sigaction(SIGCHLD, &child, NULL) < 0 || sigaction(SIGTERM, &stop, NULL) < 0 || sigaction(SIGINT, &stop, NULL) < 0) return 1;
  for (;;) pause();
}
