/* libcuda.so.1 of a simulated GPU: memory is the host's, our kernels are known by name and computed
   here, and time is what the GPU of the conf file would need. Faults (fault.NAME in the conf):
     code.CALL n            the call answers n
     memory.flip_bit n      the word at byte n of the walked memory has one bit flipped when read
     memory.stuck n         bit 3 of that word always reads 0
     memory.alias n         an address line is stuck: words above byte n land n bytes below
     memory.lost_writes     nothing is written by the fill kernel
     memory.blind           the verify kernel never looks
     compute.wrong n        the f32 product is off by one in one element on SM n-1
     compute.nan, .zero     the f32 product is NaN / all zeros, everywhere
     compute.blind          the products are never compared
     sm.lost n              SM n-1 never executes anything; others take its blocks
     blocks.lost n          n blocks of every launch never run
     copy.corrupt n         byte n of a copy from the device is altered
     copy.short n           a copy within the device leaves its last n bytes out
     copy.nothing           a copy to the device writes nothing
     jit.unsupported        the driver does not know the PTX version (222)
     slow.memory x, slow.link x   memory, or the way to the host, is x times as slow
     memory.small n         no allocation beyond n bytes in all
     elsewhere              another PCI address than the conf's
   Keys of the GPU beyond conf.h's: gpu.memory_gbs, gpu.link_gbs, gpu.visible. */
#include "conf.h"
#include <strings.h>

typedef int CUresult;
typedef uint64_t CUdeviceptr;
enum { OUT_OF_MEMORY = 2, INVALID_VALUE = 1, NO_DEVICE = 100, INVALID_DEVICE = 101,
       UNSUPPORTED_PTX = 222, INVALID_HANDLE = 400, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700 };

static CUresult lost; /* a sticky error: the context is gone, and every call says why */

static CUresult entered(const char *call) {
  char name[128];
  misbehave(call);
  snprintf(name, sizeof name, "code.%s", call);
  CUresult code = (CUresult)fault(name);
  if (code == ILLEGAL_ADDRESS || code == 214 || code == 719) lost = code;
  return code;
}

#define ENTER(call) do { CUresult code = entered(#call); if (code) return code; } while (0)
#define ENTER_CONTEXT(call) do { ENTER(call); if (lost) return lost; } while (0)

/* --- errors --- */

static const struct { int code; const char *name, *text; } ERRORS[] = {
  {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
  {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
  {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
  {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
  {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
  {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
  {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
  {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
  {221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "PTX JIT compiler library not found"},
  {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
   "the provided PTX was compiled with an unsupported toolchain."},
  {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
  {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
  {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
  {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
  {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
  {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
  {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static const char *said(int code, int text) {
  for (unsigned i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
    if (ERRORS[i].code == code) return text ? ERRORS[i].text : ERRORS[i].name;
  return 0;
}

EXPORT CUresult cuGetErrorName(int code, const char **out) {
  *out = said(code, 0);
  return *out ? 0 : INVALID_VALUE;
}

EXPORT CUresult cuGetErrorString(int code, const char **out) {
  *out = said(code, 1);
  return *out ? 0 : INVALID_VALUE;
}

/* --- devices --- */

EXPORT CUresult cuInit(unsigned flags) { ENTER(cuInit); return flags ? INVALID_VALUE : 0; }

EXPORT CUresult cuDriverGetVersion(int *version) {
  ENTER(cuDriverGetVersion);
  *version = (int)conf_number("driver.cuda", 13000);
  return 0;
}

EXPORT CUresult cuDeviceGetCount(int *count) {
  ENTER(cuDeviceGetCount);
  *count = (int)conf_number("gpu.visible", 1);
  return 0;
}

EXPORT CUresult cuDeviceGet(int *device, int ordinal) {
  ENTER(cuDeviceGet);
  if (ordinal < 0 || ordinal >= conf_number("gpu.visible", 1)) return INVALID_DEVICE;
  *device = ordinal;
  return 0;
}

/* The conf's GPU is the last of the visible ones. */
EXPORT CUresult cuDeviceGetByPCIBusId(int *device, const char *address) {
  ENTER(cuDeviceGetByPCIBusId);
  if (strcasecmp(address, conf_text("gpu.address", ""))) return INVALID_DEVICE;
  *device = (int)conf_number("gpu.visible", 1) - 1;
  return 0;
}

EXPORT CUresult cuDeviceGetPCIBusId(char *out, int room, int device) {
  ENTER(cuDeviceGetPCIBusId);
  int other = fault("elsewhere") || device != (int)conf_number("gpu.visible", 1) - 1;
  snprintf(out, room, "%s", other ? "0000:EE:00.0" : conf_text("gpu.address", ""));
  return 0;
}

EXPORT CUresult cuDeviceGetName(char *out, int room, int device) {
  ENTER(cuDeviceGetName);
  snprintf(out, room, "%s", conf_text("gpu.name", "?"));
  return 0;
}

EXPORT CUresult cuDeviceGetUuid(unsigned char *out, int device) {
  ENTER(cuDeviceGetUuid);
  static const char digits[] = "0123456789abcdef";
  const char *text = conf_text("gpu.uuid", "");
  int at = 0;
  for (text = strchr(text, '-'); text && *text && at < 32; text++) {
    const char *digit = strchr(digits, *text);
    if (!digit) continue;
    int value = (int)(digit - digits);
    out[at / 2] = (unsigned char)(at % 2 ? out[at / 2] | value : value << 4);
    at++;
  }
  return at == 32 ? 0 : INVALID_VALUE;
}

EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
  ENTER(cuDeviceGetAttribute);
  const char *cc = conf_text("gpu.cc", "0.0");
  int major = atoi(cc), minor = strchr(cc, '.') ? atoi(strchr(cc, '.') + 1) : 0;
  switch (attribute) {
    case 13: *value = (int)conf_number("gpu.clock_khz", 1980000); return 0;
    case 16: *value = (int)conf_number("gpu.sm_count", 1); return 0;
    case 18: *value = 0; return 0;
    case 20: *value = 0; return 0;
    case 32: *value = (int)conf_number("gpu.ecc", 1); return 0;
    case 36: *value = (int)conf_number("gpu.memory_clock_khz", 3201000); return 0;
    case 37: *value = (int)conf_number("gpu.memory_bus_bits", 6144); return 0;
    case 38: *value = (int)conf_number("gpu.l2_bytes", 62914560); return 0;
    case 40: *value = 3; return 0;
    case 75: *value = major; return 0;
    case 76: *value = minor; return 0;
  }
  return INVALID_VALUE;
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t *total, int device) {
  ENTER(cuDeviceTotalMem_v2);
  *total = (size_t)conf_number("gpu.memory_bytes", 1 << 30);
  return 0;
}

static int context;

EXPORT CUresult cuDevicePrimaryCtxRetain(void **out, int device) {
  ENTER(cuDevicePrimaryCtxRetain);
  *out = &context;
  return 0;
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(int device) {
  ENTER(cuDevicePrimaryCtxRelease_v2);
  return 0;
}

EXPORT CUresult cuCtxSetCurrent(void *handle) {
  ENTER(cuCtxSetCurrent);
  return handle == &context || !handle ? 0 : INVALID_HANDLE;
}

EXPORT CUresult cuCtxSynchronize(void) { ENTER_CONTEXT(cuCtxSynchronize); return 0; }

/* --- memory --- */

#define MOST_BLOCKS 4096
static struct { char *at; size_t size; } blocks[MOST_BLOCKS];
static int block_count;
static size_t used;

static double total_memory(void) {
  double small = fault("memory.small");
  return small > 0 ? small : conf_number("gpu.memory_bytes", 1 << 30);
}

EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  ENTER_CONTEXT(cuMemGetInfo_v2);
  *total = (size_t)conf_number("gpu.memory_bytes", 1 << 30);
  *free_bytes = *total - used - *total / 256;
  return 0;
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t size) {
  ENTER_CONTEXT(cuMemAlloc_v2);
  if (!size) return INVALID_VALUE;
  if (block_count == MOST_BLOCKS || used + size > total_memory()) return OUT_OF_MEMORY;
  char *at = aligned_alloc(512, (size + 511) / 512 * 512);
  if (!at) return OUT_OF_MEMORY;
  memset(at, 0xCD, size); /* what was there before */
  blocks[block_count].at = at;
  blocks[block_count++].size = size;
  used += size;
  *out = (CUdeviceptr)(uintptr_t)at;
  return 0;
}

static int inside(CUdeviceptr pointer, size_t size) {
  char *at = (char *)(uintptr_t)pointer;
  for (int i = 0; i < block_count; i++)
    if (at >= blocks[i].at && at + size <= blocks[i].at + blocks[i].size) return 1;
  return 0;
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer) {
  ENTER_CONTEXT(cuMemFree_v2);
  for (int i = 0; i < block_count; i++) {
    if (blocks[i].at != (char *)(uintptr_t)pointer) continue;
    used -= blocks[i].size;
    free(blocks[i].at);
    blocks[i] = blocks[--block_count];
    return 0;
  }
  return INVALID_VALUE;
}

EXPORT CUresult cuMemHostAlloc(void **out, size_t size, unsigned flags) {
  ENTER_CONTEXT(cuMemHostAlloc);
  *out = malloc(size);
  return *out ? 0 : OUT_OF_MEMORY;
}

EXPORT CUresult cuMemFreeHost(void *pointer) {
  ENTER_CONTEXT(cuMemFreeHost);
  free(pointer);
  return 0;
}

/* --- time: what the GPU would have needed, seconds --- */

static double now;

static double slower(const char *name) {
  double times = fault(name);
  return times > 0 ? times : 1;
}

static void moved(double bytes) {
  now += bytes / (conf_number("gpu.memory_gbs", 4100) * 1e9) * slower("slow.memory");
}

static void crossed(double bytes) {
  now += bytes / (conf_number("gpu.link_gbs", 55) * 1e9) * slower("slow.link");
}

struct event { double at; };

EXPORT CUresult cuEventCreate(struct event **out, unsigned flags) {
  ENTER_CONTEXT(cuEventCreate);
  *out = calloc(1, sizeof **out);
  return *out ? 0 : OUT_OF_MEMORY;
}

EXPORT CUresult cuEventRecord(struct event *event, void *stream) {
  ENTER_CONTEXT(cuEventRecord);
  event->at = now;
  return 0;
}

EXPORT CUresult cuEventSynchronize(struct event *event) {
  ENTER_CONTEXT(cuEventSynchronize);
  return 0;
}

EXPORT CUresult cuEventElapsedTime(float *out, struct event *begin, struct event *end) {
  ENTER_CONTEXT(cuEventElapsedTime);
  *out = (float)((end->at - begin->at) * 1e3);
  return 0;
}

EXPORT CUresult cuEventDestroy_v2(struct event *event) {
  ENTER(cuEventDestroy_v2);
  free(event);
  return 0;
}

/* --- copies --- */

static CUresult to_device(CUdeviceptr to, const void *from, size_t size) {
  if (!inside(to, size)) return INVALID_VALUE;
  /* Small ones carry the probe's own tables; a fault of the link shows in bulk. */
  if (!(fault("copy.nothing") && size >= 65536)) memcpy((void *)(uintptr_t)to, from, size);
  crossed(size);
  return 0;
}

static CUresult from_device(void *to, CUdeviceptr from, size_t size) {
  if (!inside(from, size)) return INVALID_VALUE;
  memcpy(to, (void *)(uintptr_t)from, size);
  double byte = fault("copy.corrupt");
  if (byte > 0 && size >= 65536 && byte < size) ((unsigned char *)to)[(size_t)byte] ^= 0x10;
  crossed(size);
  return 0;
}

static CUresult within(CUdeviceptr to, CUdeviceptr from, size_t size) {
  if (!inside(to, size) || !inside(from, size)) return INVALID_VALUE;
  size_t left_out = (size_t)fault("copy.short");
  memmove((void *)(uintptr_t)to, (void *)(uintptr_t)from, left_out < size ? size - left_out : 0);
  moved(2.0 * size);
  return 0;
}

EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) {
  ENTER_CONTEXT(cuMemcpyHtoD_v2);
  return to_device(to, from, size);
}
EXPORT CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) {
  ENTER_CONTEXT(cuMemcpyDtoH_v2);
  return from_device(to, from, size);
}
EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) {
  ENTER_CONTEXT(cuMemcpyDtoD_v2);
  return within(to, from, size);
}
EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, void *stream) {
  ENTER_CONTEXT(cuMemcpyHtoDAsync_v2);
  return to_device(to, from, size);
}
EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, void *stream) {
  ENTER_CONTEXT(cuMemcpyDtoHAsync_v2);
  return from_device(to, from, size);
}
EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, void *stream) {
  ENTER_CONTEXT(cuMemcpyDtoDAsync_v2);
  return within(to, from, size);
}
EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t size) {
  ENTER_CONTEXT(cuMemsetD8_v2);
  if (!inside(to, size)) return INVALID_VALUE;
  memset((void *)(uintptr_t)to, value, size);
  return 0;
}

/* --- kernels --- */

static const char *const KERNELS[] = {"cudactl_fill", "cudactl_verify", "cudactl_matmul_s32",
                                      "cudactl_matmul_f32", "cudactl_matmul_f64", "cudactl_burn"};
static char *source;

EXPORT CUresult cuModuleLoadDataEx(void **out, const void *image, unsigned count, int *options,
                                   void **values) {
  ENTER_CONTEXT(cuModuleLoadDataEx);
  if (fault("jit.unsupported") || strncmp(image, ".version", 8)) {
    for (unsigned i = 0; i < count; i++)
      if (options[i] == 5)
        snprintf(values[i], 200, "ptxas application ptx input, line 1; fatal   : "
                 "Unsupported .version 6.0; current version is '5.0'");
    return UNSUPPORTED_PTX;
  }
  source = strdup(image);
  *out = &source;
  return 0;
}

EXPORT CUresult cuModuleUnload(void *module) { ENTER_CONTEXT(cuModuleUnload); return 0; }

EXPORT CUresult cuModuleGetFunction(void **out, void *module, const char *name) {
  ENTER_CONTEXT(cuModuleGetFunction);
  char entry[128];
  snprintf(entry, sizeof entry, ".entry %s(", name);
  if (module != &source || !strstr(source, entry)) return NOT_FOUND;
  for (unsigned i = 0; i < sizeof KERNELS / sizeof *KERNELS; i++)
    if (!strcmp(name, KERNELS[i])) {
      *out = (void *)KERNELS[i];
      return 0;
    }
  return NOT_FOUND;
}

/* Where a word really lies when an address line is stuck. */
static uint64_t *cell(uint64_t address, uint64_t base, uint64_t line) {
  if (line && address - base >= line && address - base < 2 * line) address -= line;
  return (uint64_t *)(uintptr_t)address;
}

static uint64_t pattern(uint64_t address, const uint64_t *arguments) {
  return (address & arguments[2]) ^ arguments[3];
}

static CUresult fill(const uint64_t *a) {
  uint64_t line = (uint64_t)fault("memory.alias");
  if (!inside(a[0], a[1] * 16)) return lost = ILLEGAL_ADDRESS;
  if (!fault("memory.lost_writes"))
    for (uint64_t at = a[0]; at < a[0] + a[1] * 16; at += 8)
      *cell(at, a[0], line) = pattern(at, a);
  moved(a[1] * 16.0);
  return 0;
}

static CUresult verify(const uint64_t *a) {
  if (!inside(a[0], a[1] * 16) || !inside(a[4], 64)) return lost = ILLEGAL_ADDRESS;
  uint64_t *report = (uint64_t *)(uintptr_t)a[4];
  uint64_t flipped = (uint64_t)fault("memory.flip_bit"), stuck = (uint64_t)fault("memory.stuck");
  uint64_t line = (uint64_t)fault("memory.alias");
  moved(a[1] * 16.0);
  if (fault("memory.blind")) return 0;
  for (uint64_t at = a[0]; at < a[0] + a[1] * 16; at += 8) {
    uint64_t found = *cell(at, a[0], line), expected = pattern(at, a);
    if (flipped && at - a[0] == flipped / 8 * 8) found ^= 1ull << 40;
    if (stuck && at - a[0] == stuck / 8 * 8) found &= ~(1ull << 3);
    if (found == expected) continue;
    report[0]++;
    report[4] |= found ^ expected;
    if (!report[1]) {
      report[1] = at;
      report[2] = expected;
      report[3] = found;
    }
  }
  return 0;
}

enum { ROWS = 32, COLUMNS = 32, DEPTH = 64, SLOTS = 4096 };

static void note(uint64_t *report, uint32_t *wrong, int sm, int element, uint64_t expected,
                 uint64_t found) {
  report[0]++;
  wrong[sm]++;
  if (report[1]) return;
  report[1] = sm + 1;
  report[2] = expected;
  report[3] = found;
  report[5] = element;
}

static int computes(int sm, int count) { return (int)fault("sm.lost") - 1 != sm % count; }

static CUresult matmul(const char *kind, const uint64_t *a, unsigned grid) {
  int size = kind[0] == 'f' && kind[1] == '6' ? 8 : 4, count = (int)conf_number("gpu.sm_count", 1);
  int elements = (ROWS + COLUMNS) * DEPTH, f32 = !strcmp(kind, "f32");
  if (!inside(a[0], elements * size) || !inside(a[1], ROWS * COLUMNS * size) ||
      !inside(a[2], SLOTS * 4) || !inside(a[3], SLOTS * 4) || !inside(a[4], 64))
    return lost = ILLEGAL_ADDRESS;
  unsigned char *inputs = (void *)(uintptr_t)a[0], *expected = (void *)(uintptr_t)a[1];
  uint32_t *visited = (void *)(uintptr_t)a[2], *wrong = (void *)(uintptr_t)a[3];
  uint64_t *report = (void *)(uintptr_t)a[4];
  static uint64_t product[ROWS * COLUMNS];
  for (int row = 0; row < ROWS; row++)
    for (int column = 0; column < COLUMNS; column++) {
      int64_t whole = 0;
      for (int k = 0; k < DEPTH; k++) {
        int x = row * DEPTH + k, y = ROWS * DEPTH + k * COLUMNS + column;
        if (size == 8) whole += (int64_t)(((double *)inputs)[x] * ((double *)inputs)[y]);
        else if (f32) whole += (int64_t)(((float *)inputs)[x] * ((float *)inputs)[y]);
        else whole += (int64_t)((int32_t *)inputs)[x] * ((int32_t *)inputs)[y];
      }
      double real = (double)whole;
      float single = (float)whole;
      uint32_t bits = (uint32_t)(int32_t)whole;
      uint64_t *out = &product[row * COLUMNS + column];
      *out = 0;
      if (f32 && fault("compute.nan")) single = NAN;
      if (f32 && fault("compute.zero")) single = 0;
      if (size == 8) memcpy(out, &real, 8);
      else if (f32) memcpy(out, &single, 4);
      else memcpy(out, &bits, 4);
    }
  unsigned left_out = (unsigned)fault("blocks.lost");
  int bad = (int)fault("compute.wrong") - 1, sm = 0;
  for (unsigned block = left_out; block < grid; block++, sm = (sm + 1) % count) {
    if (!computes(sm, count)) sm = (sm + 1) % count;
    visited[sm]++;
    if (fault("compute.blind")) continue;
    for (int i = 0; i < ROWS * COLUMNS; i++) {
      uint64_t found = product[i], right = 0;
      memcpy(&right, expected + i * size, size);
      if (f32 && sm == bad && i == 5) {
        float off;
        memcpy(&off, &found, 4);
        off += 1;
        memcpy(&found, &off, 4);
      }
      if (found != right) note(report, wrong, sm, i, right, found);
    }
  }
  now += 5e-6;
  return 0;
}

#include "peers.h"

EXPORT CUresult cuLaunchKernel(const char *kernel, unsigned gx, unsigned gy, unsigned gz,
                               unsigned bx, unsigned by, unsigned bz, unsigned shared,
                               void *stream, void **parameters, void **extra) {
  ENTER_CONTEXT(cuLaunchKernel);
  if (!strcmp(kernel, "cudactl_burn")) {
    uint64_t two[2] = {0, 0};
    memcpy(&two[0], parameters[0], 8);
    memcpy(&two[1], parameters[1], 4);
    return burn(two, gx, bx);
  }
  uint64_t arguments[5];
  for (int i = 0; i < (strcmp(kernel, "cudactl_fill") ? 5 : 4); i++)
    memcpy(&arguments[i], parameters[i], 8);
  if (!strcmp(kernel, "cudactl_fill")) return fill(arguments);
  if (!strcmp(kernel, "cudactl_verify")) return verify(arguments);
  return matmul(kernel + strlen("cudactl_matmul_"), arguments, gx);
}
