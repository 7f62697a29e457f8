/* libnccl.so.2 over simulated GPUs: every GPU's memory is the host's, so a sum is a sum.
   Faults: nccl.wrong n (element n-1 of the last GPU is off by one), nccl.left_out (the last GPU's
   part is missing), nccl.nan, nccl.zero, nccl.nothing, nccl.one_rank (only the first GPU gets the
   result), nccl.half (the second half is not written), nccl.status n (of the sum), nccl.init n,
   nccl.version n, nccl.slow s (seconds per sum). */
#include "conf.h"

#define MOST 64
enum { INT32 = 2, FLOAT16 = 6, FLOAT32 = 7, BFLOAT16 = 9 };
struct comm { int rank, ranks; };
static struct { const void *in; void *out; size_t count; int kind; struct comm *comm; } asked[MOST];
static int group, waiting;

EXPORT int ncclGetVersion(int *version) {
  misbehave("ncclGetVersion");
  double other = fault("nccl.version");
  *version = (int)(other > 0 ? other : conf_number("nccl.version", 22703));
  return 0;
}

EXPORT const char *ncclGetErrorString(int code) {
  return code == 0 ? "no error" : code == 1 ? "unhandled cuda error (run with NCCL_DEBUG=INFO for details)"
       : code == 2 ? "unhandled system error (run with NCCL_DEBUG=INFO for details)"
       : code == 3 ? "internal error - please report this issue to the NCCL developers"
       : "unknown result code";
}

EXPORT int ncclCommInitAll(struct comm **comms, int ranks, const int *devices) {
  misbehave("ncclCommInitAll");
  if (fault("nccl.init")) return (int)fault("nccl.init");
  for (int i = 0; i < ranks; i++) {
    comms[i] = malloc(sizeof **comms);
    *comms[i] = (struct comm){i, ranks};
  }
  return 0;
}

EXPORT int ncclCommDestroy(struct comm *comm) { free(comm); return 0; }
EXPORT int ncclGroupStart(void) { group = 1; waiting = 0; return 0; }

static float get(const void *from, size_t i, int kind) {
  if (kind == FLOAT32) return ((const float *)from)[i];
  if (kind == FLOAT16) return (float)((const _Float16 *)from)[i];
  uint32_t bits = (uint32_t)((const uint16_t *)from)[i] << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static void put(void *to, size_t i, int kind, float value) {
  uint32_t bits;
  if (kind == FLOAT32) ((float *)to)[i] = value;
  else if (kind == FLOAT16) ((_Float16 *)to)[i] = (_Float16)value;
  else memcpy(&bits, &value, 4), ((uint16_t *)to)[i] = (uint16_t)(bits >> 16);
}

static void sum(int rank, int parts) {
  size_t count = asked[0].count;
  int kind = asked[0].kind, last = rank == waiting - 1;
  size_t end = fault("nccl.half") ? count / 2 : count;
  for (size_t i = 0; i < end; i++) {
    if (kind == INT32) {
      int32_t total = 0;
      for (int r = 0; r < parts; r++) total += ((const int32_t *)asked[r].in)[i];
      ((int32_t *)asked[rank].out)[i] = total;
    } else {
      float total = 0;
      for (int r = 0; r < parts; r++) total += get(asked[r].in, i, kind);
      put(asked[rank].out, i, kind, total);
    }
  }
  if (kind != FLOAT32) return;
  size_t wrong = (size_t)fault("nccl.wrong");
  float *out = asked[rank].out;
  if (last && wrong && wrong <= count) out[wrong - 1] += 1;
  if (fault("nccl.nan")) out[count / 2] = NAN;
  if (fault("nccl.zero")) memset(out, 0, count * 4);
}

EXPORT int ncclGroupEnd(void) {
  misbehave("ncclGroupEnd");
  group = 0;
  if (fault("nccl.status")) return (int)fault("nccl.status");
  double seconds = fault("nccl.slow");
  struct timespec wait = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
  if (seconds > 0) nanosleep(&wait, 0);
  if (!waiting || waiting != asked[0].comm->ranks) return 5;
  if (fault("nccl.nothing")) return 0;
  int parts = waiting - (fault("nccl.left_out") ? 1 : 0);
  for (int rank = 0; rank < (fault("nccl.one_rank") ? 1 : waiting); rank++) sum(rank, parts);
  return 0;
}

EXPORT int ncclAllReduce(const void *in, void *out, size_t count, int kind, int op,
                         struct comm *comm, void *stream) {
  misbehave("ncclAllReduce");
  if (!group || op != 0 || waiting == MOST || comm->rank != waiting) return 4;
  asked[waiting].in = in;
  asked[waiting].out = out;
  asked[waiting].count = count;
  asked[waiting].kind = kind;
  asked[waiting++].comm = comm;
  return 0;
}
