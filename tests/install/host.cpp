// host PLUGIN: loads the shared object and calls its `consume`.
#include <dlfcn.h>

#include <cstdio>

int main(int, char** argv) {
  void* plugin = dlopen(argv[1], RTLD_NOW);
  void* consume = plugin == nullptr ? nullptr : dlsym(plugin, "consume");
  if (consume != nullptr) return reinterpret_cast<int (*)()>(consume)();
  std::fprintf(stderr, "%s\n", dlerror());
  return 1;
}
