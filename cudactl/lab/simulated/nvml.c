/* libnvidia-ml: a driver that answers and sees no GPU. number[0] is the CUDA version it brings. */
#include "mark.h"
#define UNINITIALIZED 1
#define INVALID_ARGUMENT 2
#define INSUFFICIENT_SIZE 7
static int users;

EXPORT int nvmlInit_v2(void) { users++; return SUCCESS; }
EXPORT int nvmlInit(void) { return nvmlInit_v2(); }
EXPORT int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
EXPORT int nvmlShutdown(void) {
  if (!users) return UNINITIALIZED;
  users--;
  return SUCCESS;
}
EXPORT int nvmlSystemGetDriverVersion(char *text, unsigned room) {
  return !users ? UNINITIALIZED : room < 16 ? INSUFFICIENT_SIZE : put_text(text, room);
}
/* "13.580.95.05": CUDA major in front of the driver's version. */
EXPORT int nvmlSystemGetNVMLVersion(char *text, unsigned room) {
  if (room < 16) return INSUFFICIENT_SIZE;
  text[0] = '0' + NUMBER(0) / 10000;
  text[1] = '0' + NUMBER(0) / 1000 % 10;
  text[2] = '.';
  return put_text(text + 3, room - 3);
}
EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = NUMBER(0); return SUCCESS; }
EXPORT int nvmlSystemGetCudaDriverVersion(int *version) { *version = NUMBER(0); return SUCCESS; }
EXPORT int nvmlDeviceGetCount_v2(unsigned *count) {
  if (!users) return UNINITIALIZED;
  *count = 0;
  return SUCCESS;
}
EXPORT int nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  (void)index;
  *device = 0;
  return users ? INVALID_ARGUMENT : UNINITIALIZED;
}
EXPORT const char *nvmlErrorString(int status) {
  switch (status) {
    case 0: return "The operation was successful";
    case 1: return "NVML was not first initialized with nvmlInit()";
    case 2: return "A supplied argument is invalid";
    case 7: return "An input argument is not large enough";
    default: return "An internal driver error occurred";
  }
}
