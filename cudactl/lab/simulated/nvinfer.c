/* TensorRT's libraries: getInferLibVersion and its parts; the parser and the plugins have theirs. */
#include "mark.h"
#if defined(PARSER)
EXPORT int getNvOnnxParserVersion(void) { return NUMBER(0); }
#elif defined(PLUGIN)
EXPORT _Bool initLibNvInferPlugins(void *logger, const char *space) {
  (void)logger; (void)space;
  return 1;
}
#else
EXPORT int getInferLibVersion(void) { return NUMBER(0); }
EXPORT int getInferLibMajorVersion(void) { return NUMBER(1); }
EXPORT int getInferLibMinorVersion(void) { return NUMBER(2); }
EXPORT int getInferLibPatchVersion(void) { return NUMBER(3); }
EXPORT int getInferLibBuildVersion(void) { return NUMBER(4); }
#endif
