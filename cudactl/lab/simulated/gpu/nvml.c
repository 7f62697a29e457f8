/* libnvidia-ml.so.1 of simulated GPUs: healthy ones, and every fault that the health leg knows.
   Layouts and prototypes follow NVIDIA's nvml.h. What is wrong stands in simulated-gpu.conf:
   "fault.nvml.remap.pending 1", "fault.nvml.code.nvmlDeviceGetEccMode 3" (a call that refuses).
   "nvml.count 4" makes four GPUs; faults hit the one that "nvml.faulty" numbers (0; -1: all). */
#include "conf.h"

typedef unsigned R;
typedef unsigned long long U64;
struct gpu { int index; char uuid[96]; };
typedef struct gpu *D;

enum { OK, BAD = 2, UNSUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, CORRUPT = 14, LOST = 15, RESET = 16 };
#define MANY 16
static struct gpu gpus[MANY];
static unsigned reads;

static int count(void) {
  const char *said = conf_text("fault.nvml.count", 0);
  int n = said ? atoi(said) : (int)conf_number("nvml.count", 1);
  if (n > MANY) n = MANY;
  for (int i = 0; i < n; i++) {
    gpus[i].index = i;
    snprintf(gpus[i].uuid, sizeof gpus[i].uuid, "%s", conf_text("gpu.uuid", "GPU-0"));
    size_t length = strlen(gpus[i].uuid);
    if (i) snprintf(gpus[i].uuid + length - 2, 3, "%02x", i + 1);
  }
  return n;
}

/* A fault of this GPU, or `other` where it is healthy. */
static double wrong(D d, const char *name, double other) {
  int hit = (int)conf_number("nvml.faulty", 0);
  char key[256];
  snprintf(key, sizeof key, "fault.nvml.%s", name);
  if (d && hit >= 0 && hit != d->index) return other;
  return conf_number(key, other);
}

static R enter(D d, const char *call) {
  char name[128];
  misbehave(call);
  snprintf(name, sizeof name, "code.%s", call);
  if (d && wrong(d, "dies", 0) && ++reads > wrong(d, "dies", 0)) return LOST;
  return (R)wrong(d, name, 0);
}
#define ENTER(d) do { R refused = enter(d, __func__); if (refused) return refused; } while (0)
#define PLAIN(name) EXPORT R name
#define ONE(name, value) EXPORT R name(D d, unsigned *out) { ENTER(d); *out = (unsigned)(value); return OK; }

static R say(char *out, unsigned room, const char *text) {
  if (strlen(text) + 1 > room) return SMALL;
  strcpy(out, text);
  return OK;
}
static double cc(void) { return conf_number("gpu.cc", 9.0); }

PLAIN(nvmlInit_v2)(void) { misbehave(__func__); return (R)fault("nvml.init"); }
PLAIN(nvmlInitWithFlags)(unsigned flags) { misbehave(__func__); return (R)fault("nvml.init"); }
PLAIN(nvmlShutdown)(void) { misbehave(__func__); return OK; }
EXPORT const char *nvmlErrorString(R code) {
  switch (code) {
    case 0: return "The operation was successful";
    case 3: return "Not Supported";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 18: return "Driver/library version mismatch";
  }
  return "Unknown Error";
}
PLAIN(nvmlSystemGetDriverVersion)(char *out, unsigned room) {
  ENTER(0);
  const char *other = conf_text("fault.nvml.driver_version", 0);
  return say(out, room, other ? other : conf_text("driver.version", "580.95.05"));
}
PLAIN(nvmlSystemGetNVMLVersion)(char *out, unsigned room) {
  ENTER(0);
  char text[80];
  snprintf(text, sizeof text, "13.%s", conf_text("driver.version", "580.95.05"));
  return say(out, room, text);
}
PLAIN(nvmlDeviceGetCount_v2)(unsigned *out) { ENTER(0); *out = count(); return OK; }
static R handle(int index, D *out) {
  if (index < 0 || index >= count()) return NOT_FOUND;
  D d = &gpus[index];
  if (wrong(d, "lost", 0)) return LOST;
  if (wrong(d, "reset_required", 0)) return RESET;
  *out = d;
  return OK;
}
PLAIN(nvmlDeviceGetHandleByIndex_v2)(unsigned index, D *out) { ENTER(0); return handle(index, out); }
PLAIN(nvmlDeviceGetHandleByUUID)(const char *uuid, D *out) {
  ENTER(0);
  for (int i = count() - 1; i >= 0; i--)
    if (!strcmp(gpus[i].uuid, uuid)) return handle(i, out);
  return NOT_FOUND;
}
PLAIN(nvmlDeviceGetHandleByPciBusId_v2)(const char *bus, D *out) {
  ENTER(0);
  return strstr(bus, conf_text("gpu.address", "0000:17:00.0")) ? handle(0, out) : NOT_FOUND;
}

PLAIN(nvmlDeviceGetName)(D d, char *out, unsigned room) { ENTER(d); return say(out, room, conf_text("gpu.name", "NVIDIA H200")); }
PLAIN(nvmlDeviceGetSerial)(D d, char *out, unsigned room) { ENTER(d); return say(out, room, "1650000000001"); }
PLAIN(nvmlDeviceGetUUID)(D d, char *out, unsigned room) { ENTER(d); return say(out, room, d->uuid); }
PLAIN(nvmlDeviceGetVbiosVersion)(D d, char *out, unsigned room) {
  ENTER(d);
  return say(out, room, wrong(d, "vbios", 0) ? "96.00.01.00.01" : "96.00.D0.00.02");
}
PLAIN(nvmlDeviceGetInforomImageVersion)(D d, char *out, unsigned room) { ENTER(d); return say(out, room, "G520.0283.00.03"); }
PLAIN(nvmlDeviceValidateInforom)(D d) { ENTER(d); return wrong(d, "inforom", 0) ? CORRUPT : OK; }
PLAIN(nvmlDeviceGetGspFirmwareVersion)(D d, char *out) {
  ENTER(d);
  return say(out, 64, wrong(d, "gsp", 0) ? "570.86.10" : conf_text("driver.version", "580.95.05"));
}
PLAIN(nvmlDeviceGetGspFirmwareMode)(D d, unsigned *on, unsigned *usual) { ENTER(d); *on = *usual = 1; return OK; }
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
PLAIN(nvmlDeviceGetPciInfo_v3)(D d, struct pci *out) {
  ENTER(d);
  memset(out, 0, sizeof *out);
  const char *other = conf_text("fault.nvml.device", 0);
  unsigned device = strtoul(other ? other : conf_text("gpu.device", "2335"), 0, 16);
  out->id = device << 16 | 0x10de;
  snprintf(out->bus_id, sizeof out->bus_id, "0000%s", conf_text("gpu.address", "0000:17:00.0"));
  return OK;
}
ONE(nvmlDeviceGetVirtualizationMode, conf_number("nvml.virtualization", 0))

PLAIN(nvmlDeviceGetEccMode)(D d, unsigned *now, unsigned *next) {
  ENTER(d);
  *now = !wrong(d, "ecc.off", 0);
  *next = *now && !wrong(d, "ecc.pending_off", 0);
  return OK;
}
PLAIN(nvmlDeviceGetTotalEccErrors)(D d, unsigned error, unsigned counter, U64 *out) {
  ENTER(d);
  double now = error ? wrong(d, "ecc.uncorrectable", 0) + wrong(d, "ecc.uncorrectable_sram", 0)
                     : wrong(d, "ecc.corrected", 0) + wrong(d, "ecc.corrected_sram", 0);
  *out = (U64)(now + (counter ? wrong(d, "ecc.ever", 0) : 0));
  return OK;
}
PLAIN(nvmlDeviceGetMemoryErrorCounter)(D d, unsigned error, unsigned counter, unsigned place, U64 *out) {
  ENTER(d);
  if (place != 2 && place != 7) return UNSUPPORTED;
  *out = (U64)wrong(d, error ? (place == 2 ? "ecc.uncorrectable" : "ecc.uncorrectable_sram")
                             : (place == 2 ? "ecc.corrected" : "ecc.corrected_sram"), 0);
  return OK;
}
struct sram { unsigned version; U64 value[11]; unsigned exceeded; };
PLAIN(nvmlDeviceGetSramEccErrorStatus)(D d, struct sram *out) {
  ENTER(d);
  if (out->version != (sizeof *out | 1 << 24)) return 25;
  memset(out->value, 0, sizeof out->value);
  out->value[1] = (U64)wrong(d, "ecc.sram_ever", 0);
  out->exceeded = wrong(d, "ecc.sram_threshold", 0) != 0;
  return OK;
}
PLAIN(nvmlDeviceGetRemappedRows)(D d, unsigned *correctable, unsigned *uncorrectable, unsigned *pending, unsigned *failure) {
  ENTER(d);
  if (cc() < 8) return UNSUPPORTED;
  *correctable = (unsigned)wrong(d, "remap.correctable", 0);
  *uncorrectable = (unsigned)wrong(d, "remap.uncorrectable", 0);
  *pending = wrong(d, "remap.pending", 0) != 0;
  *failure = wrong(d, "remap.failure", 0) != 0;
  return OK;
}
struct histogram { unsigned max, high, partial, low, none; };
PLAIN(nvmlDeviceGetRowRemapperHistogram)(D d, struct histogram *out) {
  ENTER(d);
  if (cc() < 8) return UNSUPPORTED;
  unsigned none = (unsigned)wrong(d, "remap.no_spare", 0);
  *out = (struct histogram){2560 - none, 0, 0, 0, none};
  return OK;
}
PLAIN(nvmlDeviceGetRetiredPages)(D d, unsigned cause, unsigned *n, U64 *addresses) {
  ENTER(d);
  if (cc() >= 8) return UNSUPPORTED;
  unsigned there = (unsigned)wrong(d, cause ? "pages.double" : "pages.single", 0);
  R code = *n < there ? SMALL : OK;
  *n = there;
  return code;
}
PLAIN(nvmlDeviceGetRetiredPagesPendingStatus)(D d, unsigned *out) {
  ENTER(d);
  if (cc() >= 8) return UNSUPPORTED;
  *out = wrong(d, "pages.pending", 0) != 0;
  return OK;
}
struct repair { unsigned version, channel, tpc; };
PLAIN(nvmlDeviceGetRepairStatus)(D d, struct repair *out) {
  ENTER(d);
  if (out->version != (sizeof *out | 1 << 24)) return 25;
  out->channel = wrong(d, "repair.channel", 0) != 0;
  out->tpc = wrong(d, "repair.tpc", 0) != 0;
  return OK;
}

struct field { unsigned id, scope; long long stamp, latency; unsigned kind; R code; union { double d; unsigned u; U64 w; int i; } value; };
static R number(struct field *field, double value) {
  if (field->kind == 5) field->value.i = (int)value;
  else if (field->kind == 1) field->value.u = (unsigned)value;
  else field->value.w = (U64)value;
  return OK;
}
/* Counters that grow from one reading to the next, as they do while the clocks are held down. */
static double growing(D d, const char *name, double unit) {
  static unsigned turns;
  double strength = wrong(d, name, 0);
  return strength ? strength * unit * ++turns : 0;
}
static unsigned links(void) { return (unsigned)conf_number("nvml.links", 18); }
static R one_field(D d, struct field *f) {
  f->kind = 3;
  switch (f->id) {
    case 74: return number(f, 5e9 + growing(d, "throttle.sw_power_cap", 1e6));
    case 75: return number(f, growing(d, "throttle.thermal_policy", 1e6));
    case 77: return number(f, growing(d, "throttle.board_limit", 1e6));
    case 79: return number(f, growing(d, "throttle.reliability", 1e6));
    case 269: return number(f, growing(d, "throttle.sw_thermal", 1e6));
    case 270: return number(f, growing(d, "throttle.hw_thermal", 1e6));
    case 271: return number(f, growing(d, "throttle.hw_power_brake", 1e6));
    case 94: return number(f, growing(d, "pcie.replays", 1));
    case 179: return number(f, wrong(d, "pcie.non_fatal", 0));
    case 180: return number(f, wrong(d, "pcie.fatal", 0));
    case 230: f->kind = 1; return number(f, wrong(d, "recovery", 0));
    case 82: f->kind = 1; return number(f, wrong(d, "memory_temperature", 42));
    case 91: f->kind = 1; return links() ? number(f, links()) : UNSUPPORTED;
    case 193: f->kind = 5; return number(f, -8);
    case 194: f->kind = 5; return number(f, -2);
  }
  if (!links()) return UNSUPPORTED;
  switch (f->id) {
    case 38: return number(f, wrong(d, "nvlink.crc_flit", 0));
    case 45: return number(f, wrong(d, "nvlink.crc_data", 0));
    case 52: return number(f, wrong(d, "nvlink.replays", 0));
    case 59: return number(f, wrong(d, "nvlink.recoveries", 0));
    case 214: return cc() < 10 ? UNSUPPORTED : number(f, f->scope ? 0 : wrong(d, "nvlink.recovery_failed", 0));
    case 219: return cc() < 10 ? UNSUPPORTED : number(f, f->scope ? 0 : wrong(d, "nvlink.effective_errors", 0));
  }
  return BAD;
}
PLAIN(nvmlDeviceGetFieldValues)(D d, int n, struct field *fields) {
  ENTER(d);
  for (int i = 0; i < n; i++) {
    char name[64];
    snprintf(name, sizeof name, "field.%u", fields[i].id);
    R refused = (R)wrong(d, name, 0);
    fields[i].code = refused ? refused : one_field(d, &fields[i]);
  }
  return OK;
}
PLAIN(nvmlDeviceGetCurrentClocksEventReasons)(D d, U64 *out) { ENTER(d); *out = (U64)wrong(d, "reasons", 0); return OK; }
PLAIN(nvmlDeviceGetCurrentClocksThrottleReasons)(D d, U64 *out) { ENTER(d); *out = (U64)wrong(d, "reasons", 0); return OK; }

struct margin { unsigned version; int margin; };
PLAIN(nvmlDeviceGetMarginTemperature)(D d, struct margin *out) {
  ENTER(d);
  if (out->version != (sizeof *out | 1 << 24)) return 25;
  out->margin = (int)wrong(d, "margin", 50);
  return OK;
}
PLAIN(nvmlDeviceGetTemperature)(D d, unsigned sensor, unsigned *out) { ENTER(d); if (sensor) return BAD; *out = (unsigned)wrong(d, "temperature", 34); return OK; }
PLAIN(nvmlDeviceGetTemperatureThreshold)(D d, unsigned which, unsigned *out) {
  ENTER(d);
  if (which > 2) return BAD;
  *out = which == 0 ? 92 : which == 1 ? 89 : 95;
  return OK;
}
static R clock_of(unsigned kind, unsigned sm, unsigned memory, unsigned *out) {
  if (kind != 1 && kind != 2) return BAD;
  *out = kind == 1 ? sm : memory;
  return OK;
}
PLAIN(nvmlDeviceGetClockInfo)(D d, unsigned kind, unsigned *out) { ENTER(d); return clock_of(kind, 1980, 3201, out); }
PLAIN(nvmlDeviceGetMaxClockInfo)(D d, unsigned kind, unsigned *out) { ENTER(d); return clock_of(kind, 1980, 3201, out); }
PLAIN(nvmlDeviceGetApplicationsClock)(D d, unsigned kind, unsigned *out) { ENTER(d); return clock_of(kind, (unsigned)wrong(d, "clocks.set", 1980), 3201, out); }
PLAIN(nvmlDeviceGetDefaultApplicationsClock)(D d, unsigned kind, unsigned *out) { ENTER(d); return clock_of(kind, 1980, 3201, out); }

#include "energy.h"
ONE(nvmlDeviceGetPowerUsage, wrong(d, "power.draw_mw", power_mw()))
ONE(nvmlDeviceGetEnforcedPowerLimit, wrong(d, "power.limit_mw", 700000))
ONE(nvmlDeviceGetPowerManagementDefaultLimit, 700000)
PLAIN(nvmlDeviceGetPowerManagementLimitConstraints)(D d, unsigned *least, unsigned *most) { ENTER(d); *least = 200000; *most = 700000; return OK; }

ONE(nvmlDeviceGetCurrPcieLinkGeneration, wrong(d, "pcie.gen", 5))
ONE(nvmlDeviceGetMaxPcieLinkGeneration, 5)
ONE(nvmlDeviceGetCurrPcieLinkWidth, wrong(d, "pcie.width", 16))
ONE(nvmlDeviceGetMaxPcieLinkWidth, 16)

PLAIN(nvmlDeviceGetMigMode)(D d, unsigned *now, unsigned *next) {
  ENTER(d);
  if (cc() < 8) return UNSUPPORTED;
  *now = wrong(d, "mig", 0) != 0;
  *next = *now || wrong(d, "mig_pending", 0) != 0;
  return OK;
}
ONE(nvmlDeviceGetPersistenceMode, !wrong(d, "persistence_off", 0))
ONE(nvmlDeviceGetComputeMode, wrong(d, "compute_mode", 0))
struct process { unsigned pid; U64 used; unsigned gi, ci; };
PLAIN(nvmlDeviceGetComputeRunningProcesses_v3)(D d, unsigned *n, struct process *out) {
  ENTER(d);
  unsigned pid = (unsigned)wrong(d, "process", 0), there = pid ? 1 : 0;
  if (there > *n) { *n = there; return SMALL; }
  if (there) *out = (struct process){pid, 1 << 30, ~0u, ~0u};
  *n = there;
  return OK;
}

PLAIN(nvmlDeviceGetNvLinkState)(D d, unsigned link, unsigned *out) {
  ENTER(d);
  if (link >= links()) return BAD;
  *out = link >= (unsigned)wrong(d, "nvlink.down", 0);
  return OK;
}
PLAIN(nvmlDeviceGetNvLinkRemoteDeviceType)(D d, unsigned link, unsigned *out) {
  ENTER(d);
  if (link >= links()) return BAD;
  *out = (unsigned)conf_number("nvml.remote", 2);
  return OK;
}
struct fabric { unsigned version; unsigned char cluster[16]; R status; unsigned clique; unsigned char state; unsigned health; unsigned char summary; };
PLAIN(nvmlDeviceGetGpuFabricInfoV)(D d, struct fabric *out) {
  ENTER(d);
  if (cc() < 9 || !conf_number("nvml.fabric", 1)) return UNSUPPORTED;
  int third = out->version == (40 | 3 << 24);
  if (out->version != (36 | 2 << 24) && (!third || conf_number("nvml.old_fabric", 0))) return 25;
  out->status = (R)wrong(d, "fabric.status", 0);
  out->clique = 0;
  out->state = (unsigned char)wrong(d, "fabric.state", 3);
  out->health = (unsigned)wrong(d, "fabric.health", 426); /* nothing degraded, nothing configured wrongly */
  if (third) out->summary = (unsigned char)wrong(d, "fabric.summary", 1);
  return OK;
}
