// How memory is allocated in the program and in the benchmarks.
// Read by jemalloc, where the build has it, before main: the platform is many small processes of few threads, so
// few arenas, what is freed goes back to the machine within a second, large blocks no sooner than small ones.
extern "C" {
extern const char* const malloc_conf;
const char* const malloc_conf = "narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,oversize_threshold:0";
}
