/* A simulated GPU's own time: libcudart keeps it, and whoever computes moves it on by what the work
   would take at the rate that the conf gives. So a fast machine shows the same speeds as a slow one. */
#ifndef CUDACTL_CLOCK_H
#define CUDACTL_CLOCK_H
#include "conf.h"

/* Tflop/s that a healthy H200 could be expected to reach; "rate.KIND" in the conf says otherwise. */
__attribute__((unused)) static double clock_rate(const char *kind) {
  static const struct { const char *kind; double tflops; } known[] = {
    {"fp64", 55}, {"fp32", 50}, {"tf32", 380}, {"bf16", 780}, {"fp16", 770}, {"fp8", 1400},
    {"int8", 1300}, {"conv", 480}};
  char key[64];
  double other = 100;
  for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(known[i].kind, kind)) other = known[i].tflops;
  snprintf(key, sizeof key, "rate.%s", kind);
  return conf_number(key, other);
}

/* Faults: "speed.slow" and "speed.slow.KIND" divide the rate, "speed.jitter" makes it vary by that
   share, "speed.instant" takes no time at all. */
__attribute__((unused)) static void clock_work(const char *kind, double flops) {
  static void (*advance)(double);
  static unsigned turn;
  char name[64];
  double seconds = flops / (clock_rate(kind) * 1e12), by = fault("speed.slow");
  snprintf(name, sizeof name, "speed.slow.%s", kind);
  if (by > 0) seconds *= by;
  if (fault(name) > 0) seconds *= fault(name);
  if (fault("speed.jitter") > 0) seconds *= 1 + fault("speed.jitter") * (turn++ / 256 % 3);
  if (fault("speed.instant")) return;
  if (!advance) *(void **)&advance = dlsym(RTLD_DEFAULT, "cudactl_advance");
  if (advance) advance(seconds);
}

/* A fault of one kind of work: "NAME" hits all of them, "NAME.KIND" this one. */
__attribute__((unused)) static double fault_of(const char *name, const char *kind) {
  char key[128];
  double strength = fault(name);
  if (strength) return strength;
  snprintf(key, sizeof key, "%s.%s", name, kind);
  return fault(key);
}
#endif
