/* The part of the simulated libcuda for more than one GPU and for long loads; cuda.c includes it.
   All GPUs share the host's memory, so a copy from peer to peer is a copy. Faults:
     peer.corrupt n       byte n of a copy to a peer is altered
     peer.nothing         a copy to a peer writes nothing
     peer.denied          no GPU can reach another one
     burn.wrong n         thread n-1 of the load ends with another number
     burn.nothing         the load computes nothing
   Key: rate.burn, Tflop/s in FP32 that the load reaches. */

EXPORT CUresult cuStreamCreate(void **out, unsigned flags) {
  ENTER_CONTEXT(cuStreamCreate);
  static int streams[64], made;
  *out = &streams[made++ % 64];
  return 0;
}

EXPORT CUresult cuStreamSynchronize(void *stream) { ENTER_CONTEXT(cuStreamSynchronize); return 0; }

EXPORT CUresult cuStreamDestroy_v2(void *stream) { ENTER_CONTEXT(cuStreamDestroy_v2); return 0; }

EXPORT CUresult cuDeviceCanAccessPeer(int *can, int device, int peer) {
  ENTER_CONTEXT(cuDeviceCanAccessPeer);
  *can = device != peer && !fault("peer.denied");
  return 0;
}

EXPORT CUresult cuCtxEnablePeerAccess(void *peer, unsigned flags) {
  ENTER_CONTEXT(cuCtxEnablePeerAccess);
  return 0;
}

EXPORT CUresult cuMemcpyPeer(CUdeviceptr to, void *to_context, CUdeviceptr from, void *from_context,
                             size_t size) {
  ENTER_CONTEXT(cuMemcpyPeer);
  if (!inside(to, size) || !inside(from, size)) return INVALID_VALUE;
  if (!fault("peer.nothing")) memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, size);
  size_t byte = (size_t)fault("peer.corrupt");
  if (byte && byte < size) ((unsigned char *)(uintptr_t)to)[byte] ^= 4;
  now += size / (conf_number("peer.gbs", 400) * 1e9);
  return 0;
}

/* Seconds that the load has run, for the simulated NVML in the same process. */
EXPORT double cudactl_burned;

/* cudactl_burn(out, rounds): each thread turns its number around an even number of times. */
static CUresult burn(const uint64_t *a, unsigned grid, unsigned block) {
  float *out = (float *)(uintptr_t)a[0];
  uint32_t rounds = (uint32_t)a[1];
  uint64_t threads = (uint64_t)grid * block;
  if (!inside(a[0], threads * 4)) return lost = ILLEGAL_ADDRESS;
  uint64_t computed = fault("burn.nothing") ? 0 : threads;
  for (uint64_t i = 0; i < computed; i++)
    out[i] = (float)(1048573u + i % 4096 * 512u) * 2;
  uint64_t wrong = (uint64_t)fault("burn.wrong");
  if (wrong && wrong <= threads) out[wrong - 1] += 512;
  double seconds = threads * (double)rounds * 64 * 2 / (conf_number("rate.burn", 55) * 1e12);
  now += seconds;
  cudactl_burned += seconds;
  struct timespec wait = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
  nanosleep(&wait, 0); /* a load that takes no time would draw no energy */
  return 0;
}
