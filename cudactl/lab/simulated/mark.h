/* The mark that every simulated library carries: a string in the file, and an exported symbol.
   build.py writes the version into the compiled file, so that one compilation serves them all.
   Freestanding: no C library header and no DT_NEEDED, so the file loads on any distribution. */
#define EXPORT __attribute__((visibility("default")))
#define SUCCESS 0

struct cudactl_mark {
  char marker[32];
  char version[64];
  int number[8];
};

/* The library reads its own copy: the exported name could be another library's in the process. */
static const volatile struct cudactl_mark mark = {"CUDACTL-SIMULATED-LIBRARY", "@VERSION@", {0}};
extern const volatile struct cudactl_mark cudactl_simulated
    __attribute__((alias("mark"), visibility("default")));

#define NUMBER(i) (mark.number[i])

__attribute__((unused)) static int put_text(char *out, unsigned room) {
  unsigned i = 0;
  for (; i + 1 < room && i < 63 && mark.version[i]; i++)
    out[i] = mark.version[i];
  if (room) out[i] = 0;
  return SUCCESS;
}

/* libraryPropertyType: 0 major, 1 minor, 2 patch; kept in number[1..3] */
__attribute__((unused)) static int get_property(int type, int *value) {
  if (type < 0 || type > 2 || !value) return 7;
  *value = NUMBER(1 + type);
  return SUCCESS;
}
