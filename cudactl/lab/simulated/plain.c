/* Every other library: the mark, and its own version calls where it has some. */
#include "mark.h"
#ifdef VERSION
EXPORT int VERSION(int *version) { *version = NUMBER(0); return SUCCESS; }
#endif
/* cuDNN's own check of its parts against each other: a status, zero when they fit. */
#ifdef STATUS
EXPORT int STATUS(void) { return SUCCESS; }
#endif
#ifdef RETURNS
EXPORT int RETURNS(void) { return NUMBER(0); }
#endif
#ifdef PROPERTY
EXPORT int PROPERTY(int type, int *value) { return get_property(type, value); }
#endif
#ifdef ERROR_STRING
EXPORT const char *ERROR_STRING(int error) { return error ? "simulated: not available" : "no error"; }
#endif
