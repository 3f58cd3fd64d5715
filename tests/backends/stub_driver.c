/* A CUDA driver that has one device of compute capability 9.0 and always succeeds: kernels are loaded and counted, and
   never run. It lets Triton's own launcher be driven to its end on a machine without a GPU. */
#include <stddef.h>

typedef int result;
typedef struct {
    unsigned grid[3], block[3], shared;
    void *stream, *attributes;
    unsigned count;
} config;

long stub_launches = 0;
config stub_last;

result cuDeviceGetCount(int *n) { *n = 1; return 0; }
result cuGetErrorString(result e, const char **text) { *text = "the stub driver never fails"; return 0; }
result cuCtxGetCurrent(void **context) { *context = (void *)1; return 0; }
result cuModuleLoadData(void **module, const void *image) { *module = (void *)1; return image == NULL; }
result cuModuleGetFunction(void **function, void *module, const char *name) { *function = (void *)1; return name == NULL; }
result cuFuncGetAttribute(int *value, int attribute, void *function) { *value = attribute == 0 ? 1024 : 0; return 0; }
result cuPointerGetAttribute(void *value, int attribute, unsigned long long pointer) {
    *(unsigned long long *)value = pointer; /* a pointer of the host serves as one of the device */
    return 0;
}
result cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case 75: *value = 9; break;      /* compute capability, major */
        case 76: *value = 0; break;      /* and minor */
        case 16: *value = 132; break;    /* processors */
        case 97: *value = 232448; break; /* shared memory a kernel may ask for */
        case 8: *value = 49152; break;   /* and has without asking */
        case 10: *value = 32; break;     /* threads of a warp */
        default: *value = 65536;
    }
    return 0;
}
result cuLaunchKernelEx(const config *given, void *function, void **arguments, void **extra) {
    stub_launches++;
    stub_last = *given;
    return function == NULL;
}
result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **arguments, void **extra) {
    stub_launches++;
    return function == NULL;
}

#define ALWAYS(name) result name(void) { return 0; }
ALWAYS(cuCtxGetDevice)
ALWAYS(cuCtxGetLimit)
ALWAYS(cuCtxSetCurrent)
ALWAYS(cuCtxSetLimit)
ALWAYS(cuDeviceGet)
ALWAYS(cuDevicePrimaryCtxRetain)
ALWAYS(cuDriverGetVersion)
ALWAYS(cuFuncSetAttribute)
ALWAYS(cuFuncSetCacheConfig)
ALWAYS(cuInit)
ALWAYS(cuModuleUnload)
ALWAYS(cuOccupancyMaxActiveClusters)
ALWAYS(cuPointerGetAttributes)
ALWAYS(cuStreamIsCapturing)
ALWAYS(cuTensorMapEncodeIm2col)
ALWAYS(cuTensorMapEncodeTiled)
