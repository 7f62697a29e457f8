/* CUDACTL-SIMULATED-LIBRARY: declares what the lab's libnvidia-ml has, and nothing more. */
#ifndef CUDACTL_SIMULATED_NVML_H
#define CUDACTL_SIMULATED_NVML_H
#ifdef __cplusplus
extern "C" {
#endif
typedef int nvmlReturn_t;
nvmlReturn_t nvmlInit_v2(void);
nvmlReturn_t nvmlShutdown(void);
nvmlReturn_t nvmlSystemGetDriverVersion(char *text, unsigned int room);
nvmlReturn_t nvmlSystemGetNVMLVersion(char *text, unsigned int room);
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version);
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count);
const char *nvmlErrorString(nvmlReturn_t status);
#ifdef __cplusplus
}
#endif
#endif
