/* The part of libcuda that runs what the simulated NVRTC made: one kernel (xorshift, four rounds).
   Faults: kernel.flip_bit, kernel.nothing, kernel.half (the blocks of half the SMs do not run),
   kernel.rounds (one round too few), kernel.status (of the launch). */
#include "conf.h"

EXPORT int cuModuleLoadData(void **module, const void *code) {
  misbehave("cuModuleLoadData");
  char wanted[64];
  const char *cc = conf_text("gpu.cc", "9.0");
  snprintf(wanted, sizeof wanted, "CUDACTL-CODE sm_%d%d", atoi(cc), atoi(strchr(cc, '.') + 1));
  if (strncmp(code, "CUDACTL-CODE", 12)) return 200;
  if (strcmp(code, wanted)) return 209;
  *module = (void *)1;
  return 0;
}
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
  *function = (void *)2;
  return strcmp(name, "cudactl_check") ? 500 : 0;
}
EXPORT int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                          unsigned by, unsigned bz, unsigned shared, void *stream, void **given,
                          void **extra) {
  misbehave("cuLaunchKernel");
  const uint32_t *in = *(uint32_t **)given[0];
  uint32_t *out = *(uint32_t **)given[1], count = *(uint32_t *)given[2];
  if (fault("kernel.status")) return (int)fault("kernel.status");
  if (fault("kernel.nothing")) return 0;
  for (uint32_t i = 0; i < gx * bx && i < count; i++) {
    if (fault("kernel.half") && i / bx % 2) continue;
    uint32_t x = in[i];
    for (int round = fault("kernel.rounds") ? 1 : 0; round < 4; round++)
      x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    out[i] = x + i;
  }
  if (fault("kernel.flip_bit")) out[count / 3] ^= 1u << 17;
  return 0;
}
EXPORT int cuCtxSynchronize(void) { return misbehave("cuCtxSynchronize"), 0; }
