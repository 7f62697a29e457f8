/* Power and energy of the simulated NVML: at rest, and while the simulated libcuda's load runs.
   Keys: energy.idle_mw, energy.load_mw. Faults: energy.stuck (the counter stands still),
   energy.factor x (it counts x times as much), energy.backwards, energy.unsupported. */
static double burned(void) {
  double *seconds = dlsym(RTLD_DEFAULT, "cudactl_burned");
  return seconds ? *seconds : 0;
}

static double power_mw(void) {
  return burned() > 0 ? conf_number("energy.load_mw", 560000) : conf_number("energy.idle_mw", 121000);
}

PLAIN(nvmlDeviceGetTotalEnergyConsumption)(D d, U64 *out) {
  ENTER(d);
  if (fault("energy.unsupported")) return UNSUPPORTED;
  static double begun;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  double seconds = now.tv_sec + now.tv_nsec / 1e9;
  if (!begun) begun = seconds - 1000;
  double idle = conf_number("energy.idle_mw", 121000), load = conf_number("energy.load_mw", 560000);
  double millijoules = (seconds - begun) * idle + burned() * (load - idle);
  if (fault("energy.stuck")) millijoules = 4711;
  if (fault("energy.factor")) millijoules *= fault("energy.factor");
  if (fault("energy.backwards")) millijoules = 1e12 - millijoules;
  *out = (U64)millijoules;
  return OK;
}
