/* What a simulated GPU is, and what is wrong with it: "key value" lines in simulated-gpu.conf beside
   the library. Every library that includes this carries the lab's mark. Unlike the mirror's small
   libraries these compute on the processor, so they use the C library. */
#ifndef CUDACTL_CONF_H
#define CUDACTL_CONF_H
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
EXPORT const char cudactl_simulated[] = "CUDACTL-SIMULATED-LIBRARY";

static char conf_data[65536];
static int conf_read;

static void conf_load(void) {
  Dl_info info;
  char path[4096];
  conf_read = 1;
  if (!dladdr((void *)cudactl_simulated, &info) || !info.dli_fname) return;
  snprintf(path, sizeof path, "%s", info.dli_fname);
  char *slash = strrchr(path, '/');
  snprintf(slash ? slash + 1 : path, 64, "simulated-gpu.conf");
  FILE *file = fopen(path, "r");
  if (!file) return;
  size_t got = fread(conf_data, 1, sizeof conf_data - 1, file);
  conf_data[got] = 0;
  fclose(file);
}

/* The value of a key, or `other` where the file does not say. Valid until the next call. */
__attribute__((unused)) static const char *conf_text(const char *key, const char *other) {
  static char value[1024];
  if (!conf_read) conf_load();
  size_t length = strlen(key);
  for (char *line = conf_data; line && *line; line = strchr(line, '\n'), line += line ? 1 : 0) {
    if (strncmp(line, key, length) || line[length] != ' ') continue;
    size_t room = strcspn(line + length + 1, "\n");
    if (room >= sizeof value) room = sizeof value - 1;
    memcpy(value, line + length + 1, room);
    value[room] = 0;
    return value;
  }
  return other;
}

__attribute__((unused)) static double conf_number(const char *key, double other) {
  const char *text = conf_text(key, 0);
  return text ? strtod(text, 0) : other;
}

/* A fault's strength: 0 where it is not injected. "fault.NAME 1" injects it. */
__attribute__((unused)) static double fault(const char *name) {
  char key[256];
  snprintf(key, sizeof key, "fault.%s", name);
  return conf_number(key, 0);
}

/* Faults that every call of a library may have: it hangs, crashes, ends the process, is slow. */
__attribute__((unused)) static void misbehave(const char *call) {
  char name[256];
  snprintf(name, sizeof name, "hang.%s", call);
  if (fault(name)) for (;;) pause();
  snprintf(name, sizeof name, "crash.%s", call);
  if (fault(name)) raise(SIGSEGV);
  snprintf(name, sizeof name, "exit.%s", call);
  if (fault(name)) _exit(0);
  snprintf(name, sizeof name, "slow.%s", call);
  double seconds = fault(name);
  if (seconds > 0) {
    struct timespec wait = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&wait, 0);
  }
}

#endif
