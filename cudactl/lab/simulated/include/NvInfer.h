/* CUDACTL-SIMULATED-LIBRARY: declares what the lab's libnvinfer has, and nothing more. */
#ifndef CUDACTL_SIMULATED_NVINFER_H
#define CUDACTL_SIMULATED_NVINFER_H
#include "NvInferVersion.h"
#ifdef __cplusplus
extern "C" {
#endif
int getInferLibVersion(void);
int getInferLibMajorVersion(void);
int getInferLibMinorVersion(void);
int getInferLibPatchVersion(void);
int getInferLibBuildVersion(void);
#ifdef __cplusplus
}
#endif
#endif
