/*
 * pty PROGRAM ARG...: runs a program on a pseudo-terminal of 100 columns and 30 rows and copies both ways, as a terminal
 * emulator does. Ends with the program's status; when it is killed the terminal is gone, and the program gets SIGHUP.
 */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int copy(int from, int to) {
  char bytes[4096];
  ssize_t length = read(from, bytes, sizeof bytes);
  if (length < 0 && errno == EINTR) return 1;
  for (ssize_t at = 0; at < length;) {
    ssize_t written = write(to, bytes + at, length - at);
    if (written < 0) return 0;
    at += written;
  }
  return length > 0;
}

int main(int argc, char **argv) {
  struct winsize size = {.ws_row = 30, .ws_col = 100};
  int terminal, status, input = 0;
  if (argc < 2) return 2;
  pid_t child = forkpty(&terminal, NULL, NULL, &size);
  if (child < 0) return 2;
  if (child == 0) {
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    _exit(127);
  }
  for (;;) {
    struct pollfd polled[] = {{.fd = terminal, .events = POLLIN}, {.fd = input, .events = POLLIN}};
    if (poll(polled, 2, -1) < 0 && errno != EINTR) break;
    if (polled[0].revents && !copy(terminal, 1)) break; /* EIO: the program closed its side */
    if (polled[1].revents && !copy(0, terminal)) input = -1;
  }
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
