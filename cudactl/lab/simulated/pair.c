/* Libraries whose version call fills two numbers: nvrtcVersion, nvJitLinkVersion, nvFatbinVersion. */
#include "mark.h"
EXPORT int VERSION(int *major, int *minor) {
  *major = NUMBER(1);
  *minor = NUMBER(2);
  return SUCCESS;
}
#ifdef ERROR_STRING
EXPORT const char *ERROR_STRING(int error) { return error ? "simulated: not available" : "success"; }
#endif
