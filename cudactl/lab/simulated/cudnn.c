/* libcudnn: versions; no handle without a GPU (number[5] is that status: 1 in cuDNN 8, 1001 in 9). */
#include "mark.h"
EXPORT unsigned long cudnnGetVersion(void) { return (unsigned long)NUMBER(0); }
EXPORT unsigned long cudnnGetCudartVersion(void) { return (unsigned long)NUMBER(4); }
EXPORT int cudnnGetProperty(int type, int *value) { return get_property(type, value); }
EXPORT int cudnnCreate(void **handle) { *handle = 0; return NUMBER(5); }
EXPORT int cudnnDestroy(void *handle) { (void)handle; return NUMBER(5); }
EXPORT const char *cudnnGetErrorString(int status) {
  return status == 0           ? "CUDNN_STATUS_SUCCESS"
         : status == NUMBER(5) ? "CUDNN_STATUS_NOT_INITIALIZED"
                               : "CUDNN_UNKNOWN_STATUS";
}
