/* libnvrtc: knows one kernel, and makes "machine code" that names the architecture it is for.
   Faults: nvrtc.version (×10: 129 is 12.9), nvrtc.architecture (it knows none), nvrtc.status,
   nvrtc.empty (no code), nvrtc.other (code for another GPU). */
#include "conf.h"

typedef struct { char architecture[16], log[256]; } program;

EXPORT int nvrtcVersion(int *major, int *minor) {
  int version = (int)fault("nvrtc.version");
  if (!version) version = (int)conf_number("driver.cuda", 13000) / 100;
  *major = version / 10, *minor = version % 10;
  return 0;
}
EXPORT int nvrtcCreateProgram(void **made, const char *source, const char *name, int headers,
                              const char *const *texts, const char *const *names) {
  misbehave("nvrtcCreateProgram");
  if (!strstr(source, "cudactl_check")) return 3;
  *made = calloc(1, sizeof(program));
  return 0;
}
EXPORT int nvrtcDestroyProgram(void **made) { return free(*made), 0; }
EXPORT int nvrtcCompileProgram(void *made, int count, const char *const *options) {
  misbehave("nvrtcCompileProgram");
  program *one = made;
  for (int i = 0; i < count; i++)
    if (!strncmp(options[i], "--gpu-architecture=", 19))
      snprintf(one->architecture, sizeof one->architecture, "%s", options[i] + 19);
  if (fault("nvrtc.architecture")) {
    snprintf(one->log, sizeof one->log,
             "nvrtc: error: invalid value for --gpu-architecture (-arch)");
    return 5;
  }
  if (fault("nvrtc.other")) snprintf(one->architecture, sizeof one->architecture, "sm_50");
  return (int)fault("nvrtc.status");
}
EXPORT int nvrtcGetCUBINSize(void *made, size_t *size) {
  return *size = fault("nvrtc.empty") ? 0 : 64, 0;
}
EXPORT int nvrtcGetCUBIN(void *made, char *code) {
  if (fault("nvrtc.empty")) return 0;
  memset(code, 0, 64);
  snprintf(code, 64, "CUDACTL-CODE %s", ((program *)made)->architecture);
  return 0;
}
EXPORT int nvrtcGetProgramLogSize(void *made, size_t *size) {
  return *size = strlen(((program *)made)->log) + 1, 0;
}
EXPORT int nvrtcGetProgramLog(void *made, char *log) {
  return strcpy(log, ((program *)made)->log), 0;
}
EXPORT const char *nvrtcGetErrorString(int code) {
  return code == 5 ? "NVRTC_ERROR_INVALID_OPTION"
         : code == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_INTERNAL_ERROR";
}
