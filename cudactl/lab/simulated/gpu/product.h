/* D[n][m] = sum over k of B[n][k] * A[m][k] on the processor, in any of cuBLAS's types, and what can
   be wrong with the result. */
#ifndef CUDACTL_PRODUCT_H
#define CUDACTL_PRODUCT_H
#include "clock.h"

enum { R32F = 0, R64F = 1, R16F = 2, R8I = 3, R32I = 10, R16BF = 14, E4M3 = 28 };

static int width_of(int type) {
  return type == R64F ? 8 : type == R32F || type == R32I ? 4 : type == R16F || type == R16BF ? 2 : 1;
}

static double e4m3(unsigned char byte) {
  int exponent = byte >> 3 & 15, mantissa = byte & 7;
  double value = exponent ? (1 + mantissa / 8.0) * pow(2, exponent - 7) : mantissa * pow(2, -9);
  if ((byte & 127) == 127) value = NAN;
  return byte & 128 ? -value : value;
}

static double read_value(int type, const void *data, size_t i) {
  uint32_t wide;
  float single;
  switch (type) {
    case R64F: return ((const double *)data)[i];
    case R32F: return ((const float *)data)[i];
    case R16F: return (double)((const _Float16 *)data)[i];
    case R16BF:
      wide = (uint32_t)((const uint16_t *)data)[i] << 16;
      memcpy(&single, &wide, 4);
      return single;
    case R32I: return ((const int32_t *)data)[i];
    case R8I: return ((const int8_t *)data)[i];
    default: return e4m3(((const unsigned char *)data)[i]);
  }
}

static void write_value(int type, void *data, size_t i, double value) {
  float single = (float)value;
  uint32_t wide;
  switch (type) {
    case R64F: ((double *)data)[i] = value; break;
    case R32F: ((float *)data)[i] = single; break;
    case R16F: ((_Float16 *)data)[i] = (_Float16)single; break;
    case R16BF:
      memcpy(&wide, &single, 4);
      ((uint16_t *)data)[i] = (uint16_t)((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
      break;
    case R32I: ((int32_t *)data)[i] = (int32_t)value; break;
    default: ((int8_t *)data)[i] = (int8_t)value;
  }
}

/* Faults PREFIX.flip_bit, .nan, .zeros, .transposed, .stale (the last of that size), .nothing, .ulp, .short (one term is
   left out), .large_flip (only where K is at least its strength), .flaky (from that call on);
   each also as PREFIX.NAME.KIND. */
static void product(const char *prefix, const char *kind, int operand, int out, long m, long n,
                    long k, const void *a, const void *b, void *d) {
  static struct { char *data; size_t bytes; } before[16], *stale = before;
  static long calls;
  size_t bytes = (size_t)m * n * width_of(out), middle = (size_t)m * n / 2 + m / 3;
  char name[64];
#define WRONG(what) (snprintf(name, sizeof name, "%s." what, prefix), fault_of(name, kind))
  calls++;
  if (WRONG("nothing")) return;
  for (stale = before; stale < before + 15 && stale->data && stale->bytes != bytes;) stale++;
  if (WRONG("stale") && stale->data && stale->bytes == bytes) {
    memcpy(d, stale->data, bytes);
    return;
  }
  double *x = malloc(sizeof(double) * m * k), *y = malloc(sizeof(double) * n * k);
  for (long i = 0; i < m * k; i++) x[i] = read_value(operand, a, i);
  for (long i = 0; i < n * k; i++) y[i] = read_value(operand, b, i);
  long terms = WRONG("short") ? k - 1 : k;
  int turned = WRONG("transposed") && m == n;
  for (long row = 0; row < n; row++)
    for (long column = 0; column < m; column++) {
      double sum = 0;
      for (long i = 0; i < terms; i++) sum += y[row * k + i] * x[column * k + i];
      write_value(out, d, turned ? column * m + row : row * m + column, sum);
    }
  free(x);
  free(y);
  double large = WRONG("large_flip"), flaky = WRONG("flaky");
  if (WRONG("zeros")) memset(d, 0, bytes);
  if (WRONG("nan"))
    out == R32I ? write_value(out, d, middle, INT32_MIN) : write_value(out, d, middle, NAN);
  if (WRONG("flip_bit") || (large && k >= large) || (flaky && calls >= flaky && calls % 2))
    ((unsigned char *)d)[middle * width_of(out) + width_of(out) - 1] ^= 1;
  if (WRONG("ulp")) ((unsigned char *)d)[middle * width_of(out)] ^= 1;
  stale->data = realloc(stale->data, bytes);
  stale->bytes = bytes;
  memcpy(stale->data, d, bytes);
}
#endif
