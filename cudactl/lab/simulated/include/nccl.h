/* CUDACTL-SIMULATED-LIBRARY: declares what the lab's libnccl has, and nothing more. */
#ifndef CUDACTL_SIMULATED_NCCL_H
#define CUDACTL_SIMULATED_NCCL_H
#define NCCL_VERSION_CODE @NUMBER@
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { ncclSuccess = 0 } ncclResult_t;
ncclResult_t ncclGetVersion(int *version);
const char *ncclGetErrorString(ncclResult_t result);
#ifdef __cplusplus
}
#endif
#endif
